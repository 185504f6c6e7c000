"""The command `evaluate`."""
# ruff: noqa: PLC0415 (help answers at once; a command's options are its parameters)

from pathlib import Path
from typing import Annotated

import typer

from flows.options import ConfigFile, Json, Overrides, State, Verbose, settings_of, show


def evaluate(
    source: Annotated[
        Path, typer.Argument(metavar="SOURCE", help="Traffic with rules beside it, or a labelled table.")
    ],
    state: State = None,
    config: ConfigFile = None,
    overrides: Overrides = None,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Say how good the detector is where the truth is known.

    Rates, tags and budgets, with their intervals, of the detector in use.
    """
    settings = settings_of(state, config, overrides, verbose)
    from flows.session import recorded
    from pipeline.examine import EXAMINED, TEXT
    from pipeline.registered import require_registry
    from pipeline.sources import check_labelled

    check_labelled(source, settings)
    require_registry(settings)
    with recorded(settings, ("pipeline.register",)):
        from flows import jobs

        examined = jobs.evaluate(source, settings)
    show((examined.path / (EXAMINED if as_json else TEXT)).read_text("utf-8").rstrip())
