"""Thresholds lifted for another network, by flows of which a few may be attacks."""

import math

import numpy as np
import pytest

from features.errors import ConfigError
from models.adaptation import AdaptSettings, Scores, lifted, suspects
from models.thresholds import NEVER_FIRES


def three_that_fire() -> Scores:
    """Return the scores of ten flows by two tags, all 0.1 but for three."""
    scores = np.full((10, 2), 0.1, np.float32)
    scores[3, 0], scores[5, 0], scores[7, 1] = 0.9, 0.7, 0.8
    return scores


def midway(low: float, high: float) -> float:
    """Return the score in the middle of two in logits: odds are multiplied."""
    odds = math.sqrt(low / (1 - low) * high / (1 - high))
    return odds / (1 + odds)


def test_each_tag_may_fire_as_often() -> None:
    """Ten flows, a budget of two: each tag keeps its highest score, since together they are two flows."""
    scores = three_that_fire()
    cuts = lifted((0.05, 0.05), scores, 0.2)
    assert np.flatnonzero((scores >= np.asarray(cuts)).any(axis=1)).tolist() == [3, 7]
    assert cuts == pytest.approx((midway(0.7, 0.9), midway(0.1, 0.8)), rel=1e-6)
    assert lifted((0.05, 0.5), scores, 0.2)[1] == 0.5


def test_known_attacks_bound_the_margin() -> None:
    """A threshold stands no higher than midway to the lowest attack above; attacks of other tags do not count."""
    attacks = np.array([[0.8, np.nan], [0.6, np.nan], [np.nan, 0.3]], np.float32)
    cuts = lifted((0.05, 0.05), three_that_fire(), 0.2, attacks)
    assert cuts == pytest.approx((midway(0.7, 0.8), midway(0.1, 0.3)), rel=1e-6)
    assert lifted((0.05, 0.05), three_that_fire(), 0.0, attacks)[1] == pytest.approx(0.8, rel=1e-6)


def test_what_is_left_of_the_budget_regains_attacks() -> None:
    """One of ten may fire, and as many for each tag would be two: it goes to the tag that loses more known attacks."""
    scores = three_that_fire()
    attacks = np.array([[0.95, np.nan], [np.nan, 0.85], [np.nan, 0.75], [np.nan, 0.7]], np.float32)
    cuts = lifted((0.05, 0.05), scores, 0.1, attacks)
    assert np.argwhere(scores >= np.asarray(cuts)).tolist() == [[7, 1]]
    assert cuts == pytest.approx((midway(0.9, 0.95), midway(0.1, 0.7)), rel=1e-6)


def test_one_flow_may_fire_whatever_the_budget() -> None:
    """With no budget and at least one flow, one of the three fires."""
    scores = three_that_fire()
    assert (scores >= np.asarray(lifted((0.05, 0.05), scores, 0.0, least=1))).any(axis=1).sum() == 1
    assert not (scores >= np.asarray(lifted((0.05, 0.05), scores, 0.0))).any()


def test_thresholds_never_fall() -> None:
    """Where nothing fires they stay as they are, also one that never fires."""
    cuts = lifted((0.5, NEVER_FIRES), np.zeros((100, 2), np.float32), 0.01)
    assert cuts == (0.5, NEVER_FIRES)


def test_a_budget_of_none_silences_what_fired() -> None:
    """With no flow allowed every threshold stands above the highest score, and with a score of 1 never fires."""
    scores = np.array([[1.0, 0.6], [0.2, 0.1]], np.float32)
    cuts = lifted((0.5, 0.5), scores, 0.0)
    assert not (scores >= np.asarray(cuts)).any()
    assert cuts[0] == NEVER_FIRES
    assert cuts[1] == pytest.approx(0.6, rel=1e-6)


@pytest.mark.parametrize("budget", [0.0, 0.001, 0.004, 0.02, 0.3])
def test_the_budget_is_kept_and_used(budget: float) -> None:
    """On random scores, all of which differ, as many flows fire as are allowed."""
    scores = np.random.default_rng(5).random((2_000, 4)).astype(np.float32)
    fired = int((scores >= np.asarray(lifted((0.5,) * 4, scores, budget))).any(axis=1).sum())
    allowed = int(budget * 2_000)
    assert fired == allowed


def test_sources_that_mostly_fire_are_set_aside_up_to_a_share() -> None:
    """Of 100 flows 5 may go: source 1 with 4 firing flows goes, source 2 with 10 does not fit, 3 fires too seldom."""
    sources = np.repeat([0, 1, 2, 3], [80, 4, 10, 6])
    fired = np.isin(sources, (1, 2))
    fired[94:96] = True
    aside = suspects(fired, sources, 0.05)
    np.testing.assert_array_equal(aside, sources == 1)
    assert not suspects(fired, sources, 0.0).any()


def test_attacks_inside_the_traffic_do_not_drag_thresholds() -> None:
    """With 5 % of attack flows mixed in, thresholds are those of clean traffic; without trimming they are far up."""
    random = np.random.default_rng(8)
    benign = (random.random((9_500, 1)) ** 4).astype(np.float32) * np.float32(0.8)
    mixed = np.concatenate([benign, random.uniform(0.9, 1.0, (500, 1)).astype(np.float32)])
    sources = np.concatenate([random.integers(0, 50, 9_500), random.integers(50, 54, 500)])
    keep = ~suspects((mixed >= 0.6).any(axis=1), sources, 0.05)
    clean, trimmed, dragged = (lifted((0.6,), scores, 0.001)[0] for scores in (benign, mixed[keep], mixed))
    assert trimmed == pytest.approx(clean, abs=0.01)
    assert dragged > 0.9


@pytest.mark.parametrize(
    "wrong", [{"attack_share": 1.0}, {"held_out": 0.0}, {"epochs": 0}, {"learning_rate": 0.0}, {"anchor": -1.0}]
)
def test_values_out_of_range(wrong: dict[str, float]) -> None:
    """A value out of range names the setting."""
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        AdaptSettings(**wrong)  # type: ignore[arg-type]  # the point
