"""Losses that penalise silence: bases, penalties, the guard of the published form, and the Keras class."""

from models.dataset import UNKNOWN
from models.losses.guard import critical_lambda, expected_silence, require_safe
from models.losses.implied import implied_threshold
from models.losses.settings import LossSettings
from models.losses.tag_loss import TagLoss, row_loss

__all__ = [
    "UNKNOWN",
    "LossSettings",
    "TagLoss",
    "critical_lambda",
    "expected_silence",
    "implied_threshold",
    "require_safe",
    "row_loss",
]
