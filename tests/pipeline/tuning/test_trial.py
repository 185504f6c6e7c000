"""What a trial is worth, and which one is chosen."""

import math

from pipeline.settings import LossSection, Settings
from pipeline.tuning.trial import FoldOutcome, Trial, chosen, cost, frontier, without_penalty

LIMIT = 0.003


def outcome(silent: float, alarms: float, precision: float = 0.8) -> FoldOutcome:
    return FoldOutcome(0, 100, 20, silent, alarms, silent, precision, (), 1.0)


def trial(number: int, *outcomes: FoldOutcome, penalty: str = "bounded", state: str = "complete") -> Trial:
    settings = Settings(loss=LossSection(penalty=penalty))  # type: ignore[arg-type]  # one of the literals
    return Trial(number, state, settings, outcomes, as_given=number < 2)


def test_silence_counts_within_the_limit_and_alarms_beyond() -> None:
    """Mean silence 0.2 at mean alarms 0.002 costs 0.2; silence 0 at alarms 0.05 costs 1.05."""
    assert math.isclose(cost([outcome(0.1, 0.001), outcome(0.3, 0.003)], LIMIT), 0.2)
    assert math.isclose(cost([outcome(0.0, 0.05)], LIMIT), 1.05)


def test_the_least_silent_within_the_limit_is_chosen() -> None:
    """Less silence bought with false alarms is not chosen, and neither is what was pruned."""
    trials = [
        trial(0, outcome(0.3, 0.001), penalty="none"),
        trial(1, outcome(0.2, 0.002)),
        trial(2, outcome(0.0, 0.4)),
        trial(3, outcome(0.01, 0.001), state="pruned"),
    ]
    assert chosen(trials, LIMIT) == trials[1]


def test_average_precision_must_not_fall() -> None:
    """A trial whose mean average precision is beneath the baseline's is not chosen, however little silent."""
    trials = [trial(0, outcome(0.3, 0.001, 0.8), penalty="none"), trial(2, outcome(0.1, 0.001, 0.79))]
    assert chosen(trials, LIMIT) == trials[0]
    without = [trial(0, outcome(0.3, 0.001, 0.8), penalty="none", state="failed"), trials[1]]
    assert chosen(without, LIMIT) == trials[1]


def test_where_all_exceed_the_limit_the_least_alarms_are_chosen() -> None:
    """Beyond the limit silence counts for nothing."""
    trials = [trial(2, outcome(0.0, 0.5)), trial(3, outcome(0.4, 0.1))]
    assert chosen(trials, LIMIT) == trials[1]
    assert chosen([], LIMIT) is None


def test_the_baseline_is_as_given() -> None:
    """Another trial without a penalty, with settings of the search, is no baseline."""
    searched = trial(7, outcome(0.1, 0.001), penalty="none")
    given = trial(0, outcome(0.3, 0.001), penalty="none")
    assert without_penalty([searched, given]) == given
    assert without_penalty([searched]) is None


def test_the_frontier_is_what_nobody_beats() -> None:
    """By false alarms 0.001, 0.002, 0.01: silence must fall each time; equal or more is beaten."""
    points = [(0.5, 0.001), (0.5, 0.002), (0.4, 0.002), (0.45, 0.005), (0.1, 0.01)]
    trials = [trial(number, outcome(*point)) for number, point in enumerate(points)]
    assert [one.number for one in frontier(trials)] == [0, 2, 4]


def test_an_outcome_survives_being_stored() -> None:
    """Plain values and back give the same outcome."""
    one = FoldOutcome(2, 9, 4, 0.25, 0.0, 0.5, 0.75, ({"training_loss": 0.5}, {"training_loss": 0.25}), 3.5)
    assert FoldOutcome.from_dict(one.to_dict()) == one
