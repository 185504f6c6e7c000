"""Thresholds: the budget holds, silence is not bought with wrong tags, and what cannot be chosen is refused."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.errors import ConfigError, ModelMismatch, Uncalibrated
from models.metrics import evaluate, false_alarm_rate, fired_tags, silent_rate
from models.thresholds import NEVER_FIRES, ThresholdSettings, choose_thresholds


def sigmoid(logits: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-logits))).astype(np.float32)


def flows(rows: int, apart: float, seed: int = 0, n_tags: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """Return tags, from common to rare, and scores whose true tags stand ``apart`` logits above the others."""
    random = np.random.default_rng(seed)
    tags = (random.random((rows, n_tags)) < np.geomspace(0.05, 0.002, n_tags)).astype(np.uint8)
    return tags, sigmoid(random.normal(-6, 1.5, (rows, n_tags)) + apart * tags)


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 1_000),
    apart=st.floats(0.5, 14),
    budget=st.sampled_from([0.0, 0.001, 0.01, 0.2]),
    rows=st.integers(50, 900),
    blur=st.sampled_from([0.0, 0.03, 0.5]),
)
def test_the_budget_always_holds_on_the_flows_it_was_chosen_on(
    seed: int, apart: float, budget: float, rows: int, blur: float
) -> None:
    """Whatever the scores, the chosen set fires on at most its budget of benign flows, or is refused."""
    tags, scores = flows(rows, apart, seed)
    if not tags.any():
        return
    try:
        chosen = choose_thresholds(tags, scores, ThresholdSettings(budget, blur=blur))
    except Uncalibrated:
        return
    assert (false_alarm_rate(tags, scores, chosen.values) or 0.0) <= budget
    assert chosen.false_alarm_rate == false_alarm_rate(tags, scores, chosen.values)
    assert chosen.silent_rate == silent_rate(tags, scores, chosen.values)
    assert chosen.silent_rate < 1


def test_separable_tags_are_cut_inside_the_gap() -> None:
    """With true tags at logit 6 and all others at -6 nothing is missed, and the cut is far from both."""
    tags = np.zeros((1_000, 2), np.uint8)
    tags[:50, 0] = tags[50:100, 1] = 1
    scores = sigmoid(np.where(tags > 0, 6.0, -6.0))
    chosen = choose_thresholds(tags, scores)
    assert (chosen.false_alarm_rate, chosen.silent_rate) == (0.0, 0.0)
    assert all(0.02 < value < 0.98 for value in chosen.values)
    assert chosen.sources == ("tuned", "tuned")


def test_thresholds_keep_their_promise_on_other_flows() -> None:
    """On fresh flows of the same kind false alarms stay near the budget, not a multiple of it."""
    budget = 0.002
    rates = []
    for seed in range(6):
        chosen = choose_thresholds(*flows(10_000, 8.0, seed), ThresholdSettings(budget))
        tags, scores = flows(10_000, 8.0, seed + 100)
        rates.append(false_alarm_rate(tags, scores, chosen.values))
    assert np.mean(np.asarray(rates, float)) < 1.5 * budget


def uneven(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return one tag and scores: benign flows at logit -12, three quarters of attack at 16, the rest near -8.5."""
    random = np.random.default_rng(seed)
    tags = np.zeros((rows, 1), np.uint8)
    tags[: rows // 2] = 1
    means = np.where(np.arange(rows) < rows * 3 // 8, 16.0, np.where(tags[:, 0] > 0, -8.5, -12.0))
    return tags, sigmoid(random.normal(means, 1.0)[:, None])


def test_a_blur_that_costs_detections_is_narrowed() -> None:
    """Where many alarms are allowed the cut comes as near to benign flows as the budget lets it, here and elsewhere."""
    tags, scores = uneven(8_000, 1)
    chosen = choose_thresholds(tags, scores, ThresholdSettings(0.01))
    nearest = np.quantile(scores[tags == 0], 0.99)
    least = float((scores[tags == 1] <= nearest).mean())
    assert chosen.silent_rate <= least + 0.03
    assert (false_alarm_rate(*uneven(8_000, 2), chosen.values) or 0.0) <= 0.015


def test_a_blur_stays_wide_where_the_budget_is_a_handful_of_flows() -> None:
    """Of the same flows a few hundred allow four alarms, too few to trust: the cut stays farther from benign flows."""
    wide = choose_thresholds(*uneven(800, 1), ThresholdSettings(0.01))
    near = choose_thresholds(*uneven(8_000, 1), ThresholdSettings(0.01))
    assert wide.values[0] > near.values[0]


def test_wrong_tags_on_attack_flows_count_though_they_cost_no_budget() -> None:
    """A tag that also scores middling on another attack's flows is cut above them."""
    tags = np.zeros((2_000, 2), np.uint8)
    tags[:200, 0] = tags[200:400, 1] = 1
    logits = np.where(tags > 0, 7.0, -8.0)
    logits[200:400, 0] = 1.0
    chosen = choose_thresholds(tags, sigmoid(logits))
    assert sigmoid(np.array(1.0)) < chosen.values[0] < sigmoid(np.array(7.0))
    assert evaluate(tags, sigmoid(logits), chosen.values, ("a", "b")).exact_match == 1.0


def test_silence_weighs_more_than_a_wrong_tag() -> None:
    """Flows that only one low-scoring tag could name are named, though twice as many wrong tags come with it."""
    tags = np.zeros((2_000, 2), np.uint8)
    tags[:100, 0] = tags[100:140, 0] = 1
    tags[140:240, 1] = 1
    logits = np.where(tags > 0, 6.0, -8.0)
    logits[100:140, 0] = -2.0
    logits[140:220, 0] = -2.0
    scores = sigmoid(logits)
    loud = choose_thresholds(tags, scores, ThresholdSettings(silence_weight=5.0))
    exact = choose_thresholds(tags, scores, ThresholdSettings(silence_weight=1.0))
    assert silent_rate(tags, scores, loud.values) == 0.0
    assert silent_rate(tags, scores, exact.values) == pytest.approx(40 / 240)


def test_rare_tags_share_one_pooled_threshold() -> None:
    """Tags with fewer positives than asked for, none included, all get the same cut."""
    tags, scores = flows(4_000, 9.0, n_tags=8)
    tags[:, 7] = 0
    positives = tags.sum(axis=0)
    chosen = choose_thresholds(tags, scores, ThresholdSettings(least_positives=50))
    pooled = {value for value, count in zip(chosen.values, positives, strict=True) if count < 50}
    assert len(pooled) == 1
    assert [source == "pooled" for source in chosen.sources] == (positives < 50).tolist()


def test_one_attack_flow_among_few_benign_ones_is_enough() -> None:
    """Too few flows to blur are cut just above the benign ones."""
    tags = np.array([[0], [0], [1]], np.uint8)
    chosen = choose_thresholds(tags, np.array([[0.1], [0.3], [0.4]], np.float32))
    assert 0.3 < chosen.values[0] <= 0.4


def test_scores_that_saturate_are_handled() -> None:
    """Scores of exactly 0 and 1 part like any others."""
    tags = np.zeros((300, 1), np.uint8)
    tags[:30] = 1
    chosen = choose_thresholds(tags, tags.astype(np.float32))
    assert (chosen.false_alarm_rate, chosen.silent_rate) == (0.0, 0.0)
    assert fired_tags(np.array([[1.0]], np.float32), (NEVER_FIRES,)).tolist() == [[False]]


@pytest.mark.parametrize("constant", [0, 1])
def test_without_attack_or_without_benign_flows_nothing_can_be_chosen(constant: int) -> None:
    """The refusal says what came and what to do."""
    tags = np.full((50, 2), constant, np.uint8)
    with pytest.raises(Uncalibrated, match=r"attack flows, (.|\n)*validate on a capture with both"):
        choose_thresholds(tags, np.full((50, 2), 0.5, np.float32))


def test_scores_that_say_nothing_are_refused() -> None:
    """Equal scores on all flows leave no cut within the budget that detects anything."""
    tags = np.eye(40, 2, dtype=np.uint8)
    with pytest.raises(Uncalibrated, match="within the budget"):
        choose_thresholds(tags, np.full((40, 2), 0.7, np.float32))


def test_nan_scores_are_refused() -> None:
    """A NaN score is a broken network, not a low score."""
    tags = np.eye(4, 2, dtype=np.uint8)
    scores = np.where(tags > 0, np.nan, 0.1).astype(np.float32)
    with pytest.raises(Uncalibrated, match="NaN"):
        choose_thresholds(tags, scores)


def test_shapes_that_differ_are_refused() -> None:
    """Scores of other tags cannot be cut."""
    with pytest.raises(ModelMismatch, match="shape"):
        choose_thresholds(np.zeros((4, 2), np.uint8), np.zeros((4, 3), np.float32))


@pytest.mark.parametrize(
    ("field", "value"),
    [("false_alarm_budget", 1.0), ("false_alarm_budget", -0.1), ("least_positives", 0), ("silence_weight", 0.5)],
)
def test_values_out_of_range_are_refused_by_name(field: str, value: float) -> None:
    """A value out of range is a configuration error that names it."""
    with pytest.raises(ConfigError, match=rf"thresholds\.{field}"):
        ThresholdSettings(**{field: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(("seed", "apart"), [(38, 3.0), (15, 7.0), (7, 7.0)])
def test_a_larger_budget_is_not_more_silent(seed: int, apart: float) -> None:
    """Twice the budget leaves no more than 2 % of attack flows more silent: what a stricter one found keeps it too."""
    tags, scores = flows(400, apart, seed)
    silent = [
        choose_thresholds(tags, scores, ThresholdSettings(budget)).silent_rate
        for budget in np.geomspace(0.001, 0.064, 7)
    ]
    assert max(later - earlier for earlier, later in itertools.pairwise(silent)) <= 0.02
