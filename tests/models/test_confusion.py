"""Confusion between tags."""

import numpy as np

from models.confusion import Confusion, confusions


def test_only_wrong_tags_on_attack_flows_are_confusions() -> None:
    """A tag that fires rightly beside another is none, nor is a false alarm; the most frequent pair comes first."""
    tags = np.array([[1, 0, 0], [1, 0, 0], [1, 1, 0], [0, 0, 1], [0, 0, 0]], np.uint8)
    fired = np.array([[1, 1, 0], [0, 1, 0], [1, 1, 0], [1, 0, 0], [1, 1, 1]], np.bool_)
    assert confusions(tags, fired, ("a", "b", "c")) == (Confusion("a", "b", 2, 2 / 3), Confusion("c", "a", 1, 1.0))
    assert confusions(tags, tags > 0, ("a", "b", "c")) == ()
