"""Where each tag fires: thresholds that keep a budget of false alarms on validation flows and waste none of it.

The budget is pooled: the share of benign flows on which any tag fires. Within it a tag's threshold maximises a
weighted F1, in which a flow that would otherwise stay silent counts several times, and a wrong tag on an attack flow
costs as much as one on a benign flow. A tag with few positives takes a threshold shared by all tags, because a cut
tuned on a handful of flows says nothing. A threshold stands in the middle, in logits, of the gap between the scores
it parts, because the scores of other captures are shifted. For the same reason cuts are judged on blurred scores; where
that costs detections on the validation flows themselves, on a narrower blur.
"""

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from features.errors import ConfigError, ModelMismatch, Uncalibrated
from models.metrics import false_alarm_rate, silent_rate

Source = Literal["tuned", "pooled"]
Mask = npt.NDArray[np.bool_]

# float32 scores saturate within these logits: 1 - 2^-24 has logit 16.6, and below the lowest nothing can fire.
LOWEST, HIGHEST = -30.0, 17.0
_COARSEST_STEP = 0.2
_LEAST_BLUR = 0.1
_SWEEPS = 4
# A blurred score is never quite 0: without half an alarm allowed no cut would keep a budget of none.
_LEAST_ALLOWED = 0.5
# Coordinate descent may end badly by chance: what is best under a stricter budget keeps the full one too.
_SHARES_OF_BUDGET = (1.0, 0.5, 0.25, 0.125)
# A blur is a guard against shifted scores: the silence it may cost before a narrower one is taken, and the benign flows
# that must be allowed to fire for one, because a narrow blur rests on single flows.
_SHARES_OF_BLUR = (1.0, 1 / 3)
_WORTH_OF_BLUR = 0.01
_ENOUGH_ALARMS = 20
NEVER_FIRES = float(np.nextafter(1.0, 2.0))


@dataclass(frozen=True)
class ThresholdSettings:
    """What thresholds are chosen for.

    Attributes:
        false_alarm_budget: Share of benign flows that may fire, all tags together, in [0, 1).
        least_positives: Validation flows a tag needs for a threshold of its own.
        blur: Width by which scores are blurred when cuts are judged, as a share of the distance in logits between the
            median true tag and the median score of benign flows; 0 or more. A third of it where that makes more than a
            hundredth of the attack flows less silent, and the budget is one of 20 flows or more.
        silence_weight: How often a true tag counts whose flow would otherwise stay silent, 1 or more.

    Raises:
        ConfigError: A value is out of range.
    """

    false_alarm_budget: float = 0.001
    least_positives: int = 20
    silence_weight: float = 5.0
    blur: float = 0.03

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        if not 0 <= self.false_alarm_budget < 1:
            raise ConfigError(
                "not a share", "thresholds.false_alarm_budget", "0 <= budget < 1", repr(self.false_alarm_budget)
            )
        least = {"least_positives": 1, "silence_weight": 1, "blur": 0}
        for name, bound in least.items():
            if not getattr(self, name) >= bound:
                raise ConfigError("too small", f"thresholds.{name}", f"{bound} or more", repr(getattr(self, name)))

    def to_dict(self) -> dict[str, float]:
        """Return plain values, as they are logged and stored with a detector."""
        return asdict(self)


