"""Implied thresholds against a minimiser."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from models.losses import LossSettings, implied_threshold
from models.losses.settings import Base, Penalty
from tests.models.losses import loss_oracle


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (LossSettings(penalty="none"), 1 / 2),
        (LossSettings(lambda_=3.0), 2 / 7),
        (LossSettings(penalty="hit", lambda_=3.0), 1 / 5),
        (LossSettings(penalty="event", lambda_=1.0), 1 / 3),
        (LossSettings(penalty="event_nll", lambda_=1.0), 1 / 2),
        (LossSettings(penalty="literal", lambda_=0.1), (1 - 0.9) / 2),
        (LossSettings(penalty="literal", lambda_=0.4, reduction="sum"), 0.3),
        (LossSettings(penalty="literal", lambda_=1.0), 0.0),
        (LossSettings(penalty="hurdle"), 1 / 2),
        (LossSettings("zlpr", "none"), 1 / 2),
    ],
)
def test_closed_forms_with_9_tags(settings: LossSettings, expected: float) -> None:
    """The table of forms and thresholds holds."""
    assert implied_threshold(settings, 9) == pytest.approx(expected)


@pytest.mark.parametrize("base", ["bce", "focal", "asymmetric", "zlpr"])
@pytest.mark.parametrize("penalty", ["none", "bounded", "hit", "event", "event_nll"])
def test_a_tag_that_likely_is_answered_with_one_half(penalty: Penalty, base: Base) -> None:
    """With one tag whose probability is the implied threshold, the optimal answer is 0.5."""
    settings = LossSettings(base, penalty, 2.0)
    likely = implied_threshold(settings, 1)
    tags = np.array([[1.0], [0.0]])

    def expected_loss(logit: float) -> float:
        return float(np.array([likely, 1 - likely]) @ loss_oracle.row_loss(tags, np.full((2, 1), logit), settings))

    best = minimize_scalar(expected_loss, bounds=(-4, 4), method="bounded", options={"xatol": 1e-9})
    assert best.x == pytest.approx(0.0, abs=1e-3)
