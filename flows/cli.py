"""The flowtag command. Only what answers `--help` is imported here; each command imports what it needs."""
# ruff: noqa: PLC0415, PLR0913 (late imports keep help under a second; a command's options are its parameters)

import importlib.metadata
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from features.errors import FlowtagError

EXITS = (
    "Exit codes: 0 done, 1 a bug of flowtag, 2 wrong usage, 3 configuration, 4 input, 5 model, 6 service (try again), "
    "130 interrupted (start again to go on)."
)
app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=EXITS,
    help="Finds attacks in network traffic and says which.",
)

State = Annotated[Path | None, typer.Option("--state", metavar="DIR", help="The one folder written to [.flowtag].")]
ConfigFile = Annotated[Path | None, typer.Option("--config", metavar="FILE", help="Settings [./flowtag.toml].")]
Overrides = Annotated[list[str], typer.Option("--set", metavar="SECTION.KEY=VALUE", help="A setting, repeatable.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Let Prefect, MLflow and TensorFlow talk.")]
Captures = Annotated[Path, typer.Option("--captures", metavar="DIR", help="Folder of the three demo captures.")]