@dataclass(frozen=True)
class Thresholds:
    """One threshold a tag, and what the set did on the flows it was chosen on.

    Attributes:
        values: One a tag, in (0, 1), or ``NEVER_FIRES``, just above 1; a tag fires when score >= threshold.
        sources: ``tuned`` for a tag with enough positives, else ``pooled``.
        false_alarm_rate: Of the validation flows; at most the budget.
        silent_rate: Of the validation flows.
    """

    values: tuple[float, ...]
    sources: tuple[Source, ...]
    false_alarm_rate: float
    silent_rate: float

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
        settings: Budget and weights.

    Raises:
        Uncalibrated: There is no attack flow, no benign flow, a NaN score, or nothing that fires within the budget.
        ModelMismatch: The shapes differ.
    """
    settings = settings or ThresholdSettings()
    _require_usable(tags, scores)
    values, silent = _widest_blur(tags, scores, settings)
    if silent == 1.0:
        raise Uncalibrated(
            "no threshold detects anything within the budget of false alarms",
            "choose_thresholds",
            f"false-alarm rate at most {settings.false_alarm_budget:g}",
            "some benign flows score as high as every attack flow",
            "train longer, look at the labels of the highest-scoring benign flows, or raise the budget",
        )
    own_threshold = tags.sum(axis=0) >= settings.least_positives
    sources: tuple[Source, ...] = tuple("tuned" if own else "pooled" for own in own_threshold)
    return Thresholds(values, sources, false_alarm_rate(tags, scores, values) or 0.0, silent)


def _widest_blur(
    tags: npt.NDArray[np.uint8], scores: npt.NDArray[np.float32], settings: ThresholdSettings
) -> tuple[tuple[float, ...], float]:
    """Return the thresholds of the widest blur that costs no detections worth speaking of, and their silent rate."""
    alarms = settings.false_alarm_budget * int((~tags.any(axis=1)).sum())
    shares = _SHARES_OF_BLUR if alarms >= _ENOUGH_ALARMS else _SHARES_OF_BLUR[:1]
    found = [_least_silent(tags, scores, replace(settings, blur=settings.blur * share)) for share in shares]
    least = min(silent for _, silent in found)
    return next(one for one in found if one[1] <= least + _WORTH_OF_BLUR)


def _least_silent(
    tags: npt.NDArray[np.uint8], scores: npt.NDArray[np.float32], settings: ThresholdSettings
) -> tuple[tuple[float, ...], float]:
    """Return the best thresholds of one blur, and their silent rate."""
    truth, logits = tags.astype(np.bool_), logits_of(scores)
    tuners = [_Tuner(truth, logits, settings, settings.false_alarm_budget * share) for share in _SHARES_OF_BUDGET]
    sets = [tuple(float(value) for value in _as_scores(tuner.chosen())) for tuner in tuners]
    silences = [silent_rate(tags, scores, values) for values in sets]
    silent = min(rate for rate in silences if rate is not None)  # there are attack flows
    return sets[silences.index(silent)], silent


class _Tuner:
    """Coordinate descent over per-tag cuts in logits, starting from one shared cut that keeps the budget."""

    def __init__(
        self, truth: Mask, logits: npt.NDArray[np.float64], settings: ThresholdSettings, false_alarm_budget: float
    ) -> None:
        self.truth = truth
        self.logits = logits
        self.settings = settings
        self.benign: Mask = ~np.asarray(truth.any(axis=1))
        self.budget = false_alarm_budget * int(self.benign.sum())
        self.own_threshold = truth.sum(axis=0) >= settings.least_positives
        self.curve = _Curve(self._blur())

    def chosen(self) -> npt.NDArray[np.float64]:
        """Return one cut a tag, shape (n_tags,), infinite for a tag that had better never fire."""
        cuts = self._pooled()
        for _ in range(_SWEEPS):
            before = cuts.copy()
            for tag in np.flatnonzero(self.own_threshold):
                cuts[tag] = self._tag_cut(int(tag), cuts)
            if np.array_equal(before, cuts):
                break
        cuts += self._least_shift(cuts)
        if (self.logits[~self.benign] >= cuts).any():
            return cuts
        # blurred, no cut may keep the budget: then a shared one just above all benign flows but those allowed
        shared = np.full_like(cuts, LOWEST)
        return shared + self._least_shift(shared)

    def _blur(self) -> float:
        """Return the blur in logits: a share of how far true tags stand above benign flows' scores."""
        apart = float(np.median(self.logits[self.truth]) - np.median(self.logits[self.benign]))
        return max(self.settings.blur * apart, _LEAST_BLUR)

    def _pooled(self) -> npt.NDArray[np.float64]:
        """Return the best cut shared by all tags, every (flow, tag) pair counting as one decision."""
        first = np.zeros(self.logits.shape, np.bool_)
        first[np.arange(len(first)), self.logits.argmax(axis=1)] = True
        highest = self.logits[self.benign].max(axis=1)
        alarms = self.curve.alarms(highest, np.full(len(highest), -np.inf))
        cut = self.curve.best_cut(self.logits.ravel(), self._worth(self.truth, first).ravel(), self._usable(alarms))
        return np.full(self.logits.shape[1], cut)

    def _tag_cut(self, tag: int, cuts: npt.NDArray[np.float64]) -> float:
        others = np.delete(self.logits - cuts, tag, axis=1).max(axis=1, initial=-np.inf)
        alarms = self.curve.alarms(self.logits[self.benign, tag], others[self.benign])
        usable = self._usable(alarms)
        if not usable.any():
            return float(cuts[tag])
        return self.curve.best_cut(self.logits[:, tag], self._worth(self.truth[:, tag], others < 0), usable)

    def _usable(self, alarms: npt.NDArray[np.float64]) -> Mask:
        return np.asarray(alarms <= max(self.budget, _LEAST_ALLOWED))

    def _worth(self, truth: Mask, ends_silence: Mask) -> npt.NDArray[np.float64]:
        """Return what firing on each decision is worth: 0 where the tag is wrong, more where it ends a silence."""
        return np.where(truth, np.where(ends_silence, self.settings.silence_weight, 1.0), 0.0)

    def _least_shift(self, cuts: npt.NDArray[np.float64]) -> float:
        """Return how far all cuts must rise together so that the budget holds exactly, unblurred."""
        over = np.sort((self.logits[self.benign] - cuts).max(axis=1))[::-1]
        may_fire = int(self.budget)
        if may_fire >= len(over) or over[may_fire] < 0:
            return 0.0
        return float(over[may_fire]) + self.curve.step


