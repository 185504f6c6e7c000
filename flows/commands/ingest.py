"""The command `ingest`."""
# ruff: noqa: PLC0415, PLR0913, PLR0917 (help answers at once; a command's options are its parameters)

from typing import TYPE_CHECKING

from flows.options import (
    ConfigFile,
    Json,
    KeepState,
    NoContext,
    Overrides,
    PipeName,
    Sources,
    State,
    Unrecorded,
    Verbose,
    print_results,
    settings_of,
    with_flags,
)

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.manifest import StageResult
    from pipeline.settings import Settings


def ingest(
    sources: Sources,
    keep_state: KeepState = False,
    no_context: NoContext = False,
    name: PipeName = None,
    unrecorded: Unrecorded = False,
    state: State = None,
    config: ConfigFile = None,
    overrides: Overrides = None,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Make a feature table of each source.

    Where NAME.rules.csv lies beside a source, a labelled table is made too.
    """
    flags = {"state.keep=true": keep_state, "ingest.context=false": no_context, "ingest.recorded=false": unrecorded}
    settings = settings_of(state, config, with_flags(overrides, flags), verbose)
    from pipeline.received import received
    from pipeline.sources import check, check_apart, check_truth, rules_beside

    with received(sources, settings, name) as named:
        check_apart(named)
        for source in named:
            check(source, settings)
            if truth := rules_beside(source):
                check_truth(truth, settings)
        made = (_recorded if settings.ingest.recorded else _unrecorded)(named, settings)
    print_results(made, as_json)


def _recorded(sources: "list[Path]", settings: "Settings") -> "list[StageResult]":
    from flows.session import recorded

    with recorded(settings):
        from flows import jobs

        return jobs.ingest(sources, settings)


def _unrecorded(sources: "list[Path]", settings: "Settings") -> "list[StageResult]":
    from flows.disk import require_room
    from flows.session import watched
    from pipeline.tables import all_tables

    with watched(settings):
        require_room(settings.state.root)
        return all_tables(sources, settings)
