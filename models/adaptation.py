"""Thresholds for another network, from its own unlabelled traffic.

What a detector takes for attacks on a network that it never saw is mostly false, and how much each tag fires there is
the measure of it. So each tag's threshold is lifted until, all tags together, no more flows fire than the budget
allows. Attacks inside the traffic must not lift thresholds above themselves: sources most of whose flows fire are set
aside first, as long as together they are at most an assumed share of the flows. Attacks come from few sources; what
floods everywhere stays in, and is what thresholds are lifted for.

Sources: thresholds by the quantile of negatives as in Neyman-Pearson classification (Scott and Nowak 2005); setting
suspects aside is a trimmed estimate (Huber 1981), by groups instead of single flows.
"""

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from features.errors import ConfigError
from models.firing import deciding
from models.thresholds import Thresholds, logits_of, sigmoid

Mask = npt.NDArray[np.bool_]
Scores = npt.NDArray[np.floating[Any]]

SUSPECT_SHARE = 0.5


@dataclass(frozen=True)
class AdaptSettings:
    """How a detector is adapted to a network.

    Attributes:
        attack_share: Share of the local flows that attacks may be; sources that look like attacks are set aside up to
            it. 0 for traffic that is known to hold none.
        held_out: Last share of the local flows, by time, that is kept for judging.
        epochs: Passes of fine-tuning.
        learning_rate: Of fine-tuning.
        anchor: Without old flows to replay, weight of the squared distance to the old weights in the loss.

    Raises:
        ConfigError: A value is out of range.
    """

    attack_share: float = 0.05
    held_out: float = 0.2
    epochs: int = 5
    learning_rate: float = 1e-3
    anchor: float = 1e-2

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        rules = {
            "attack_share": (0 <= self.attack_share < 1, "0 <= share < 1"),
            "held_out": (0 < self.held_out < 1, "0 < share < 1"),
            "epochs": (self.epochs >= 1, "1 or more"),
            "learning_rate": (self.learning_rate > 0, "above 0"),
            "anchor": (self.anchor >= 0, "0 or more"),
        }
        for name, (holds, expected) in rules.items():
            if not holds:
                raise ConfigError("cannot adapt so", f"adapt.{name}", expected, repr(getattr(self, name)))

    def to_dict(self) -> dict[str, float]:
        """Return plain values, as they are logged and stored with a detector."""
        return asdict(self)


def suspects(fired: Mask, sources: npt.NDArray[np.int64], most: float) -> Mask:
    """Return which flows come from sources to set aside, shape (n_flows,).

    Sources of whose flows at least SUSPECT_SHARE fire, those that fire most first, the busier ones first among equals;
    one that does not fit into what is left of the share is passed over.

    Args:
        fired: Flows on which at least one tag fires, shape (n_flows,).
        sources: Number of the source of each flow, 0 or more, shape (n_flows,).
        most: Highest share of the flows that may be set aside, in [0, 1).
    """
    flows = np.bincount(sources)
    firing = np.divide(np.bincount(sources, weights=fired), flows, out=np.zeros(len(flows)), where=flows > 0)
    room = int(most * len(fired))
    chosen = np.zeros(len(flows), np.bool_)
    for source in np.lexsort((-flows, -firing)).tolist():
        if firing[source] < SUSPECT_SHARE:
            break
        if flows[source] <= room:
            chosen[source] = True
            room -= int(flows[source])
    return np.asarray(chosen[sources])


def lifted_thresholds(
    thresholds: Thresholds, scores: Scores, budget: float, attacks: Scores | None = None, least: int = 0
) -> Thresholds:
    """Return thresholds under which at most a share of flows are detections; what they do elsewhere is not judged anew.

    Args:
        thresholds: Lifted are those that decide whether a flow is a detection.
        scores: Of flows taken for benign, shape (n_flows, n_tags), in [0, 1].
        budget: Share of the flows that may be detections, in [0, 1).
        attacks: Scores of flows known to be attacks, shape (n_attacks, n_tags).
        least: As for `lifted`.
    """
    compared, cuts = deciding(scores, thresholds.cuts)
    known = None if attacks is None else deciding(attacks, thresholds.cuts)[0]
    found = lifted(cuts, compared, budget, known, least)
    return replace(thresholds, detecting=found) if thresholds.detecting else replace(thresholds, values=found)


def lifted(
    values: npt.ArrayLike, scores: Scores, budget: float, attacks: Scores | None = None, least: int = 0
) -> tuple[float, ...]:
    """Return thresholds, none lower than before, under which at most a share of flows fire.

    Every tag may fire on as many flows; how many is the largest number under which all tags together keep the budget.
    What is left of it goes to the tags that regain the most known attacks. A threshold stands in the middle, in logits,
    between the highest score that may not fire and the next one above it, of these flows or of known attacks: so it
    keeps a margin on other days and costs none of the attacks known.

    Args:
        values: Thresholds so far, shape (n_tags,).
        scores: Of flows taken for benign, shape (n_flows, n_tags), in [0, 1].
        budget: Share of the flows that may fire, in [0, 1).
        attacks: Of flows known to be attacks, shape (n_attacks, n_tags), NaN for tags that a flow does not carry.
        least: So many of them may fire whatever the budget is; fewer than there are.
    """
    most = max(int(budget * len(scores)), least)
    highest = -np.sort(-np.partition(scores, len(scores) - most - 1, axis=0)[len(scores) - most - 1 :], axis=0)
    old, known = np.asarray(values, np.float64), scores[:0] if attacks is None else attacks
    reaching = scores >= old
    for each in range(most, -1, -1):
        quiet = highest[each]
        if (reaching & (scores > quiet)).any(axis=1).sum() <= most:
            break
    lost = ((known >= old) & (known <= quiet)).sum(axis=0)
    for tag in np.argsort(-lost, kind="stable").tolist():
        fires = reaching & (scores > quiet)
        fires[:, tag] = False
        # without the flows that fire anyway, all but as many as are left of the budget
        rest = scores[~fires.any(axis=1), tag]
        quiet[tag] = min(quiet[tag], np.partition(rest, len(scores) - most - 1)[len(scores) - most - 1])
    cuts = np.where(old > quiet, old, _above(quiet, np.concatenate([scores, known])))
    return tuple(cuts.tolist())


def _above(quiet: Scores, seen: Scores) -> npt.NDArray[np.float64]:
    """Return for each tag a cut above a score, midway to the next score that was seen; just above where none was."""
    ends = np.where(seen > quiet, seen, np.nan)
    cuts = np.nextafter(quiet.astype(np.float64), np.inf)
    followed = np.flatnonzero(~np.isnan(ends).all(axis=0))
    middles = sigmoid((logits_of(quiet[followed]) + logits_of(np.nanmin(ends[:, followed], axis=0))) / 2)
    cuts[followed] = np.maximum(cuts[followed], middles)
    return cuts
