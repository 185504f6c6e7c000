"""What one tag costs, before any penalty on silence: pure functions on logits.

Tags are 0 or 1, logits are any real number; both have shape (..., n_tags) and so has the result. Nothing here takes the
logarithm of a probability, so values and gradients stay finite for any logit.
"""

from keras import ops

from models.losses.settings import LossSettings
from models.tensors import Tensor


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
    # log(1 - pt) = log sigmoid(-z) for a true tag: the power never sees 0, whose gradient is NaN below gamma 1
    log_miss = ops.log_sigmoid((1.0 - 2.0 * tags) * logits)
    return alpha * ops.exp(gamma * log_miss) * binary_cross_entropy(tags, logits)


def base_loss(tags: Tensor, logits: Tensor, settings: LossSettings) -> Tensor:
    """Return the base the settings name, per element."""
    if settings.base == "focal":
        return focal(tags, logits, settings.focal_gamma, settings.focal_alpha)
    if settings.penalty == "literal" and settings.reduction == "sum":
        return published_cross_entropy(tags, logits, settings.literal_eps)
    return binary_cross_entropy(tags, logits)
