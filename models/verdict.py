"""Whether a challenger may become champion: neither silent nor flooding."""

from dataclasses import dataclass

from features.errors import ConfigError
from models.metrics import Evaluation


@dataclass(frozen=True)
class VerdictLimits:
    """What a detector must keep on the flows it is judged by.

    Attributes:
        silent_rate: At most this share of attack flows without a fired tag, in [0, 1].
        false_alarm_budget: What thresholds were chosen for, in [0, 1).
        budget_factor: How many times the budget false alarms may reach, 1 or more.

    Raises:
        ConfigError: A value is out of range.
    """

    silent_rate: float = 0.05
    false_alarm_budget: float = 0.001
    budget_factor: float = 3.0

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        if not (0 <= self.silent_rate <= 1 and 0 <= self.false_alarm_budget < 1 and self.budget_factor >= 1):
            raise ConfigError("not a limit", "verdict", "shares, and a factor of 1 or more", repr(self))


@dataclass(frozen=True)
class Verdict:
    """Accepted or not, and why, one sentence a limit."""

    accepted: bool
    reasons: tuple[str, ...]


def judge(evaluation: Evaluation, limits: VerdictLimits | None = None) -> Verdict:
    """Return the verdict on a detector from its figures; what was not measured is not accepted.

    Args:
        evaluation: On flows with attacks and benign ones, the detector's own thresholds applied.
        limits: What it must keep.
    """
    limits = limits or VerdictLimits()
    most_alarms = limits.false_alarm_budget * limits.budget_factor
    checks = (
        _check("silent rate", evaluation.silent_rate, limits.silent_rate, "attack"),
        _check("false-alarm rate", evaluation.false_alarm_rate, most_alarms, "benign"),
    )
    return Verdict(all(kept for kept, _ in checks), tuple(reason for _, reason in checks))


def _check(figure: str, value: float | None, limit: float, flows: str) -> tuple[bool, str]:
    if value is None:
        return False, f"{figure} is unknown: there were no {flows} flows to measure it on"
    kept = value <= limit
    return kept, f"{figure} {value:.4%} is {'within' if kept else 'above'} its limit {limit:.4%}"
