"""Where flows are detections and which tags fire: thresholds that keep a budget of false alarms and waste none of it.

The budget is the share of benign flows that may be detections. Of n benign validation flows, exchangeable with one that
comes, a cut that lets k through is passed by that one with a probability of at most (k + 1) / (n + 1) (the conformal
quantile; Vovk et al. 2005). So a cut costs its false alarms and one more, and all together at most budget x (n + 1).
One cut of the evidence of any attack is shared by all tags. What it leaves of the budget goes, by attack flows gained
per false alarm, to lower cuts for flows of one most probable tag, each step down paid like a cut of its own, because it
was chosen for looking cheap; and as the lowest attack flow that it gains says where it is, that one does not count.
False alarms that gain nothing are not bought.

Which tags fire on a detection is another question: each tag's threshold maximises F1 on the attack flows. A tag that
few of them carry takes one shared by all tags, because a cut tuned on a handful of flows says nothing. Every cut stands
in the middle, in logits, between what it parts, because the scores of other captures are shifted.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from features.errors import ConfigError, ModelMismatch, Uncalibrated
from models.firing import Cuts, Floats, Scores, evidence
from models.metrics import false_alarm_rate, silent_rate

Source = Literal["tuned", "pooled"]
Mask = npt.NDArray[np.bool_]

# float32 scores saturate within these logits: 1 - 2^-24 has logit 16.6, and below the lowest nothing can fire.
LOWEST, HIGHEST = -30.0, 17.0
NEVER_FIRES = float(np.nextafter(1.0, 2.0))


@dataclass(frozen=True)
class ThresholdSettings:
    """What thresholds are chosen for.

    Attributes:
        false_alarm_budget: Share of benign flows that may fire, all tags together, in [0, 1).
        least_positives: Validation flows a tag needs for a threshold of its own.
        per_hour: False alarms per hour of traffic, 0 or more, in place of the share; None for the share.

    Raises:
        ConfigError: A value is out of range.
    """

    false_alarm_budget: float = 0.001
    least_positives: int = 20
    per_hour: float | None = None

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        if not 0 <= self.false_alarm_budget < 1:
            raise ConfigError(
                "not a share", "thresholds.false_alarm_budget", "0 <= budget < 1", repr(self.false_alarm_budget)
            )
        if not self.least_positives >= 1:
            raise ConfigError("too small", "thresholds.least_positives", "1 or more", repr(self.least_positives))
        if self.per_hour is not None and not 0 <= self.per_hour < np.inf:
            raise ConfigError("no number of false alarms", "thresholds.per_hour", "0 or more", repr(self.per_hour))

    def to_dict(self) -> dict[str, float | None]:
        """Return plain values, as they are logged and stored with a detector."""
        return asdict(self)


@dataclass(frozen=True)
class Thresholds:
    """Two thresholds a tag, and what the set did on the flows it was chosen on.

    Attributes:
        values: One a tag, in (0, 1), or `NEVER_FIRES`, just above 1; a tag fires on a detection from this score on.
        sources: ``tuned`` for a tag with enough positives, else ``pooled``; of ``values``.
        false_alarm_rate: Of the validation flows; at most the budget.
        silent_rate: Of the validation flows.
        detecting: One a tag, likewise; a flow whose most probable tag it is, is a detection from this evidence of any
            attack on. Empty where a flow is a detection when some tag's score reaches its value.
    """

    values: tuple[float, ...]
    sources: tuple[Source, ...]
    false_alarm_rate: float
    silent_rate: float
    detecting: tuple[float, ...] = ()

    @property
    def cuts(self) -> Cuts:
        """What `models.firing.fired_tags` takes."""
        return (self.values, self.detecting) if self.detecting else self.values

    @property
    def deciding(self) -> tuple[float, ...]:
        """Those that decide whether a flow is a detection, one a tag."""
        return self.detecting or self.values

    def judged(self, tags: npt.NDArray[np.uint8], scores: npt.NDArray[np.float32]) -> "Thresholds":
        """Return the same thresholds with what they do on flows whose truth is known."""
        false_alarms = false_alarm_rate(tags, scores, self.cuts) or 0.0
        return replace(self, false_alarm_rate=false_alarms, silent_rate=silent_rate(tags, scores, self.cuts) or 0.0)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)


def choose_thresholds(
    tags: npt.NDArray[np.uint8], scores: npt.NDArray[np.float32], settings: ThresholdSettings | None = None
) -> Thresholds:
    """Choose thresholds on validation flows under the budget of false alarms.

    Args:
        tags: Shape (n_flows, n_tags), 0 or 1.
        scores: Same shape, in [0, 1].
        settings: Budget, and what a tag needs.

    Raises:
        Uncalibrated: There is no attack flow, no benign flow, a NaN score, or nothing that fires within the budget.
        ModelMismatch: The shapes differ.
    """
    settings = settings or ThresholdSettings()
    _require_usable(tags, scores)
    attack, found = np.asarray(tags.any(axis=1)), evidence(scores)
    detecting = _detecting(found, attack, settings.false_alarm_budget)
    if not (found[attack] >= detecting).any():
        raise Uncalibrated(
            "no threshold detects anything within the budget of false alarms",
            "choose_thresholds",
            f"false-alarm rate at most {settings.false_alarm_budget:g}",
            "some benign flows score as high as every attack flow",
            "train longer, look at the labels of the highest-scoring benign flows, or raise the budget",
        )
    own = tags.sum(axis=0) >= settings.least_positives
    values = _naming(tags[attack].astype(np.bool_), scores[attack].astype(np.float64), own)
    sources: tuple[Source, ...] = tuple("tuned" if one else "pooled" for one in own)
    return Thresholds(values, sources, 0.0, 0.0, tuple(detecting.tolist())).judged(tags, scores)


def _detecting(found: Floats, attack: Mask, budget: float) -> Floats:
    """Return a cut of the evidence for each most probable tag, shape (n_tags,).

    The shared cut is tried with the whole budget, a half of it, a quarter and so on; of what leaves the fewest attack
    flows silent the first is taken. Where the budget is less than one flow nothing can be promised, and cuts stand
    above all benign flows.

    Args:
        found: As `evidence` returns it.
        attack: Which flows carry a tag, shape (n_flows,).
        budget: Share of benign flows that may be detections.
    """
    allowed = max(budget * (int((~attack).sum()) + 1), 1.0)
    tried, share = [], int(allowed)
    while share:
        tried.append(_shared_and_own(found, attack, share, allowed))
        share //= 2
    gained = [int((found[attack] >= cuts).any(axis=1).sum()) for cuts in tried]
    return tried[int(np.argmax(gained))]


def _shared_and_own(found: Floats, attack: Mask, share: int, allowed: float) -> Floats:
    """Return cuts of which the shared one costs at most a share of the allowed flows, and all together at most all."""
    heights = found.max(axis=1)
    shared = _Ranked(heights[~attack], heights[attack])
    gains = shared.gains(share - 1)
    through = int(np.argmax(gains >= gains.max() - 1))
    cuts = np.full(found.shape[1], shared.cut(through))
    left = allowed - 1 - int((heights[~attack] >= cuts[0]).sum())
    quiet, likeliest = heights < cuts[0], found.argmax(axis=1)
    own = {tag: quiet & (likeliest == tag) for tag in np.unique(likeliest[quiet & attack]).tolist()}
    ranked = {tag: _Ranked(heights[flows & ~attack], heights[flows & attack]) for tag, flows in own.items()}
    steps = [(step, tag) for tag, part in ranked.items() for step in part.steps(int(left))]
    ended: set[int] = set()
    for step, tag in sorted(steps, key=lambda one: -one[0].worth):
        if step.cost > left:
            ended.add(tag)
        elif tag not in ended:
            cuts[tag] = ranked[tag].cut(step.through)
            left -= step.cost
    return cuts


@dataclass(frozen=True)
class _Step:
    """A lower cut: how many benign flows it lets through in all, its worth, and what it costs beyond the one before."""

    through: int
    worth: float
    cost: int


class _Ranked:
    """Flows under one cut: evidence of benign flows, falling, and of attack flows, rising."""

    def __init__(self, benign: Floats, attacks: Floats) -> None:
        self.benign = np.sort(benign)[::-1]
        self.attacks = np.sort(attacks)

    def gains(self, most: int) -> npt.NDArray[np.intp]:
        """Return the attack flows above the cut when 0, 1, ... at most so many benign flows are let through."""
        below = np.append(self.benign, -1.0)[: most + 1]
        return len(self.attacks) - np.searchsorted(self.attacks, below, side="right")

    def steps(self, most: int) -> Iterator[_Step]:
        """Yield ever lower cuts, each the best step down by attack flows gained, but one, per cost."""
        gains = self.gains(most - 1) if most > 0 else np.empty(0, np.intp)
        first = gain = 0
        while first < len(gains) and gains[-1] > gain + 1:
            more, costs = gains[first:] - gain, np.arange(1, len(gains) - first + 1) + bool(gain)
            worth = (more - 1) / costs
            best = int(np.argmax(worth))
            yield _Step(first + best, float(worth[best]), int(costs[best]))
            first, gain = first + best + 1, gain + int(more[best])

    def cut(self, through: int) -> float:
        """Return the cut that lets so many benign flows through: midway from the next one to the next attack flow."""
        below = self.benign[through] if through < len(self.benign) else -1.0
        above = self.attacks[np.searchsorted(self.attacks, below, side="right") :]
        if not len(above):
            return float(max(np.nextafter(below, 2.0), 0.0))
        return float(above[0]) if below < 0 else _between(below, above[0])


def _naming(truth: Mask, scores: Floats, own: Mask) -> tuple[float, ...]:
    """Return each tag's threshold of the highest F1 on attack flows; one of all pairs where it is not to be its own.

    Args:
        truth: Shape (n_attacks, n_tags).
        scores: Same shape.
        own: Which tags have a threshold of their own.
    """
    pooled = _best_f1(truth.ravel(), scores.ravel())
    return tuple(_best_f1(truth[:, at], scores[:, at]) if one else pooled for at, one in enumerate(own))


def _best_f1(truth: Mask, scores: Floats) -> float:
    """Return the threshold of the highest F1; `NEVER_FIRES` where nothing is true."""
    order = np.argsort(-scores, kind="stable")
    falling, hits = scores[order], np.cumsum(truth[order])
    if not hits[-1]:
        return NEVER_FIRES
    ends = np.append(np.flatnonzero(np.diff(falling)), len(falling) - 1)
    best = ends[int(np.argmax(hits[ends] / (ends + 1 + hits[-1])))]
    return float(falling[best]) if best + 1 == len(falling) else _between(falling[best + 1], falling[best])


def _between(below: float, above: float) -> float:
    """Return a cut between two scores, in the middle in logits; it parts them however near they are."""
    middle = sigmoid(logits_of(np.array([below, above])).mean())
    return float(np.clip(middle, np.nextafter(below, 2.0), above))


def logits_of(scores: Scores) -> Floats:
    """Return logits of scores in [0, 1], bounded where float32 cannot tell scores from 0 or 1."""
    inside = np.clip(scores.astype(np.float64), np.exp(LOWEST), 1.0 - np.exp(-HIGHEST))
    return np.clip(np.log(inside) - np.log1p(-inside), LOWEST, HIGHEST)


def sigmoid(logits: npt.ArrayLike) -> Floats:
    """Return scores of logits, in [0, 1]."""
    return np.asarray(1.0 / (1.0 + np.exp(np.clip(-np.asarray(logits, np.float64), -700.0, 700.0))))


def _require_usable(tags: npt.NDArray[np.uint8], scores: npt.NDArray[np.float32]) -> None:
    if tags.shape != scores.shape:
        raise ModelMismatch("scores and tags differ in shape", "choose_thresholds", str(tags.shape), str(scores.shape))
    if np.isnan(scores).any():
        raise Uncalibrated("scores are NaN", "choose_thresholds", "numbers in [0, 1]", "NaN", "train the network again")
    attack = int(tags.any(axis=1).sum())
    benign = len(tags) - attack
    if not attack or not benign:
        raise Uncalibrated(
            "thresholds cannot be chosen",
            "validation flows",
            "flows with a tag and flows without",
            f"{attack} attack flows, {benign} benign flows",
            "validate on a capture with both; see its rules file for the times and addresses of attacks",
        )
