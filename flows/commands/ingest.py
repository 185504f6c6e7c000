"""The command `ingest`."""
# ruff: noqa: PLC0415, PLR0913, PLR0917 (help answers at once; a command's options are its parameters)

from flows.options import (
    ConfigFile,
    Json,
    KeepState,
    NoContext,
    Overrides,
    PipeName,
    Sources,
    State,
    Verbose,
    alone,
    keeping,
    print_results,
    settings_of,
)


def ingest(
    sources: Sources,
    keep_state: KeepState = False,
    no_context: NoContext = False,
    name: PipeName = None,
    state: State = None,
    config: ConfigFile = None,
    overrides: Overrides = None,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Make a feature table of each source.

    Where NAME.rules.csv lies beside a source, a labelled table is made too.
    """
    settings = settings_of(state, config, alone(keeping(overrides, keep_state), no_context), verbose)
    from flows.session import recorded
    from pipeline.received import received
    from pipeline.sources import check, check_apart

    with received(sources, settings, name) as named:
        check_apart(named)
        for source in named:
            check(source, settings)
        with recorded(settings):
            from flows import jobs

            made = jobs.ingest(named, settings)
    print_results(made, as_json)
