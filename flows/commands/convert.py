"""The command `convert`."""
# ruff: noqa: PLC0415, PLR0913, PLR0917 (help answers at once; a command's options are its parameters)

from pathlib import Path
from typing import Annotated

import typer

from flows.options import ConfigFile, Json, Overrides, State, Verbose, print_results, settings_of


def convert(
    source: Annotated[
        Path, typer.Argument(metavar="SOURCE", help="A feature table, or traffic that is ingested first.")
    ],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="The file to write.")],
    dialect: Annotated[str, typer.Option("--to", metavar="DIALECT", help="cicflowmeter, nfstream, zeek or zeek-json.")],
    state: State = None,
    config: ConfigFile = None,
    overrides: Overrides = None,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Write flows in the columns and units of another tool."""
    settings = settings_of(state, config, overrides, verbose)
    from flows.session import watched
    from pipeline.convert import convert as convert_stage
    from pipeline.received import received

    with watched(settings), received([source], settings) as (named,):
        written = convert_stage(named, dialect, target, settings)
    print_results([written], as_json)
