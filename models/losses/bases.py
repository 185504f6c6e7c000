"""What one tag costs, before any penalty on silence: pure functions on logits.

Tags are 0 or 1, or between where labels are smoothed; logits are any real number; both have shape (..., n_tags), and so
has the result where nothing else is said. Nothing here takes the logarithm of a probability that may be 0, so values
and gradients stay finite for any logit.
"""

from keras import ops

from models.losses.settings import LossSettings
from models.tensors import NO_TERM, Tensor


def binary_cross_entropy(tags: Tensor, logits: Tensor) -> Tensor:
    """Return -log p where the tag is true and -log(1 - p) elsewhere, with p = sigmoid(logit).

    Tag 1 at logit 0 costs log 2 = 0.6931.
    """
    return tags * ops.softplus(-logits) + (1.0 - tags) * ops.softplus(logits)


def published_cross_entropy(tags: Tensor, logits: Tensor, eps: float) -> Tensor:
    """Return -y log(p + eps) - (1 - y) log(1 - p + eps), as the published NumPy loop has it.

    At a logit of -1e4 a true tag costs -log(eps) = 16.118 at the default eps, and its gradient vanishes.
    """
    log_eps = ops.log(ops.full_like(logits, eps))
    log_hit = ops.logaddexp(ops.log_sigmoid(logits), log_eps)
    log_miss = ops.logaddexp(ops.log_sigmoid(-logits), log_eps)
    return -tags * log_hit - (1.0 - tags) * log_miss


def focal(tags: Tensor, logits: Tensor, gamma: float, alpha: float) -> Tensor:
    """Return alpha * (1 - pt)^gamma * BCE with pt = exp(-BCE), per element (Lin 2017).

    The published example takes pt from the batch's mean cross-entropy, which weighs every element alike and is not
    focal. Tag 1 at logit 0 with gamma 2 and alpha 0.25 costs 0.25 * 0.25 * log 2 = 0.0433.
    """
    present = tags * _down_weighted(-logits, gamma)
    return alpha * (present + (1.0 - tags) * _down_weighted(logits, gamma))


def asymmetric(tags: Tensor, logits: Tensor, settings: LossSettings) -> Tensor:
    """Return (1 - p)^g+ * -log p where the tag is true, q^g- * -log(1 - q) with q = max(p - margin, 0) elsewhere.

    Asymmetric loss (Ridnik 2021): absent tags that score below the margin cost nothing. Tag 1 at logit 0 with gamma 1
    costs 0.5 * log 2 = 0.3466, tag 0 with gamma 4 and margin 0.05 0.45^4 * -log 0.55 = 0.0245.
    """
    present = _down_weighted(-logits, settings.positive_gamma)
    absent = _beyond_margin(logits, settings.negative_gamma, settings.margin)
    return tags * present + (1.0 - tags) * absent


def zlpr(tags: Tensor, logits: Tensor, known: Tensor) -> Tensor:
    """Return log(1 + sum over absent tags of e^z) + log(1 + sum over true tags of e^-z), one value a row (Su 2022).

    It ranks true tags above 0 and absent ones below. With one tag it is cross-entropy; tags (1, 0) at logits 0 cost
    2 log 2 = 1.3863.
    """
    return _log_one_and(logits, known * (1.0 - tags)) + _log_one_and(-logits, known * tags)


def row_base(tags: Tensor, logits: Tensor, known: Tensor, settings: LossSettings) -> Tensor:
    """Return the base the settings name, summed over the known tags of a row, shape (...)."""
    targets = tags * (1.0 - settings.label_smoothing) + 0.5 * settings.label_smoothing
    if settings.base == "zlpr":
        return zlpr(targets, logits, known)
    return ops.sum(known * base_loss(targets, logits, settings), axis=-1)


def base_loss(tags: Tensor, logits: Tensor, settings: LossSettings) -> Tensor:
    """Return the base the settings name, per element; for ZLPR see ``row_base``."""
    if settings.base == "focal":
        return focal(tags, logits, settings.focal_gamma, settings.focal_alpha)
    if settings.base == "asymmetric":
        return asymmetric(tags, logits, settings)
    if settings.penalty == "literal" and settings.reduction == "sum":
        return published_cross_entropy(tags, logits, settings.literal_eps)
    return binary_cross_entropy(tags, logits)


def _down_weighted(logits: Tensor, gamma: float) -> Tensor:
    """Return p^gamma * -log(1 - p): what an absent tag costs, or with the logits' signs turned a true one."""
    # p^gamma as exp(gamma log p): the power never sees 0, whose gradient is NaN below gamma 1
    return ops.exp(gamma * ops.log_sigmoid(logits)) * ops.softplus(logits)


def _beyond_margin(logits: Tensor, gamma: float, margin: float) -> Tensor:
    """Return q^gamma * -log(1 - q) with q = max(p - margin, 0)."""
    if margin == 0:
        return _down_weighted(logits, gamma)
    beyond = ops.sigmoid(logits) - margin
    counts = beyond > 0
    # 1 where nothing counts: neither branch of the choice may have an infinite gradient
    log_q = ops.log(ops.where(counts, beyond, 1.0))
    log_miss = ops.logaddexp(ops.log_sigmoid(-logits), ops.log(ops.full_like(logits, margin)))
    return ops.where(counts, -ops.exp(gamma * log_q) * log_miss, 0.0)


def _log_one_and(logits: Tensor, weights: Tensor) -> Tensor:
    """Return log(1 + sum over tags of weight * e^logit), shape (...); weights in [0, 1]."""
    counts = weights > 0
    terms = ops.where(counts, logits + ops.log(ops.where(counts, weights, 1.0)), NO_TERM)
    return ops.logsumexp(ops.concatenate([ops.zeros_like(terms[..., :1]), terms], axis=-1), axis=-1)
