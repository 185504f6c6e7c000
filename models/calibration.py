"""Scores as probabilities: one logistic curve a tag, fitted on the validation flows (Platt 1999).

A curve rises, so the order of a tag's scores stays and thresholds stay true: tags fire on scores, and people read
probabilities. Isotonic steps would fit these flows better, but join scores that differ and say nothing beyond them; one
temperature for all tags cannot mend what differs from tag to tag (measured in docs/decisions/0012-calibration.md).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from keras import ops

from models.firing import Scores
from models.metrics import Tags, calibration_error
from models.tensors import Tensor
from models.thresholds import HIGHEST, LOWEST, logits_of, sigmoid

BINS = 10
STEPS = 50
CLOSE_ENOUGH = 1e-9
RIDGE = 1e-9

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Calibration:
    """A tag's probability is sigmoid(slope * logit of its score + offset).

    Attributes:
        slopes: One a tag, above 0.
        offsets: One a tag.
        sources: ``own`` for a tag with enough validation flows, else ``pooled``: the curve of all tags together.
    """

    slopes: tuple[float, ...]
    offsets: tuple[float, ...]
    sources: tuple[str, ...]

    def probabilities(self, scores: Scores) -> npt.NDArray[np.float32]:
        """Return the probabilities of scores, shape (n_flows, n_tags), in the order of the scores."""
        return sigmoid(np.asarray(self.slopes) * logits_of(scores) + np.asarray(self.offsets)).astype(np.float32)

    def probabilities_in(self, logits: Tensor) -> Tensor:
        """Return the same of the scores' logits inside a network."""
        slopes, offsets = (np.asarray(one, np.float32) for one in (self.slopes, self.offsets))
        return ops.sigmoid(ops.clip(logits, LOWEST, HIGHEST) * slopes + offsets)

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> "Calibration":
        """Build it from what ``dataclasses.asdict`` and JSON made of it."""
        return cls(tuple(plain["slopes"]), tuple(plain["offsets"]), tuple(plain["sources"]))


@dataclass(frozen=True)
class ReliabilityBin:
    """Pairs of flow and tag whose probabilities are alike: the mean of them, the share that is true, how many."""

    mean: float
    true: float
    pairs: int


def fit_calibration(tags: Tags, scores: Scores, least_positives: int) -> Calibration:
    """Fit a curve to each tag that at least so many flows carry, and to the others one of all tags together.

    Args:
        tags: Of validation flows, shape (n_flows, n_tags), 0 or 1.
        scores: Same shape, in [0, 1].
        least_positives: Flows a tag needs for a curve of its own.
    """
    truth, logits = tags.astype(np.float64), logits_of(scores)
    pooled = _curve(truth.ravel(), logits.ravel())
    own = truth.sum(axis=0) >= least_positives
    curves = [_curve(truth[:, at], logits[:, at]) if one else pooled for at, one in enumerate(own)]
    slopes, offsets = zip(*curves, strict=True)
    return Calibration(slopes, offsets, tuple("own" if one else "pooled" for one in own))


def reliability(tags: Tags, probabilities: Scores, bins: int = BINS) -> tuple[ReliabilityBin, ...]:
    """Return the reliability curve over all (flow, tag) pairs in equal bins, empty ones left out.

    Two pairs of probability 0.95, one of them true: one bin of mean 0.95, share 0.5, two pairs.
    """
    flat = np.asarray(probabilities, np.float64).ravel()
    bin_of = np.minimum((flat * bins).astype(np.intp), bins - 1)
    pairs = np.bincount(bin_of, minlength=bins)
    sums = (np.bincount(bin_of, weights=values, minlength=bins) for values in (flat, tags.ravel().astype(np.float64)))
    rows = zip(*sums, pairs.tolist(), strict=True)
    return tuple(ReliabilityBin(float(mean / count), float(true / count), count) for mean, true, count in rows if count)


def tag_calibration_errors(tags: Tags, probabilities: Scores) -> list[float | None]:
    """Return each tag's expected calibration error; None where no flow carries it."""
    columns = range(tags.shape[1])
    return [calibration_error(tags[:, [at]], probabilities[:, [at]]) if tags[:, at].any() else None for at in columns]


def _curve(truth: Floats, logits: Floats) -> tuple[float, float]:
    """Return slope and offset of the most likely curve by Newton's method with halved steps (Lin, Lin, Weng 2007).

    Targets are Platt's, a little inside 0 and 1, so that a tag whose flows score above all others has a finite curve.
    It is the identity where flows that carry the tag score no higher than others.
    """
    positives = truth.sum()
    high, low = (positives + 1) / (positives + 2), 1 / (len(truth) - positives + 2)
    wanted = np.where(truth > 0, high, low)
    inputs = np.stack([logits, np.ones_like(logits)])
    curve = np.array([1.0, 0.0])
    cost = _cost(curve, inputs, wanted)
    for _ in range(STEPS):
        found = sigmoid(curve @ inputs)
        gradient = inputs @ (found - wanted)
        curvature = (inputs * (found * (1 - found))) @ inputs.T + RIDGE * np.eye(2)
        step, before = np.linalg.solve(curvature, gradient), cost
        for _ in range(STEPS):
            cost = _cost(curve - step, inputs, wanted)
            if cost <= before:
                break
            step = step / 2
        curve = curve - step
        if before - cost <= CLOSE_ENOUGH * abs(before):
            break
    return (float(curve[0]), float(curve[1])) if curve[0] > 0 else (1.0, 0.0)


def _cost(curve: Floats, inputs: Floats, wanted: Floats) -> float:
    """Return the cross-entropy of a curve, summed over pairs."""
    logits = curve @ inputs
    return float((np.logaddexp(0.0, logits) - wanted * logits).sum())
