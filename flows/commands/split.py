"""The command `split`."""
# ruff: noqa: PLC0415, PLR0913, PLR0917 (help answers at once; a command's options are its parameters)

import json
from pathlib import Path
from typing import Annotated

import typer

from flows.options import ConfigFile, Json, Overrides, State, Verbose, settings_of, show


def split(
    tables: Annotated[list[Path], typer.Argument(metavar="TABLE", help="Labelled tables.")],
    by: Annotated[str, typer.Option(help="What stays together: capture, time, host, or row.")] = "capture",
    shares: Annotated[str, typer.Option(help="Per cent of train, valid and test.")] = "60,20,20",
    gap_s: Annotated[float, typer.Option(help="By time: seconds left out behind a cut.")] = 60.0,
    seed: Annotated[int, typer.Option(help="Of the order among equals.")] = 1,
    state: State = None,
    config: ConfigFile = None,
    overrides: Overrides = None,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Split labelled tables into train, valid and test.

    Reports what leaks from one into another.
    """
    settings = settings_of(state, config, overrides, verbose)
    from flows.session import watched
    from pipeline.split import SplitChoice, parsed_shares, report_of, report_text
    from pipeline.split import split as split_stage

    choice = SplitChoice(by, parsed_shares(shares), gap_s, seed)
    with watched(settings):
        made = split_stage(tables, choice, settings)
    report = report_of(made.path)
    show(
        json.dumps({**made.to_dict(), "report": report}, indent=1)
        if as_json
        else f"{report_text(report)}\n\n{made.path}"
    )
