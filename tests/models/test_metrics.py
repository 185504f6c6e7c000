"""Figures against counting by hand and scikit-learn; what cannot be known is None."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score

from models.metrics import (
    calibration_error,
    evaluate,
    false_alarm_rate,
    mean_average_precision,
    silence_at_budget,
    silent_rate,
)

TAGS = np.array([[1, 0], [1, 1], [0, 1], [0, 0], [0, 0]], np.uint8)
SCORES = np.array([[0.9, 0.1], [0.4, 0.4], [0.6, 0.2], [0.1, 0.7], [0.2, 0.3]], np.float32)
HALF = (0.5, 0.5)


def random_flows(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    tags = (random.random((500, 4)) < [0.2, 0.05, 0.01, 0.3]).astype(np.uint8)
    return tags, np.clip(tags * 0.4 + random.random((500, 4)) * 0.6, 0, 1).astype(np.float32)


def test_rates_of_five_flows_counted_by_hand() -> None:
    """One of three attack flows is silent, one of two benign flows fires; a wrong tag ends silence too."""
    assert silent_rate(TAGS, SCORES, HALF) == pytest.approx(1 / 3)
    assert false_alarm_rate(TAGS, SCORES, HALF) == pytest.approx(1 / 2)


def test_rates_without_flows_to_measure_on_are_none() -> None:
    """Silence without attack flows, false alarms without benign flows, anything without flows: None, never 0."""
    benign, attack = TAGS * 0, TAGS | 1
    assert silent_rate(benign, SCORES, HALF) is None
    assert false_alarm_rate(attack, SCORES, HALF) is None
    empty = evaluate(TAGS[:0], SCORES[:0], HALF, ("a", "b"))
    assert {value for name, value in empty.to_dict().items() if "flows" not in name and name != "tags"} == {None}
    assert empty.summary() == {"flows": 0.0, "attack_flows": 0.0, "benign_flows": 0.0}


def test_a_tag_without_positives_has_no_figures_and_counts_in_no_mean() -> None:
    """Zero support is None, never 0, and left out of macro means; its firings still show."""
    tags = TAGS.copy()
    tags[:, 1] = 0
    evaluation = evaluate(tags, SCORES, HALF, ("a", "b"))
    unknown = evaluation.tags[1]
    assert (unknown.positives, unknown.fired) == (0, 1)
    assert (unknown.precision, unknown.recall, unknown.f1, unknown.average_precision) == (None, None, None, None)
    assert evaluation.macro_f1 == evaluation.tags[0].f1
    assert evaluation.mean_average_precision == evaluation.tags[0].average_precision


def test_a_tag_that_never_fires_has_no_precision() -> None:
    """Precision of nothing is None; recall and F1 are 0, because positives were missed."""
    figures = evaluate(TAGS, SCORES, (0.5, 0.99), ("a", "b")).tags[1]
    assert (figures.precision, figures.recall, figures.f1) == (None, 0.0, 0.0)


def test_figures_equal_scikit_learns() -> None:
    """F1, average precision and their means are those of scikit-learn."""
    tags, scores = random_flows()
    evaluation = evaluate(tags, scores, (0.5,) * 4, ("a", "b", "c", "d"))
    fired = scores >= 0.5
    assert evaluation.macro_f1 == pytest.approx(f1_score(tags, fired, average="macro"))
    assert evaluation.micro_f1 == pytest.approx(f1_score(tags, fired, average="micro"))
    assert evaluation.mean_average_precision == pytest.approx(average_precision_score(tags, scores, average="macro"))
    assert evaluation.exact_match == pytest.approx((tags == fired).all(axis=1).mean())
    assert mean_average_precision(tags, scores) == evaluation.mean_average_precision


def test_calibration_error_counted_by_hand() -> None:
    """Two pairs scored 0.9, one of them true: 0.4; perfect scores: 0; none: None."""
    assert calibration_error(np.array([[1], [0]], np.uint8), np.full((2, 1), 0.9)) == pytest.approx(0.4)
    assert calibration_error(TAGS, TAGS.astype(np.float32)) == 0.0
    assert calibration_error(TAGS[:0], SCORES[:0]) is None


def test_calibration_error_equals_the_loop_over_bins() -> None:
    """The weighted mean over 15 bins of |share true - mean score|, by a loop."""
    tags, scores = random_flows(3)
    truth, flat = tags.ravel(), scores.ravel().astype(np.float64)
    expected = 0.0
    for i in range(15):
        inside = (flat >= i / 15) & ((flat < (i + 1) / 15) | (i == 14))
        if inside.any():
            expected += inside.mean() * abs(truth[inside].mean() - flat[inside].mean())
    assert calibration_error(tags, scores) == pytest.approx(expected)


def test_silence_at_budget_is_the_best_shared_threshold() -> None:
    """Trying every threshold finds none that is less silent within the budget."""
    tags, scores = random_flows(5)
    for budget in (0.0, 0.01, 0.2):
        within = [
            silent_rate(tags, scores, (cut,) * 4) or 0.0
            for cut in np.unique(scores) + 1e-9
            if (false_alarm_rate(tags, scores, (cut,) * 4) or 0.0) <= budget
        ]
        assert silence_at_budget(tags, scores, budget) == pytest.approx(min(within))
    assert silence_at_budget(tags * 0, scores, 0.1) is None


def test_plain_values_keep_what_is_unknown() -> None:
    """to_dict carries None as None, for JSON's null."""
    plain = evaluate(TAGS, SCORES, (0.5, 0.99), ("a", "b")).to_dict()
    assert plain["tags"][1]["precision"] is None
    assert plain["silent_rate"] == pytest.approx(1 / 3)
