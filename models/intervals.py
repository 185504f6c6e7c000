"""How sure figures are: the block bootstrap (Künsch 1989), because flows of one attack are no independent evidence."""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from sklearn.metrics import average_precision_score

from models.firing import Fired, Scores, fired_tags
from models.metrics import Tags

RESAMPLES = 400
AP_RESAMPLES = 60
FEWEST_BLOCKS = 5
PERCENTILES = (2.5, 97.5)

Interval: TypeAlias = tuple[float, float]
Drawn = npt.NDArray[np.int64]
Sums = npt.NDArray[np.float64]


def intervals(
    tags: Tags, scores: Scores, thresholds: npt.ArrayLike, blocks: npt.NDArray[np.int32], tag_names: Sequence[str]
) -> dict[str, Interval]:
    """Return 95 % intervals of the rates and of each tag's precision, recall and average precision.

    Blocks of time are drawn with replacement. What fewer than FEWEST_BLOCKS blocks say about is left out.

    Args:
        tags: Shape (n_flows, n_tags), 0 or 1.
        scores: Same shape.
        thresholds: One a tag.
        blocks: Block of each flow, from 0, shape (n_flows,).
        tag_names: One a tag.

    Returns:
        By name: ``silent_rate``, ``false_alarm_rate``, ``TAG.precision``, ``TAG.recall``, ``TAG.average_precision``.
    """
    truth, fired = tags.astype(np.bool_), fired_tags(scores, thresholds)
    drawn = _draws(int(blocks.max(initial=0)) + 1)
    attack, any_fired = (np.asarray(one.any(axis=1)) for one in (truth, fired))
    ratios: dict[str, tuple[Fired, Fired]] = {
        "silent_rate": (attack & ~any_fired, attack),
        "false_alarm_rate": (~attack & any_fired, ~attack),
    }
    for at, name in enumerate(tag_names):
        both = truth[:, at] & fired[:, at]
        ratios |= {f"{name}.precision": (both, fired[:, at]), f"{name}.recall": (both, truth[:, at])}
    found = {name: _of_ratio(part, whole, blocks, drawn) for name, (part, whole) in ratios.items()}
    for at, name in enumerate(tag_names):
        found[f"{name}.average_precision"] = _of_precision(truth[:, at], scores[:, at], blocks, drawn[:AP_RESAMPLES])
    return {name: interval for name, interval in found.items() if interval}


def _draws(blocks: int) -> Drawn:
    """Return how often each block is drawn in each resample, shape (RESAMPLES, n_blocks); always the same."""
    return np.random.default_rng(0).multinomial(blocks, np.full(blocks, 1 / blocks), RESAMPLES)


def _of_ratio(part: Fired, whole: Fired, blocks: npt.NDArray[np.int32], drawn: Drawn) -> Interval | None:
    count = drawn.shape[1]
    parts, wholes = (np.bincount(blocks[chosen], minlength=count) for chosen in (part, whole))
    if np.count_nonzero(wholes) < FEWEST_BLOCKS:
        return None
    tops, bottoms = drawn @ parts, drawn @ wholes
    return _middle(tops[bottoms > 0] / bottoms[bottoms > 0])


def _of_precision(truth: Fired, scores: Scores, blocks: npt.NDArray[np.int32], drawn: Drawn) -> Interval | None:
    if len(np.unique(blocks[truth])) < FEWEST_BLOCKS:
        return None
    # absent flows that score below every true one change no precision
    counts = scores >= scores[truth].min()
    truth, scores, blocks = truth[counts], scores[counts], blocks[counts]
    weights = (draw[blocks] for draw in drawn)
    found = [average_precision_score(truth, scores, sample_weight=one) for one in weights if one[truth].any()]
    return _middle(np.asarray(found))


def _middle(values: Sums) -> Interval:
    low, high = np.percentile(values, PERCENTILES)
    return float(low), float(high)
