"""Thresholds: the budget holds, silence is not bought with wrong tags, and what cannot be chosen is refused."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.errors import ConfigError, ModelMismatch, Uncalibrated
from models.firing import evidence, fired_tags
from models.metrics import evaluate, false_alarm_rate, silent_rate
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
)
def test_the_budget_always_holds_on_the_flows_it_was_chosen_on(
    seed: int, apart: float, budget: float, rows: int
) -> None:
    """Whatever the scores, the chosen set fires on at most its budget of benign flows, or is refused."""
    tags, scores = flows(rows, apart, seed)
    if not tags.any():
        return
    try:
        chosen = choose_thresholds(tags, scores, ThresholdSettings(budget))
    except Uncalibrated:
        return
    assert (false_alarm_rate(tags, scores, chosen.cuts) or 0.0) <= budget
    assert chosen.false_alarm_rate == false_alarm_rate(tags, scores, chosen.cuts)
    assert chosen.silent_rate == silent_rate(tags, scores, chosen.cuts)
    assert chosen.silent_rate < 1


def test_separable_tags_are_cut_inside_the_gap() -> None:
    """With true tags at logit 6 and all others at -6 nothing is missed, and every cut is far from both."""
    tags = np.zeros((1_000, 2), np.uint8)
    tags[:50, 0] = tags[50:100, 1] = 1
    scores = sigmoid(np.where(tags > 0, 6.0, -6.0))
    chosen = choose_thresholds(tags, scores)
    assert (chosen.false_alarm_rate, chosen.silent_rate) == (0.0, 0.0)
    assert all(0.02 < value < 0.98 for value in (*chosen.values, *chosen.detecting))
    assert chosen.sources == ("tuned", "tuned")
    assert evaluate(tags, scores, chosen.cuts, ("a", "b")).exact_match == 1.0


@pytest.mark.parametrize(("budget", "rows"), [(0.002, 10_000), (0.01, 2_000), (0.001, 5_000)])
def test_thresholds_keep_their_promise_on_other_flows(budget: float, rows: int) -> None:
    """On fresh flows of the same kind false alarms are about the budget in the mean, no more than a fifth over it."""
    rates = []
    for seed in range(40):
        chosen = choose_thresholds(*flows(rows, 3.0, seed), ThresholdSettings(budget))
        tags, scores = flows(20_000, 3.0, 1_000 + seed)
        rates.append(false_alarm_rate(tags, scores, chosen.cuts))
    assert 0.6 * budget < np.mean(np.asarray(rates, float)) < 1.2 * budget


def test_false_alarms_that_gain_nothing_are_not_bought() -> None:
    """Where the highest benign flow scores below every attack flow, a large budget lets none of them through."""
    tags = np.zeros((2_000, 1), np.uint8)
    tags[:100] = 1
    scores = np.concatenate([np.full(100, 0.9), np.linspace(0.0, 0.5, 1_900)])[:, None].astype(np.float32)
    chosen = choose_thresholds(tags, scores, ThresholdSettings(0.2))
    assert chosen.false_alarm_rate == 0
    assert chosen.detecting[0] == pytest.approx(0.75)  # the logits of 0.5 and 0.9 are 0 and log 9


def test_evidence_spread_over_tags_is_found() -> None:
    """Attack flows of three tags at 0.4 each have 0.784; a benign flow of one tag at 0.6 does not hide them."""
    tags = np.zeros((1_000, 3), np.uint8)
    tags[np.arange(60), np.arange(60) % 3] = 1
    scores = np.full((1_000, 3), 0.01, np.float32)
    scores[:60] = 0.4
    scores[60:70, 0] = 0.6
    chosen = choose_thresholds(tags, scores)
    assert (chosen.false_alarm_rate, chosen.silent_rate) == (0.0, 0.0)


def test_a_tag_that_benign_flows_never_reach_has_a_lower_cut() -> None:
    """Benign flows reach one tag up to 0.9; the other one's attack flows at 0.5 cost one alarm, and are found."""
    tags = np.zeros((4_000, 2), np.uint8)
    tags[:100, 0] = tags[100:200, 1] = 1
    scores = np.full((4_000, 2), 0.001, np.float32)
    scores[:100, 0], scores[100:200, 1] = 0.99, 0.5
    scores[200:260, 0] = 0.9
    chosen = choose_thresholds(tags, scores, ThresholdSettings(0.001))
    assert (chosen.false_alarm_rate, chosen.silent_rate) == (0.0, 0.0)
    assert chosen.detecting[0] > 0.9
    assert chosen.detecting[1] < 0.6


