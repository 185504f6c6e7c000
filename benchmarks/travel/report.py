"""What was measured, as tables."""

from collections.abc import Iterator
from typing import Any

from pipeline.report_text import table

Plain = dict[str, Any]
WAY_TITLES = {
    "plain": "trained without augmentation",
    "augmented": "trained as by default",
    "lifted": "adapted by unlabelled traffic",
    "replayed": "the same, old flows replayed",
    "background": "trained with the other half as background",
}


def as_text(figures: Plain) -> str:
    """Return the figures for a person."""
    return "\n".join([*_captures(figures["captures"]), "", *_logs(figures["logs"])])


def _captures(ways: Plain) -> Iterator[str]:
    first = next(iter(ways.values()))
    kinds = tuple(first["found"])
    yield f"{first['ordinary_captures']} ordinary captures of others, {first['ordinary_flows']:,} flows; named attacks"
    heads = (
        *("", "false alarms", "mean of captures", "captures with any", *(f"{kind} found" for kind in kinds)),
        *("told to be strangers", "guard right", "false alarms where it trusts"),
    )
    yield from table([heads, *(_capture_row(name, one, kinds) for name, one in ways.items())])


def _capture_row(name: str, one: Plain, kinds: tuple[str, ...]) -> tuple[str, ...]:
    found = (f"{one['found'][kind][0]:g} of {one['found'][kind][1]}" for kind in kinds)
    guard = ("{} of {}".format(*one[key]) for key in ("strangers", "told_right", "trusted_false_alarms"))
    shares = ("false_alarm_rate", "mean_false_alarm_rate", "captures_with_false_alarms")
    return (WAY_TITLES[name], *(f"{one[key]:.2%}" for key in shares), *found, *guard)


def _logs(logs: Plain) -> Iterator[str]:
    yield "last 30 % of logs of other networks; silent: of attacks in our own capture, which none was made by"
    heads = ("log", "", "benign flows", "false alarms", "silent", "guard: holds", "on other logs")
    rows = [_log_row(log, way, one) for log, ways in logs.items() for way, one in ways.items()]
    yield from table([heads, *rows], words=(0, 1))


def _log_row(log: str, way: str, one: Plain) -> tuple[str, ...]:
    return (
        log,
        way,
        f"{one['benign_flows']:,}",
        f"{one['false_alarm_rate']:.2%}",
        f"{one['own_silent_rate']:.2%}",
        "yes" if one["holds"] else "no",
        "{} of {}".format(*one["holds_elsewhere"]),
    )
