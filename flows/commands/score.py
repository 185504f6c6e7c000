"""The command `score`."""
# ruff: noqa: PLC0415, PLR0913, PLR0917 (help answers at once; a command's options are its parameters)

from pathlib import Path
from typing import Annotated

import typer

from flows.options import ConfigFile, Json, Overrides, Rules, State, Verbose, print_report, settings_of


def score(
    source: Annotated[Path, typer.Argument(help="A capture, a folder of captures, or a feature table.")],
    rules: Rules = None,
    state: State = None,
    config: ConfigFile = None,
    overrides: Overrides = None,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Score traffic with the detector in use, and report what was found."""
    settings = settings_of(state, config, overrides, verbose)
    from flows.session import recorded
    from pipeline.registered import require_registry
    from pipeline.score import modules_needed
    from pipeline.sources import check, check_rules, rules_beside

    check(source)
    truth = rules or rules_beside(source)
    if truth:
        check_rules(truth)
    require_registry(settings)
    with recorded(settings, modules_needed(source, settings)):
        from flows import jobs

        written = jobs.score(source, truth, settings)
    print_report(written, as_json)