class _Curve:
    """What happens at every cut of a grid, each score blurred by a logistic of the given width in logits."""

    def __init__(self, blur: float) -> None:
        self.blur = blur
        self.step = min(blur / 2, _COARSEST_STEP)
        self.cuts = np.arange(LOWEST, HIGHEST + 2 * self.step, self.step)
        self.reached = sigmoid((self.cuts - self.cuts[:, None]) / blur)

    def alarms(self, logits: npt.NDArray[np.float64], others: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the number of benign flows that fire at each cut.

        Args:
            logits: Of one tag on the benign flows.
            others: How far the flow's other tags are above their cuts at most, negative where none fires.
        """
        already = sigmoid(others / self.blur)
        # below this cut the tag itself is what makes the flow fire
        first_by = self._bin(np.clip(logits - others, self.cuts[0], self.cuts[-1]))
        size = len(self.cuts)
        flows = np.bincount(self._bin(logits) * size + first_by, minlength=size * size).reshape(size, size)
        own = (self.reached * _sum_beyond(flows).T).sum(axis=1)
        return np.asarray(already.sum() + own - _sum_beyond(np.bincount(first_by, weights=already, minlength=size)))

    def best_cut(self, logits: npt.NDArray[np.float64], worth: npt.NDArray[np.float64], usable: Mask) -> float:
        """Return the usable cut of the highest weighted F1, infinity where no cut is usable or firing never pays.

        Args:
            logits: Of the decisions to cut.
            worth: What firing on each is worth, 0 where it is wrong.
            usable: Which cuts of the grid keep the budget.
        """
        bin_of = self._bin(logits)
        true_worth = self.reached @ np.bincount(bin_of, weights=worth, minlength=len(self.cuts))
        wrong = self.reached @ np.bincount(bin_of, weights=worth == 0, minlength=len(self.cuts))
        weighted_f1 = 2 * true_worth / (true_worth + wrong + max(float(worth.sum()), 1.0))
        best = int(np.argmax(np.where(usable, weighted_f1, 0.0)))
        return float(self.cuts[best]) if usable[best] and weighted_f1[best] > 0 else np.inf

    def _bin(self, logits: npt.NDArray[np.float64]) -> npt.NDArray[np.intp]:
        return np.rint((logits - LOWEST) / self.step).astype(np.intp)


def _sum_beyond(counts: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return for each position of the last axis the sum of all later ones."""
    return np.flip(np.cumsum(np.flip(counts, -1), -1), -1) - counts


def logits_of(scores: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.float64]:
    """Return logits of scores in [0, 1], bounded where float32 cannot tell scores from 0 or 1."""
    inside = np.clip(scores.astype(np.float64), np.exp(LOWEST), 1.0 - np.exp(-HIGHEST))
    return np.clip(np.log(inside) - np.log1p(-inside), LOWEST, HIGHEST)


def _as_scores(cuts: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.where(cuts > HIGHEST, NEVER_FIRES, sigmoid(cuts))


def sigmoid(logits: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return scores of logits, in [0, 1]."""
    return np.asarray(1.0 / (1.0 + np.exp(np.clip(-logits, -700.0, 700.0))))


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
