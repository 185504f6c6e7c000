"""Background: joins the labelled flows, names who fires although taken for benign."""

from dataclasses import replace

import numpy as np
import pytest

from features.errors import ConfigError
from models.background import Background, BackgroundSettings, Senders
from models.dataset import TagDataset


def benign(flows: int, first: float = 0.0) -> TagDataset:
    features = np.arange(first, first + flows, dtype=np.float32)[:, None]
    return TagDataset(features, np.zeros((flows, 2), np.uint8), ("packets",), ("scan", "flood"))


def background(attack_share: float = 0.0) -> Background:
    """Return six learned flows of senders a, a, a, b, b, c and four held out of d, d, d, e."""
    senders = Senders(np.array([0, 0, 0, 1, 1, 2, 3, 3, 3, 4]), ("a", "b", "c", "d", "e"))
    half = np.array([0, 0, 0, 1, 1, 0])
    return Background(benign(6), benign(4, 6.0), senders, half, BackgroundSettings(attack_share=attack_share))


def test_learned_flows_join_the_labelled_ones() -> None:
    """The learned flows come behind the labelled ones, without a tag; held-out ones do not."""
    labelled = TagDataset(
        np.array([[9.0], [8.0]], np.float32), np.array([[1, 0], [0, 1]], np.uint8), ("packets",), ("scan", "flood")
    )
    together = background().beside(labelled)
    assert together.features[:, 0].tolist() == [9, 8, 0, 1, 2, 3, 4, 5]
    assert together.attack.tolist() == [True, True] + [False] * 6


def test_who_fires_is_named() -> None:
    """Senders half of whose flows fire or more are named, those of most flows first; the rate is of held-out flows."""
    fired = np.array([1, 0, 0, 1, 0, 0, 1, 1, 1, 0], np.bool_)
    assert background().told(fired) == {
        "learned": 6,
        "held_out": 4,
        "false_alarm_rate": 0.75,
        "firing": [{"sender": "d", "flows": 3, "fired": 3}, {"sender": "b", "flows": 2, "fired": 1}],
    }


def test_what_fired_before_it_was_learned_is_named() -> None:
    """Learned flows count as they did before they were learned, held-out ones as they do; the rate is theirs alone."""
    tried = replace(background(), unlearned=np.array([1, 1, 0, 0, 0, 0], np.bool_))
    told = tried.told(np.array([0, 0, 0, 1, 1, 0, 0, 0, 0, 1], np.bool_))
    assert told["firing"] == [{"sender": "a", "flows": 3, "fired": 2}, {"sender": "e", "flows": 1, "fired": 1}]
    assert told["false_alarm_rate"] == 0.25


def test_attackers_are_set_aside_only_where_asked() -> None:
    """Of four held-out flows three of one sender fire: they go with a share of 0.8, and stay with 0.5 or none."""
    fired = np.array([1, 1, 1, 0], np.bool_)
    assert background(0.8).set_aside(fired).tolist() == [True, True, True, False]
    assert not background(0.5).set_aside(fired).any()
    assert not background().set_aside(fired).any()


@pytest.mark.parametrize("wrong", [{"share": 0.0}, {"share": 1.0}, {"held_out": 0.0}, {"attack_share": 1.0}])
def test_values_out_of_range(wrong: dict[str, float]) -> None:
    """Shares that leave nothing are refused by name."""
    with pytest.raises(ConfigError, match=f"background.{next(iter(wrong))}"):
        BackgroundSettings(**wrong)
