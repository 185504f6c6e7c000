"""On which flows tags fire, and which.

Whether a flow is a detection is one question, put to its evidence of any attack: the probability that not every tag is
absent, 1 - prod(1 - score), as if tags were independent (the noisy-or of Pearl 1988). An attack whose evidence is
spread over several tags is found so. From where on it is enough depends on the flow's most probable tag, which then
fires; other tags fire beside it from thresholds of their own on.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

Scores = npt.NDArray[np.floating[Any]]
Fired = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Cuts = tuple[float, ...] | tuple[tuple[float, ...], tuple[float, ...]]
"""One threshold a tag, or two, as `fired_tags` takes them."""

# float32 scores nearer to 1 are 1; what is beyond nobody knows
_NEAREST = 1.0 - 2.0**-25


def evidence(scores: Scores) -> Floats:
    """Return the evidence of any attack in the column of each flow's most probable tag, and 0 in all others.

    Scores of 0.5 and 0.6 give 0 and 0.8.

    Args:
        scores: Shape (n_flows, n_tags), in [0, 1]; one that is NaN counts as 0.
    """
    known = np.minimum(np.nan_to_num(scores.astype(np.float64)), _NEAREST)
    found = np.zeros(known.shape)
    found[np.arange(len(known)), known.argmax(axis=1)] = -np.expm1(np.log1p(-known).sum(axis=1))
    return found


def deciding(scores: Scores, thresholds: npt.ArrayLike) -> tuple[Scores, Floats]:
    """Return what decides whether flows are detections, shape (n_flows, n_tags), and one cut a tag of it."""
    cuts = np.asarray(thresholds, np.float64)
    return (scores, cuts) if cuts.ndim == 1 else (evidence(scores), cuts[1])


def any_fired(scores: Scores, thresholds: npt.ArrayLike) -> Fired:
    """Return which flows are detections, shape (n_flows,): those on which `fired_tags` finds a tag."""
    compared, cuts = deciding(scores, thresholds)
    return np.asarray((compared >= cuts).any(axis=1))


def fired_tags(scores: Scores, thresholds: npt.ArrayLike) -> Fired:
    """Return which tags fire, shape (n_flows, n_tags). A NaN score never fires.

    Args:
        scores: Same shape, in [0, 1].
        thresholds: One a tag, shape (n_tags,): a tag fires when score >= threshold. Or two a tag, shape (2, n_tags):
            a flow is a detection when its evidence >= the second one of its most probable tag, which fires; other tags
            fire on a detection when score >= their first one.
    """
    compared, cuts = deciding(scores, thresholds)
    reached = np.asarray(compared >= cuts)
    if np.ndim(thresholds) == 1:
        return reached
    beside = scores >= np.asarray(thresholds, np.float64)[0]
    return np.asarray(reached | (beside & reached.any(axis=1, keepdims=True)))
