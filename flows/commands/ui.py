"""The command `ui`."""
# ruff: noqa: PLC0415 (help answers at once; a command's options are its parameters)

from typing import Annotated

import typer

from flows.options import ConfigFile, Overrides, State, settings_of


def ui(
    which: Annotated[str, typer.Argument(metavar="prefect|mlflow")],
    state: State = None,
    config: ConfigFile = None,
    overrides: Overrides = None,
) -> None:
    """Open the pages of Prefect or MLflow.

    Runs, tasks and reports, or trainings and detectors, until Ctrl-C.
    """
    settings = settings_of(state, config, overrides, verbose=True)
    from flows.pages import serve

    serve(which, settings)