def test_a_lower_cut_that_the_budget_does_not_pay_for_is_not_made() -> None:
    """Of 799 benign flows the budget pays for no second cut: the attack flows below the shared one stay silent."""
    tags = np.zeros((1_000, 2), np.uint8)
    tags[:100, 0] = tags[100:201, 1] = 1
    scores = np.full((1_000, 2), 0.001, np.float32)
    scores[:100, 0], scores[100:201, 1] = 0.99, 0.5
    scores[201:210, 0] = 0.9
    chosen = choose_thresholds(tags, scores, ThresholdSettings(0.001))
    assert chosen.detecting[0] == chosen.detecting[1] > 0.9
    assert chosen.silent_rate == pytest.approx(101 / 201)


def oracle(tags: np.ndarray, scores: np.ndarray, budget: float) -> int:
    """Return the most attack flows found by any shared cut and lower ones by tag that cost no more than they may."""
    attack, found = tags.any(axis=1), evidence(scores)
    heights, likeliest = found.max(axis=1), found.argmax(axis=1)
    allowed, best = budget * ((~attack).sum() + 1), 0
    cuts = [*np.unique(heights), 2.0]
    for shared in cuts:
        over = heights >= shared
        cost = (over & ~attack).sum() + 1
        for own in itertools.product([*cuts, None], repeat=tags.shape[1]):
            lower = np.zeros(len(tags), bool)
            for tag, cut in enumerate(own):
                if cut is not None:
                    lower |= (likeliest == tag) & (heights >= cut) & ~over
            price = cost + (lower & ~attack).sum() + sum(cut is not None for cut in own)
            if price <= allowed:
                best = max(best, int((attack & (over | lower)).sum()))
    return best


@pytest.mark.parametrize("seed", range(8))
def test_nearly_as_much_is_found_as_any_such_cuts_find(seed: int) -> None:
    """Of a dozen flows, all sets of cuts tried one by one: taking the best by gain and cost loses two flows at most."""
    random = np.random.default_rng(seed)
    tags = np.zeros((14, 2), np.uint8)
    tags[np.arange(7), random.integers(0, 2, 7)] = 1
    scores = random.random((14, 2)).astype(np.float32) ** 2
    best = oracle(tags, scores, 0.5)
    try:
        chosen = choose_thresholds(tags, scores, ThresholdSettings(0.5))
    except Uncalibrated:
        assert best <= 2
        return
    assert best - 2 <= round(7 * (1 - chosen.silent_rate)) <= best


def test_tags_fire_beside_where_that_is_mostly_right() -> None:
    """A tag that also scores middling on another attack's flows is cut above them, however large the budget is."""
    tags = np.zeros((2_000, 2), np.uint8)
    tags[:200, 0] = tags[200:400, 1] = 1
    logits = np.where(tags > 0, 7.0, -8.0)
    logits[200:400, 0] = 1.0
    chosen = choose_thresholds(tags, sigmoid(logits), ThresholdSettings(0.05))
    assert sigmoid(np.array(1.0)) < chosen.values[0] < sigmoid(np.array(7.0))
    assert evaluate(tags, sigmoid(logits), chosen.cuts, ("a", "b")).exact_match == 1.0


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
    """Where the budget is less than a flow, the cut stands above all benign flows."""
    tags = np.array([[0], [0], [1]], np.uint8)
    chosen = choose_thresholds(tags, np.array([[0.1], [0.3], [0.4]], np.float32))
    assert 0.3 < chosen.detecting[0] <= 0.4


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
    [("false_alarm_budget", 1.0), ("false_alarm_budget", -0.1), ("least_positives", 0)],
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
