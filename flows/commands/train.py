"""The command `train`."""
# ruff: noqa: PLC0415, PLR0913, PLR0917 (help answers at once; a command's options are its parameters)

import json
from dataclasses import asdict

import typer

from features.errors import ModelError
from flows.options import (
    BackgroundOf,
    ConfigFile,
    Json,
    Overrides,
    State,
    TrainOn,
    ValidOn,
    Verbose,
    ViewName,
    settings_of,
    show,
    with_background,
)


def train(
    train_on: TrainOn,
    valid_on: ValidOn,
    background: BackgroundOf = None,
    view: ViewName = None,
    state: State = None,
    config: ConfigFile = None,
    overrides: Overrides = None,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Train a detector and put it in use if it is fit.

    It is registered all the same; exit 5 if it is not fit.
    """
    chosen = [*(overrides or ()), *([f"detector.view={view}"] if view else ())]
    settings = with_background(settings_of(state, config, chosen, verbose), background)
    from flows.session import recorded
    from pipeline.sources import check, check_apart, check_labelled
    from pipeline.train import modules_needed

    check_apart([*train_on, *valid_on, *settings.background.sources])
    for source in settings.background.sources:
        check(source, settings)
    for source in (*train_on, *valid_on):
        check_labelled(source, settings)
    with recorded(settings, modules_needed(settings)):
        from flows import jobs

        registered = jobs.train(train_on, valid_on, settings)
    show(json.dumps(asdict(registered), indent=1) if as_json else str(registered))
    if not registered.in_use:
        raise typer.Exit(ModelError.exit_code)
