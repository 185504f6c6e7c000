"""Thresholds lifted for another network, by flows of which a few may be attacks."""

import numpy as np
import pytest

from features.errors import ConfigError
from models.adaptation import AdaptSettings, lifted, suspects
from models.thresholds import NEVER_FIRES


def test_each_tag_may_fire_as_often() -> None:
    """Ten flows, a budget of two: each tag keeps its highest score, since together they are two flows."""
    scores = np.full((10, 2), 0.1, np.float32)
    scores[3] = (0.9, 0.1)
    scores[5] = (0.7, 0.1)
    scores[7] = (0.1, 0.8)
    cuts = lifted((0.5, 0.5), scores, 0.2)
    np.testing.assert_allclose(cuts, (0.7, 0.5), rtol=1e-6)
    fired = scores >= np.asarray(cuts)
    assert np.flatnonzero(fired.any(axis=1)).tolist() == [3, 7]


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
    """On random scores no more flows fire than allowed, and fewer than the number of tags more would do so."""
    scores = np.random.default_rng(5).random((2_000, 4)).astype(np.float32)
    fired = int((scores >= np.asarray(lifted((0.5,) * 4, scores, budget))).any(axis=1).sum())
    allowed = int(budget * 2_000)
    assert allowed - 4 < fired <= allowed


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
