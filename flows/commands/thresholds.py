"""The command `thresholds`."""
# ruff: noqa: PLC0415, PLR0913, PLR0917 (help answers at once; a command's options are its parameters)

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from features.errors import ModelError
from flows.options import ConfigFile, Json, Overrides, State, Verbose, settings_of, show

if TYPE_CHECKING:
    from pipeline.rechoose import Rechosen


def thresholds(
    budget: Annotated[float | None, typer.Option("--budget", help="Share of benign flows that may fire.")] = None,
    per_hour: Annotated[float | None, typer.Option("--per-hour", help="False alarms per hour of traffic.")] = None,
    unknown: Annotated[
        float | None, typer.Option("--unknown", help="Share that may be reported as unknown beside it; 0: off.")
    ] = None,
    detector: Annotated[str, typer.Option("--detector", metavar="URI", help="Whose [the one in use].")] = "",
    state: State = None,
    config: ConfigFile = None,
    overrides: Overrides = None,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Choose other thresholds without training again.

    The result is a new version in the registry; exit 5 if the verdict refuses it.
    """
    settings = settings_of(state, config, overrides, verbose)
    from flows.session import watched
    from pipeline.registered import Budget, require_registry

    wanted = Budget(budget, per_hour, unknown)
    require_registry(settings)
    with watched(settings):
        from pipeline.rechoose import rechoose

        found = rechoose(wanted, detector, settings)
    show(json.dumps(asdict(found), indent=1) if as_json else _text(found))
    if not found.registered.in_use:
        raise typer.Exit(ModelError.exit_code)


def _text(found: "Rechosen") -> str:
    """Return what a person wants to know, rates with their 95 % intervals."""
    lines = [
        str(found.registered),
        f"thresholds of {found.parent} under a budget of {found.budget:.4%} of benign flows",
    ]
    for title, name in (("silent rate", "silent_rate"), ("false-alarm rate", "false_alarm_rate")):
        sure = found.intervals.get(name)
        within = f" (95 %: {sure[0]:.3%} to {sure[1]:.3%})" if sure else ""
        lines.append(f"validation flows: {title} {getattr(found.evaluation, name):.3%}{within}")
    if found.unknown:
        silent = f"silent rate with it {found.unknown.silent_rate or 0.0:.3%}"  # thresholds need attack flows
        lines.append(f"reported as unknown: {found.unknown.false_alarm_rate:.3%} of the benign flows, {silent}")
    return "\n".join(lines)
