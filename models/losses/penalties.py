"""What a row costs for silence: pure functions on logits, one value a row.

P0 = prod(1 - p_i) is the predicted probability that no tag applies. Everything is computed from log P0, because P0
written as a product underflows in float32 from some 100 tags on, and log(1 - P0) written plainly is -inf where a
model is confidently silent, which is exactly where its gradient is needed. Tags, logits and ``known`` have shape
(..., n_tags), results (...). ``known`` is 1 where a label is known and 0 where nobody looked for the tag: an unknown
tag neither breaks a silence nor makes one.
"""

from keras import ops

from models.losses.settings import LossSettings
from models.tensors import NO_TERM, Tensor


def log_no_tag(logits: Tensor, known: Tensor) -> Tensor:
    """Return log P0 = -sum softplus(z_i), the log-probability that no known tag applies; 0 or less.

    Two tags at logit 0: log(1/4) = -1.3863.
    """
    return -ops.sum(known * ops.softplus(logits), axis=-1)


def log_any_of(logits: Tensor, among: Tensor) -> Tensor:
    """Return log(1 - prod(1 - p_i)) over the tags marked in ``among``, stable for any logit.

    Uses 1 - prod(1 - p_i) = sum_i p_i * prod_{j<i} (1 - p_j), whose terms are all positive. Where ``among`` marks
    nothing the value is finite and meaningless: the caller leaves such rows out.
    """
    marked = ops.cast(among, logits.dtype)
    miss = marked * ops.softplus(logits)
    earlier = ops.concatenate([ops.zeros_like(miss[..., :1]), miss[..., :-1]], axis=-1)
    terms = ops.log_sigmoid(logits) - ops.cumsum(earlier, axis=-1)
    return ops.logsumexp(ops.where(marked > 0, terms, NO_TERM), axis=-1)


def bounded(tags: Tensor, logits: Tensor, known: Tensor) -> Tensor:
    """Return P0 on rows that carry a tag, else 0: at most 1, so no lambda makes firing on everything pay."""
    return ops.where(has_tag(tags), ops.exp(log_no_tag(logits, known)), 0.0)


def hit(tags: Tensor, logits: Tensor, known: Tensor) -> Tensor:  # noqa: ARG001 (one signature for every form)
    """Return -log(1 - prod over true tags of (1 - p_i)) on rows that carry a tag, else 0.

    Its gradient tends to 1 where the model is confidently silent, and never raises a wrong tag.
    """
    return ops.where(has_tag(tags), -log_any_of(logits, tags), 0.0)


def event(tags: Tensor, logits: Tensor, known: Tensor) -> Tensor:
    """Return -log(1 - P0) on rows that carry a tag, else 0; raises wrong tags in proportion to p_i."""
    return ops.where(has_tag(tags), -log_any_of(logits, known), 0.0)


def event_nll(tags: Tensor, logits: Tensor, known: Tensor) -> Tensor:
    """Return ``event`` on rows that carry a tag and -log P0 on benign rows.

    Proper only if tags are independent given the flow, which they are not: keep lambda at 1 or less.
    """
    return ops.where(has_tag(tags), -log_any_of(logits, known), -log_no_tag(logits, known))


def literal(logits: Tensor, known: Tensor, eps: float) -> Tensor:
    """Return log(P0 + eps) on every row, the published form; see ``models.losses.guard`` for what is wrong with it."""
    log_p0 = log_no_tag(logits, known)
    return ops.logaddexp(log_p0, ops.log(ops.full_like(log_p0, eps)))


def silence_penalty(tags: Tensor, logits: Tensor, known: Tensor, settings: LossSettings) -> Tensor:
    """Return the penalty the settings name, one value a row, not yet multiplied by lambda."""
    if settings.penalty == "literal":
        return literal(logits, known, settings.literal_eps)
    if settings.penalty == "none":
        return ops.zeros_like(logits[..., 0])
    forms = {"bounded": bounded, "hit": hit, "event": event, "event_nll": event_nll}
    return forms[settings.penalty](tags, logits, known)


def has_tag(tags: Tensor) -> Tensor:
    """Return which rows carry a tag, shape (...)."""
    return ops.any(tags > 0, axis=-1)
