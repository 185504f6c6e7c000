"""Intervals cover what they say, and know that flows of one block are no independent evidence."""

import numpy as np

from models.intervals import intervals


def flows(seed: int, blocks: int = 60, size: int = 40) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return tags, scores and blocks; blocks differ, and on average 30 % of attack flows stay silent."""
    random = np.random.default_rng(seed)
    block = np.repeat(np.arange(blocks, dtype=np.int32), size)
    tags = (random.random((len(block), 1)) < 0.3).astype(np.uint8)
    silent = random.random(len(block)) < random.choice([0.0, 0.6], blocks)[block]
    scores = np.where((tags[:, 0] == 1) & ~silent, 0.9, 0.1)[:, None].astype(np.float32)
    return tags, scores, block


def test_95_of_100_intervals_hold_the_truth() -> None:
    """The true silent rate of 0.3 lies in about 95 % of intervals, though blocks differ by far more than flows do."""
    held = 0
    for seed in range(100):
        tags, scores, block = flows(seed)
        low, high = intervals(tags, scores, (0.5,), block, ("x",))["silent_rate"]
        held += low <= 0.3 <= high
    assert 88 <= held <= 99


def test_each_figure_has_one_around_itself() -> None:
    """Recall, precision and average precision are named by tag, and lie within."""
    tags, scores, block = flows(1)
    found = intervals(tags, scores, (0.5,), block, ("x",))
    assert set(found) == {"silent_rate", "false_alarm_rate", "x.precision", "x.recall", "x.average_precision"}
    recall = 1 - ((scores[:, 0] < 0.5) & (tags[:, 0] == 1)).sum() / tags.sum()
    assert found["x.recall"][0] < recall < found["x.recall"][1]
    assert found["x.precision"] == (1.0, 1.0)
    assert 0 < found["x.average_precision"][0] < found["x.average_precision"][1] <= 1


def test_too_few_blocks_say_nothing() -> None:
    """An attack within one block gets no interval, and nothing breaks without any flow of a tag."""
    tags, scores, block = flows(2, blocks=4)
    assert intervals(tags, scores, (0.5,), block, ("x",)) == {}
    none = np.zeros_like(tags)
    assert "x.recall" not in intervals(none, scores, (0.5,), flows(2)[2][: len(none)], ("x",))
