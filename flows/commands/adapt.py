"""The command `adapt`."""
# ruff: noqa: PLC0415, PLR0913, PLR0917 (help answers at once; a command's options are its parameters)

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from features.errors import ModelError
from flows.options import ConfigFile, Json, Overrides, State, Verbose, settings_of, show

LOCAL = "Captures, flow records, feature tables; a folder or quoted pattern of files, taken as one."
LABELLED = "Traffic of this network with rules beside it, or a labelled table: fine-tune on it."
REPLAY = "What the detector was trained on, likewise: fine-tune on the local traffic as benign, with this replayed."


def adapt(
    local: Annotated[list[Path], typer.Argument(metavar="LOCAL_TRAFFIC...", help=LOCAL)],
    budget: Annotated[float | None, typer.Option("--budget", help="Share of its flows that may fire [0.001].")] = None,
    detector: Annotated[str, typer.Option("--detector", metavar="URI", help="Which [the one in use].")] = "",
    labelled: Annotated[list[Path] | None, typer.Option("--labelled", metavar="SOURCE", help=LABELLED)] = None,
    replay: Annotated[list[Path] | None, typer.Option("--replay", metavar="SOURCE", help=REPLAY)] = None,
    use: Annotated[bool, typer.Option("--use", help="Put it in use, if the verdict accepts it.")] = False,
    state: State = None,
    config: ConfigFile = None,
    overrides: Overrides = None,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Adapt a detector to a network by its own traffic.

    Some hours of it, without labels, give a new version; exit 5 if that is not fit for use.
    """
    chosen = [*(overrides or ()), *([f"thresholds.false_alarm_budget={budget}"] if budget is not None else ())]
    settings = settings_of(state, config, chosen, verbose)
    from flows.session import recorded
    from pipeline.adapting.adapted import Sources, as_text
    from pipeline.registered import require_registry
    from pipeline.sources import check, check_apart, check_labelled

    sources = Sources(tuple(local), tuple(labelled or ()), tuple(replay or ()))
    check_apart([*sources.local, *sources.labelled, *sources.replayed])
    for source in sources.local:
        check(source, settings)
    for source in (*sources.labelled, *sources.replayed):
        check_labelled(source, settings)
    require_registry(settings)
    with recorded(settings, ("pipeline.adapting.adapt",)):
        from flows import jobs

        adapted = jobs.adapt(sources, detector, use, settings)
    show(json.dumps(asdict(adapted), indent=1) if as_json else as_text(adapted))
    if not adapted.accepted:
        raise typer.Exit(ModelError.exit_code)
