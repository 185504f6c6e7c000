"""The command `score`."""
# ruff: noqa: PLC0415, PLR0913, PLR0917 (help answers at once; a command's options are its parameters)

from pathlib import Path
from typing import Annotated

import typer

from flows.options import (
    SOURCE,
    ConfigFile,
    Json,
    KeepState,
    Overrides,
    PipeName,
    Rules,
    State,
    Verbose,
    print_report,
    settings_of,
    with_flags,
)


def score(
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help=f"{SOURCE} Or a feature table.")],
    rules: Rules = None,
    keep_state: KeepState = False,
    name: PipeName = None,
    state: State = None,
    config: ConfigFile = None,
    overrides: Overrides = None,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Score traffic with the detector in use.

    Reports what was found, and how good it was where rules tell the truth.
    """
    settings = settings_of(state, config, with_flags(overrides, {"state.keep=true": keep_state}), verbose)
    from flows.session import recorded
    from pipeline.received import received
    from pipeline.registered import require_registry
    from pipeline.score import modules_needed
    from pipeline.sources import check, check_truth, rules_beside

    with received([source], settings, name) as (named,):
        check(named, settings)
        truth = rules or rules_beside(named)
        if truth:
            check_truth(truth, settings)
        require_registry(settings)
        with recorded(settings, modules_needed(named, settings)):
            from flows import jobs

            written = jobs.score(named, truth, settings)
    print_report(written, as_json)
