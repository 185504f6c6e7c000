"""The command `demo`."""
# ruff: noqa: PLC0415 (help answers at once; a command's options are its parameters)

from pathlib import Path
from typing import TYPE_CHECKING

from flows.options import Captures, ConfigFile, Json, Overrides, State, Verbose, print_report, settings_of, show

if TYPE_CHECKING:
    from pipeline.settings import Settings


def demo(
    captures: Captures = Path("captures"),
    state: State = None,
    config: ConfigFile = None,
    overrides: Overrides = None,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Train, choose thresholds and score on three real captures.

    Trains on the first, chooses thresholds on the second, scores the third and compares with the truth.
    """
    settings = settings_of(state, config, overrides, verbose)
    from flows.session import recorded
    from pipeline.sources import demo_captures
    from pipeline.train import modules_needed

    chosen = demo_captures(captures, settings)
    with recorded(settings, modules_needed(settings)):
        from flows import jobs

        written = jobs.demo(chosen, settings)
    print_report(written, as_json)
    if not as_json:
        show(_where_to_look(settings))


def _where_to_look(settings: "Settings") -> str:
    from flows.pages import ADDRESSES

    state = f" --state {settings.state.folder}" if str(settings.state.folder) != ".flowtag" else ""
    lines = [f"  flowtag ui {name}{state}".ljust(40) + f"  {what}" for name, what in ADDRESSES.items()]
    return "\n".join(["", "To look further:", *lines])
