"""The verdict: neither silent nor flooding, and nothing unmeasured is accepted."""

import numpy as np
import pytest

from features.errors import ConfigError
from models.metrics import Evaluation, evaluate
from models.verdict import VerdictLimits, judge


def figures(silent: int, alarms: int, attack: int = 100, benign: int = 1_000) -> Evaluation:
    """Return the evaluation of so many flows of which the first so many are silent or fire wrongly."""
    tags = np.concatenate([np.ones((attack, 1)), np.zeros((benign, 1))]).astype(np.uint8)
    scores = tags.astype(np.float32)
    scores[:silent] = 0
    scores[attack : attack + alarms] = 1
    return evaluate(tags, scores, (0.5,), ("x",))


def test_a_detector_within_its_limits_is_accepted() -> None:
    """At the limit is within it."""
    verdict = judge(figures(silent=5, alarms=3))
    assert verdict.accepted
    assert verdict.reasons == (
        "silent rate 5.0000% is within its limit 5.0000%",
        "false-alarm rate 0.3000% is within its limit 0.3000%",
    )


@pytest.mark.parametrize(("silent", "alarms", "word"), [(6, 0, "silent rate"), (0, 4, "false-alarm rate")])
def test_a_silent_or_flooding_detector_is_refused(silent: int, alarms: int, word: str) -> None:
    """One limit broken is enough, and the reason names it."""
    verdict = judge(figures(silent, alarms))
    assert not verdict.accepted
    assert any(reason.startswith(word) and "above" in reason for reason in verdict.reasons)


@pytest.mark.parametrize(("attack", "benign"), [(0, 100), (100, 0)])
def test_what_was_not_measured_is_not_accepted(attack: int, benign: int) -> None:
    """Without attack flows silence is unknown, not 0; the same for false alarms without benign flows."""
    verdict = judge(figures(0, 0, attack, benign))
    assert not verdict.accepted
    assert any("unknown" in reason for reason in verdict.reasons)


def test_limits_that_are_none_are_refused() -> None:
    """A rate above 1 limits nothing."""
    with pytest.raises(ConfigError, match="limit"):
        VerdictLimits(silent_rate=1.5)
