"""The penalised loss as a Keras object: one value a row, everything else left to Keras."""

from typing import Any

import keras
from keras import ops

from models.losses.bases import binary_cross_entropy, row_base
from models.losses.guard import require_safe
from models.losses.penalties import has_tag, silence_penalty
from models.losses.settings import LossSettings
from models.tensors import Tensor


def row_loss(tags: Tensor, logits: Tensor, settings: LossSettings) -> Tensor:
    """Return the loss of each row: base over tags plus lambda times the penalty on silence.

    Well-posed forms are counted in tags, (1/L) * [sum of base + lambda * penalty]; the literal form is as published,
    base reduced over tags plus lambda * log(P0 + eps). Tags that are ``UNKNOWN`` add nothing, neither to the base nor
    to the penalty; the others keep their weight.

    Args:
        tags: Values in [0, 1] or ``UNKNOWN``, shape (..., n_tags). A flow carries the tags above 1/2, which is what
            penalties see; the base learns the values themselves.
        logits: Same shape; of the hurdle one more a row, that of any attack, in front.
        settings: Base, penalty, lambda.

    Returns:
        Shape (...). Two tags, both 0, at logits 0, plain cross-entropy: log 2 = 0.6931.
    """
    scale = 1.0 / tags.shape[-1] if settings.reduction == "mean" else 1.0
    known = ops.cast(tags >= 0, logits.dtype)
    targets = ops.cast(tags, logits.dtype) * known
    if settings.hurdle:
        return scale * hurdle(targets, logits, known, settings)
    base = scale * row_base(targets, logits, known, settings)
    if settings.penalty == "none" or settings.lambda_ == 0:
        return base
    weight = settings.lambda_ * (1.0 if settings.penalty == "literal" else scale)
    return base + weight * silence_penalty(carried(targets), logits, known, settings)


def hurdle(tags: Tensor, logits: Tensor, known: Tensor, settings: LossSettings) -> Tensor:
    """Return cross-entropy of "any attack?" plus, on rows that carry a tag, the base over tags; shape (...).

    Proper: its optimum is the true probability of any attack, and of each tag given an attack. A row without a true tag
    but with unknown ones does not say whether there is an attack.

    Args:
        tags: Values in [0, 1], 0 where unknown, shape (..., n_tags).
        logits: Of any attack, then of each tag given an attack, shape (..., 1 + n_tags).
        known: 1 where a tag is known, 0 elsewhere, shape (..., n_tags).
        settings: The base.
    """
    attack = ops.cast(has_tag(carried(tags)), logits.dtype)
    decided = ops.maximum(attack, ops.min(known, axis=-1))
    any_attack = decided * binary_cross_entropy(attack, logits[..., 0])
    return any_attack + attack * row_base(tags, logits[..., 1:], known, settings)


def carried(targets: Tensor) -> Tensor:
    """Return which tags flows carry, 1 where a target is above 1/2 and 0 elsewhere; same shape."""
    return ops.cast(targets > 0.5, targets.dtype)


@keras.saving.register_keras_serializable(package="flowtag")
class TagLoss(keras.losses.Loss):  # type: ignore[misc]  # keras carries no types
    """The loss of ``LossSettings`` over logits; refuses what collapses before the first step.

    Accepts logits of shape (n, n_tags), or (n, members, n_tags) for an ensemble trained in one graph, whose row costs
    the mean over members; of the hurdle one logit more. Truth is in [0, 1], or ``UNKNOWN``. Sample weights
    are Keras' own.

    Raises:
        UnsafeLoss: The settings make firing on every flow the optimum.
    """

    def __init__(self, settings: LossSettings, n_tags: int, name: str = "tag_loss") -> None:
        super().__init__(name=name)
        require_safe(settings, n_tags)
        self.settings = settings
        self.n_tags = n_tags

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Return one value a row, shape (n,)."""
        if len(y_pred.shape) == len(y_true.shape):
            return row_loss(y_true, y_pred, self.settings)
        return ops.mean(row_loss(ops.expand_dims(y_true, axis=-2), y_pred, self.settings), axis=-1)

    def get_config(self) -> dict[str, Any]:
        """Return plain values from which ``from_config`` builds the same loss."""
        return {"name": self.name, "n_tags": self.n_tags, "settings": self.settings.to_dict()}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "TagLoss":
        """Build the loss from ``get_config``."""
        return cls(LossSettings(**config["settings"]), config["n_tags"], config["name"])
