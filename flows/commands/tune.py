"""The command `tune`."""
# ruff: noqa: PLC0415, PLR0913, PLR0917 (help answers at once; a command's options are its parameters)

import json
from pathlib import Path
from typing import Annotated

import typer

from features.errors import ModelError
from flows.options import BackgroundOf, ConfigFile, Json, Overrides, State, Verbose, settings_of, show, with_background

SOURCES = "Traffic with rules beside it, or labelled tables; three captures or more, or long ones."


def tune(
    sources: Annotated[list[Path], typer.Argument(metavar="SOURCE...", help=SOURCES)],
    trials: Annotated[int, typer.Option(help="Trials in all, those of earlier calls among them.")] = 30,
    workers: Annotated[int, typer.Option(help="Processes that train side by side.")] = 1,
    folds: Annotated[int, typer.Option(help="Folds, at most; 3 or more.")] = 5,
    by: Annotated[str, typer.Option(help="What stays together: capture, time, or auto.")] = "auto",
    gap_s: Annotated[float, typer.Option(help="By time: seconds left out between blocks.")] = 60.0,
    search: Annotated[list[str] | None, typer.Option(metavar="KEY", help="A setting to search [six of them].")] = None,
    background: BackgroundOf = None,
    study: Annotated[Path | None, typer.Option(metavar="DIR", help="Its folder [below the state folder].")] = None,
    state: State = None,
    config: ConfigFile = None,
    overrides: Overrides = None,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Search lambda, loss, network and view by cross-validation; exit 5 if no trial keeps the budget elsewhere.

    The same command goes on where it was broken off, or with more --trials. The best settings are written as a file for
    `flowtag train --config`.
    """
    settings = with_background(settings_of(state, config, overrides, verbose), background)
    from flows.session import recorded
    from pipeline.sources import check, check_apart, check_labelled
    from pipeline.tuning.choice import FoldChoice, TuneChoice
    from pipeline.tuning.space import SEARCHED

    choice = TuneChoice(trials, workers, FoldChoice(folds, by, gap_s), tuple(search or SEARCHED), study)
    check_apart([*sources, *settings.background.sources])
    for source in settings.background.sources:
        check(source, settings)
    for source in sources:
        check_labelled(source, settings)
    with recorded(settings, ("pipeline.tuning.tune",)):
        from flows import jobs

        tuned = jobs.tune(sources, choice, settings)
    from pipeline.tuning.tune import BEST, TEXT, found_in

    found = found_in(tuned.path)
    best = tuned.path / BEST
    told = f"{(tuned.path / TEXT).read_text('utf-8')}\nflowtag train --config {best} --train SOURCE --valid SOURCE"
    show(json.dumps({**tuned.to_dict(), "best": str(best), **found}, indent=1) if as_json else told)
    if not found["within_budget"]:
        raise typer.Exit(ModelError.exit_code)
