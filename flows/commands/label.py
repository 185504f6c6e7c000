"""The command `label`."""
# ruff: noqa: PLC0415, PLR0913, PLR0917 (help answers at once; a command's options are its parameters)

from pathlib import Path
from typing import Annotated

import typer

from flows.options import ConfigFile, Json, Overrides, State, Verbose, print_results, settings_of


def label(
    table: Annotated[Path, typer.Argument(help="A feature table.")],
    rules: Annotated[Path, typer.Argument(help="Who attacked whom and when, as CSV.")],
    state: State = None,
    config: ConfigFile = None,
    overrides: Overrides = None,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Add the tags of the rules to a feature table."""
    settings = settings_of(state, config, overrides, verbose)
    from flows.session import watched
    from pipeline.label import label as label_stage

    with watched():
        labelled = label_stage(table, rules, settings)
    print_results([labelled], as_json)
