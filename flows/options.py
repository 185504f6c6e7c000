"""What the commands share: their options, the settings made of them, and how results are printed."""
# ruff: noqa: PLC0415 (what a command needs is imported when it runs, so that help answers at once)

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from features.errors import StorageError, printable

if TYPE_CHECKING:
    from pipeline.manifest import StageResult
    from pipeline.settings import Settings

State = Annotated[Path | None, typer.Option("--state", metavar="DIR", help="The one folder written to [.flowtag].")]
ConfigFile = Annotated[Path | None, typer.Option("--config", metavar="FILE", help="Settings [./flowtag.toml].")]
Overrides = Annotated[list[str] | None, typer.Option("--set", metavar="SECTION.KEY=VALUE", help="One setting.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Let Prefect, MLflow and TensorFlow talk.")]
Captures = Annotated[Path, typer.Option("--captures", metavar="DIR", help="Folder of the three demo captures.")]
SOURCE = "A capture or flow records, told by content; a folder or quoted pattern of them, taken as one; - for a pipe."
Sources = Annotated[list[Path], typer.Argument(metavar="SOURCE", help=SOURCE)]
TrainOn = Annotated[
    list[Path], typer.Option("--train", metavar="SOURCE", help="Traffic with rules beside it, or labelled table.")
]
ValidOn = Annotated[list[Path], typer.Option("--valid", metavar="SOURCE", help="Another one, to choose thresholds on.")]
BackgroundOf = Annotated[
    list[Path] | None,
    typer.Option("--background", metavar="SOURCE", help="Ordinary traffic of another network, learned as benign."),
]
KeepState = Annotated[
    bool, typer.Option("--keep-state", help="Captures: read what has come since the last run; open flows wait.")
]
NoContext = Annotated[bool, typer.Option("--no-context", help="Leave the columns of neighbours null: faster.")]
Unrecorded = Annotated[
    bool, typer.Option("--unrecorded", help="Leave Prefect out: its start takes longer than a small capture.")
]
PipeName = Annotated[
    str | None, typer.Option("--name", metavar="NAME", help="What standard input and its tables are called [stdin].")
]
ViewName = Annotated[
    str | None,
    typer.Option(
        "--view",
        metavar="NAME",
        help="Columns to learn from: packets, biflow, counters, netflow, own, or auto: all the tables give.",
    ),
]
Rules = Annotated[
    Path | None, typer.Option("--rules", metavar="FILE", help="Truth to compare with [NAME.rules.csv beside it].")
]


def settings_of(state: Path | None, config: Path | None, overrides: list[str] | None, verbose: bool) -> "Settings":
    """Build the settings and quieten what is below; nothing that numba, Keras, MLflow or Prefect need comes before."""
    from flows.environment import prepare
    from pipeline.config import load

    settings = load(config, with_state(state, overrides)).settings
    prepare(settings, verbose)
    return settings


def with_background(settings: "Settings", sources: list[Path] | None) -> "Settings":
    """Return the settings with more sources of background traffic, each once."""
    together = tuple(dict.fromkeys((*settings.background.sources, *(sources or ()))))
    return settings.model_copy(update={"background": settings.background.model_copy(update={"sources": together})})


def with_flags(overrides: list[str] | None, flags: Mapping[str, bool]) -> list[str]:
    """Return the overrides with those settings among them whose flag was given."""
    return [*(overrides or ()), *(setting for setting, given in flags.items() if given)]


def with_state(state: Path | None, overrides: list[str] | None) -> list[str]:
    """Return the overrides with the state folder among them."""
    return [*(overrides or ()), *([f"state.folder={state}"] if state else ())]


def show(text: str) -> None:
    """Print what was asked for; a command whose standard output is closed does its work all the same.

    Raises:
        StorageError: It goes to a file whose disk is full.
    """
    if sys.stdout is None:
        return
    try:
        sys.stdout.write(f"{printable(text)}\n")
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        sys.stdout = None  # or its end would tell of the same once more
        raise StorageError("standard output cannot be written", "", "a disk with room", str(error)) from error


def print_report(written: "StageResult", as_json: bool) -> None:
    """Print a report as text or JSON."""
    show(written.path.with_suffix(".json" if as_json else ".txt").read_text("utf-8").rstrip())


def print_results(results: "list[StageResult]", as_json: bool) -> None:
    """Print what each stage made."""
    if as_json:
        show(json.dumps([result.to_dict() for result in results], indent=1))
        return
    for result in results:
        show(f"{result.path}: {result.rows:,} rows")
