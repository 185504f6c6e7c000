"""A trial of settings as plain figures: what each held-out fold gave, what they give together, what it is worth."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pipeline.settings import Settings

Plain = dict[str, Any]
RATES = ("silent_rate", "false_alarm_rate", "silent_at_budget", "mean_average_precision")
SECTIONS = ("detector", "network", "loss", "training", "thresholds")
"""What a trial decides about, and what its file of settings holds."""


@dataclass(frozen=True)
class FoldOutcome:
    """What a network did on a fold that it neither learned from nor chose thresholds on.

    Attributes:
        fold: Which was held out, from 0.
        flows: Flows in it; ``attack_flows`` of them carry a tag.
        attack_flows: See ``flows``.
        silent_rate: Share of its attack flows on which nothing fired, at thresholds of the validation fold.
        false_alarm_rate: Share of its benign flows on which something fired, likewise.
        silent_at_budget: Silent rate at the one cut that spends the budget on this very fold.
        mean_average_precision: Over its tags.
        history: Figures of each epoch on the validation fold.
        seconds: It took.
    """

    fold: int
    flows: int
    attack_flows: int
    silent_rate: float
    false_alarm_rate: float
    silent_at_budget: float
    mean_average_precision: float
    history: tuple[dict[str, float], ...]
    seconds: float

    def to_dict(self) -> Plain:
        """Return plain values."""
        return {**asdict(self), "history": list(self.history)}

    @classmethod
    def from_dict(cls, plain: Plain) -> "FoldOutcome":
        """Return what `to_dict` gave."""
        return cls(**{**plain, "history": tuple(plain["history"])})


@dataclass(frozen=True)
class Trial:
    """Settings that were tried, and what came of them.

    Attributes:
        number: Counted from 0, with gaps where a run was killed.
        state: "complete", "pruned" or "failed".
        settings: What was tried.
        outcomes: Of the folds held out so far.
        as_given: Whether these are the settings as they were given, but for the penalty, which none may stand for.
        failure: Why it failed, in one line; else empty.
    """

    number: int
    state: str
    settings: Settings
    outcomes: tuple[FoldOutcome, ...]
    as_given: bool = False
    failure: str = ""

    def mean(self, name: str) -> float:
        """Return the mean of a figure over the folds held out, each counting once."""
        return sum(getattr(outcome, name) for outcome in self.outcomes) / len(self.outcomes)


def cost(outcomes: Sequence[FoldOutcome], most_alarms: float) -> float:
    """Return what a search makes small: the silent rate, or where false alarms exceed their limit 1 and their rate.

    Means over folds. With a limit of 0.003: silent 0.2 at 0.002 false alarms costs 0.2, silent 0 at 0.05 costs 1.05.

    Args:
        outcomes: One or more.
        most_alarms: Share of benign flows that may fire.
    """
    alarms = sum(outcome.false_alarm_rate for outcome in outcomes) / len(outcomes)
    if alarms > most_alarms:
        return 1.0 + alarms
    return sum(outcome.silent_rate for outcome in outcomes) / len(outcomes)


def chosen(trials: Sequence[Trial], most_alarms: float) -> Trial | None:
    """Return the complete trial of the least cost whose mean average precision is not beneath the baseline's.

    Without a baseline there is no such demand.
    """
    baseline = without_penalty(trials)
    floor = baseline.mean("mean_average_precision") if baseline else 0.0
    fit = [one for one in trials if one.state == "complete" and one.mean("mean_average_precision") >= floor]
    return min(
        fit, key=lambda one: (cost(one.outcomes, most_alarms), -one.mean("mean_average_precision")), default=None
    )


def without_penalty(trials: Sequence[Trial]) -> Trial | None:
    """Return the baseline: the settings as they were given but without a penalty; None while it is not complete."""
    plain = (one for one in trials if one.as_given and one.settings.loss.penalty == "none")
    return next((one for one in plain if one.state == "complete"), None)


def frontier(trials: Sequence[Trial]) -> tuple[Trial, ...]:
    """Return the complete trials that no other beats in silence without more false alarms, fewest alarms first."""
    complete = [one for one in trials if one.state == "complete"]
    ordered = sorted(complete, key=lambda one: (one.mean("false_alarm_rate"), one.mean("silent_rate")))
    kept: list[Trial] = []
    for one in ordered:
        if not kept or one.mean("silent_rate") < kept[-1].mean("silent_rate"):
            kept.append(one)
    return tuple(kept)
