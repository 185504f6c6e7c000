"""How good scores and thresholds are; what cannot be known is None, never 0."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.metrics import average_precision_score

from models.firing import Fired, Scores, any_fired, fired_tags

Tags = npt.NDArray[np.uint8]

CALIBRATION_BINS = 15


@dataclass(frozen=True)
class TagFigures:
    """One tag's figures; with no positives every ratio is None.

    ``precision`` is None as well where the tag never fired; ``fired`` counts flows, on benign and attack flows alike.
    """

    name: str
    positives: int
    fired: int
    precision: float | None
    recall: float | None
    f1: float | None
    average_precision: float | None


@dataclass(frozen=True)
class Evaluation:
    """Figures of a set of flows whose truth is known.

    Attributes:
        flows: Number of flows; ``attack_flows`` carry a tag, ``benign_flows`` carry none.
        silent_rate: Share of attack flows on which nothing fired; None without attack flows.
        false_alarm_rate: Share of benign flows with at least one fired tag; None without benign flows.
        exact_match: Share of flows whose fired tags are exactly the true ones.
        macro_f1: Mean over tags with positives; ``mean_average_precision`` likewise.
        micro_f1: Over all (flow, tag) pairs, tags without positives included.
        calibration_error: Expected calibration error over all pairs, 15 equal bins.
        tags: Figures of each tag, in the detector's order.
    """

    flows: int
    attack_flows: int
    benign_flows: int
    silent_rate: float | None
    false_alarm_rate: float | None
    exact_match: float | None
    macro_f1: float | None
    micro_f1: float | None
    mean_average_precision: float | None
    calibration_error: float | None
    tags: tuple[TagFigures, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; None stays null."""
        return {**asdict(self), "tags": [asdict(tag) for tag in self.tags]}

    def summary(self) -> dict[str, float]:
        """Return the known figures of the whole set by name, tags left out."""
        plain = {name: value for name, value in asdict(self).items() if name != "tags"}
        return {name: float(value) for name, value in plain.items() if value is not None}


def silent_rate(tags: Tags, scores: Scores, thresholds: npt.ArrayLike) -> float | None:
    """Return the share of attack flows on which no tag fired.

    Args:
        tags: Tag matrix, shape (n_flows, n_tags), values 0 or 1.
        scores: Same shape, in [0, 1]; higher means more likely.
        thresholds: As `models.firing.fired_tags` takes them; one a tag, which fires when score >= threshold, or two.

    Returns:
        Ratio in [0, 1]; None when there is no attack flow.
    """
    attack = tags.any(axis=1)
    return _ratio(int((attack & ~any_fired(scores, thresholds)).sum()), int(attack.sum()))


def false_alarm_rate(tags: Tags, scores: Scores, thresholds: npt.ArrayLike) -> float | None:
    """Return the share of benign flows with at least one fired tag; None when there is no benign flow."""
    benign = ~tags.any(axis=1)
    return _ratio(int((benign & any_fired(scores, thresholds)).sum()), int(benign.sum()))


def calibration_error(tags: Tags, scores: Scores, bins: int = CALIBRATION_BINS) -> float | None:
    """Return the expected calibration error over all (flow, tag) pairs (Naeini 2015), None without any.

    Mean over equal bins of |share of true pairs - mean score|, weighted by the pairs in the bin. Two pairs scored 0.9,
    one of them true: |0.5 - 0.9| = 0.4.
    """
    if not scores.size:
        return None
    flat = scores.ravel().astype(np.float64)
    bin_of = np.minimum((flat * bins).astype(np.intp), bins - 1)
    gap = np.bincount(bin_of, weights=tags.ravel() - flat, minlength=bins)
    return float(np.abs(gap).sum() / flat.size)


def evaluate(tags: Tags, scores: Scores, thresholds: npt.ArrayLike, tag_names: Sequence[str]) -> Evaluation:
    """Return every figure of a set of flows whose truth is known; arguments as for ``silent_rate``."""
    truth = tags.astype(np.bool_)
    fired = fired_tags(scores, thresholds)
    figures = tuple(_tag_figures(name, truth[:, i], fired[:, i], scores[:, i]) for i, name in enumerate(tag_names))
    attack = truth.any(axis=1)
    return Evaluation(
        flows=len(tags),
        attack_flows=int(attack.sum()),
        benign_flows=int((~attack).sum()),
        silent_rate=silent_rate(tags, scores, thresholds),
        false_alarm_rate=false_alarm_rate(tags, scores, thresholds),
        exact_match=_ratio(int((truth == fired).all(axis=1).sum()), len(tags)),
        macro_f1=_mean_known([tag.f1 for tag in figures]),
        micro_f1=_f1(int((truth & fired).sum()), int(fired.sum()), int(truth.sum())),
        mean_average_precision=_mean_known([tag.average_precision for tag in figures]),
        calibration_error=calibration_error(tags, scores),
        tags=figures,
    )


def mean_average_precision(tags: Tags, scores: Scores) -> float | None:
    """Return the mean of average precision over tags that have positives, None where no tag has."""
    present = np.flatnonzero(tags.any(axis=0))
    return _mean_known([float(average_precision_score(tags[:, i], scores[:, i])) for i in present])


def silence_at_budget(tags: Tags, scores: Scores, budget: float) -> float | None:
    """Return the silent rate at one threshold for all tags, as low as a budget of false alarms allows.

    Args:
        tags: Shape (n_flows, n_tags), 0 or 1.
        scores: Same shape; logits serve as well, as only their order counts.
        budget: Share of benign flows that may fire, in [0, 1).

    Returns:
        Ratio in [0, 1]; None without attack flows or without benign flows.
    """
    attack = tags.any(axis=1)
    highest = scores.max(axis=1)
    benign = np.sort(highest[~attack])[::-1]
    if not attack.any() or not benign.size:
        return None
    return float((highest[attack] <= benign[int(budget * benign.size)]).mean())


def _tag_figures(name: str, truth: Fired, fired: Fired, scores: Scores) -> TagFigures:
    positives, firings, both = int(truth.sum()), int(fired.sum()), int((truth & fired).sum())
    if not positives:
        return TagFigures(name, 0, firings, None, None, None, None)
    return TagFigures(
        name=name,
        positives=positives,
        fired=firings,
        precision=_ratio(both, firings),
        recall=_ratio(both, positives),
        f1=_f1(both, firings, positives),
        average_precision=float(average_precision_score(truth, scores)),
    )


def _f1(both: int, fired: int, positives: int) -> float | None:
    """Return 2 TP / (fired + positives), None where no flow carries the tag."""
    return 2.0 * both / (fired + positives) if positives else None


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _mean_known(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
