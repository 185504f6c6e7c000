"""The flowtag command. Only what answers `--help` is imported here; each command imports what it needs."""
# ruff: noqa: PLC0415, PLR0913, PLR0917 (late imports keep help under a second; a command's options are its parameters)

import importlib.metadata
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from features.errors import FlowtagError, ModelError

if TYPE_CHECKING:
    from pipeline.manifest import StageResult
    from pipeline.settings import Settings

EXITS = (
    "Exit codes: 0 done, 1 a bug of flowtag, 2 wrong usage, 3 configuration, 4 input, 5 model, 6 service (try again), "
    "130 interrupted (start again to go on)."
)
app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=EXITS,
)

State = Annotated[Path | None, typer.Option("--state", metavar="DIR", help="The one folder written to [.flowtag].")]
ConfigFile = Annotated[Path | None, typer.Option("--config", metavar="FILE", help="Settings [./flowtag.toml].")]
Overrides = Annotated[list[str] | None, typer.Option("--set", metavar="SECTION.KEY=VALUE", help="One setting.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Let Prefect, MLflow and TensorFlow talk.")]
Captures = Annotated[Path, typer.Option("--captures", metavar="DIR", help="Folder of the three demo captures.")]
Sources = Annotated[list[Path], typer.Argument(metavar="CAPTURE...", help="Captures, or folders of captures.")]
TrainOn = Annotated[list[Path], typer.Option("--train", help="Capture with rules beside it, or labelled table.")]
ValidOn = Annotated[list[Path], typer.Option("--valid", help="Another one, to choose thresholds on.")]
Rules = Annotated[Path | None, typer.Option("--rules", help="Truth to compare with [NAME.rules.csv beside it].")]


def main() -> None:
    """Run the command; an error of ours is one clear block and its exit code, never a traceback."""
    try:
        app(prog_name="flowtag")
    except FlowtagError as error:
        sys.stderr.write(f"Error: {error}\n")
        sys.exit(error.exit_code)


@app.callback(invoke_without_command=True)
def flowtag(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    """Finds attacks in network traffic and says which."""
    if version:
        _print(f"flowtag {importlib.metadata.version('flowtag')}")
        raise typer.Exit


@app.command(epilog=EXITS)
def demo(
    captures: Captures = Path("captures"),
    state: State = None,
    config: ConfigFile = None,
    overrides: Overrides = None,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Train on one capture, choose thresholds on a second, score a third and compare with the truth."""
    settings = _settings(state, config, overrides, verbose)
    from flows.session import recorded
    from pipeline.sources import demo_captures
    from pipeline.train import modules_needed

    chosen = demo_captures(captures)
    with recorded(settings, modules_needed(settings)):
        from flows import jobs

        written = jobs.demo(chosen, settings)
    _print_report(written, as_json)
    if not as_json:
        _print(_where_to_look(settings))


@app.command(epilog=EXITS)
def ingest(
    sources: Sources,
    state: State = None,
    config: ConfigFile = None,
    overrides: Overrides = None,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Make a feature table of each capture, and a labelled one where NAME.rules.csv lies beside it."""
    settings = _settings(state, config, overrides, verbose)
    from flows.session import recorded
    from pipeline.sources import check

    for source in sources:
        check(source)
    with recorded(settings):
        from flows import jobs

        made = jobs.ingest(sources, settings)
    _print_results(made, as_json)


@app.command(epilog=EXITS)
def label(
    table: Annotated[Path, typer.Argument(help="A feature table.")],
    rules: Annotated[Path, typer.Argument(help="Who attacked whom and when, as CSV.")],
    state: State = None,
    config: ConfigFile = None,
    overrides: Overrides = None,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Add the tags of the rules to a feature table."""
    settings = _settings(state, config, overrides, verbose)
    from flows.session import watched
    from pipeline.label import label as label_stage

    with watched():
        labelled = label_stage(table, rules, settings)
    _print_results([labelled], as_json)


@app.command(epilog=EXITS)
def train(
    train_on: TrainOn,
    valid_on: ValidOn,
    state: State = None,
    config: ConfigFile = None,
    overrides: Overrides = None,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Train a detector, register it, and put it in use if it is fit for it; exit 5 if it is not."""
    settings = _settings(state, config, overrides, verbose)
    from flows.session import recorded
    from pipeline.sources import check_labelled
    from pipeline.train import modules_needed

    for source in (*train_on, *valid_on):
        check_labelled(source)
    with recorded(settings, modules_needed(settings)):
        from flows import jobs

        registered = jobs.train(train_on, valid_on, settings)
    _print(json.dumps(asdict(registered), indent=1) if as_json else str(registered))
    if not registered.in_use:
        raise typer.Exit(ModelError.exit_code)


@app.command(epilog=EXITS)
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
    settings = _settings(state, config, overrides, verbose)
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
    _print_report(written, as_json)


@app.command("config", epilog=EXITS)
def show_config(
    state: State = None, config: ConfigFile = None, overrides: Overrides = None, as_json: Json = False
) -> None:
    """Print every setting, its value, and where the value came from."""
    from pipeline.config import load
    from pipeline.report_text import table

    rows = load(config, _with_state(state, overrides)).rows()
    if as_json:
        _print(json.dumps([asdict(row) for row in rows], indent=1))
        return
    heads = ("setting", "value", "from", "meaning")
    cells = [(row.key, f"{row.value} {row.unit}".strip() or '""', row.origin, row.meaning) for row in rows]
    _print("\n".join(table([heads, *cells], words=range(4))))


@app.command(epilog=EXITS)
def tags(as_json: Json = False) -> None:
    """Print the tags there are."""
    from features.vocabulary import read_vocabulary
    from pipeline.report_text import table

    known = read_vocabulary().tags
    if as_json:
        _print(json.dumps([asdict(tag) for tag in known], indent=1))
        return
    _print("\n".join(table([(tag.name, tag.kind, tag.description) for tag in known], words=range(3))))


@app.command(epilog=EXITS)
def warmup(state: State = None, config: ConfigFile = None, overrides: Overrides = None) -> None:
    """Compile the kernels ahead, so that the first capture does not wait for it."""
    _settings(state, config, overrides, verbose=False)
    from pipeline.warmup import compile_kernels

    compile_kernels()
    _print("The kernels are compiled.")


@app.command(epilog=EXITS)
def ui(
    which: Annotated[str, typer.Argument(metavar="prefect|mlflow")],
    state: State = None,
    config: ConfigFile = None,
    overrides: Overrides = None,
) -> None:
    """Open the pages of Prefect (runs, tasks, reports) or MLflow (trainings, detectors) until Ctrl-C."""
    settings = _settings(state, config, overrides, verbose=True)
    from flows.pages import serve

    serve(which, settings)


def _settings(state: Path | None, config: Path | None, overrides: list[str] | None, verbose: bool) -> "Settings":
    """Build the settings and quieten what is below; nothing that numba, Keras, MLflow or Prefect need comes before."""
    from flows.environment import prepare
    from pipeline.config import load

    settings = load(config, _with_state(state, overrides)).settings
    prepare(settings, verbose)
    return settings


def _with_state(state: Path | None, overrides: list[str] | None) -> list[str]:
    return [*(overrides or ()), *([f"state.folder={state}"] if state else ())]


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def _print_report(written: "StageResult", as_json: bool) -> None:
    _print(written.path.with_suffix(".json" if as_json else ".txt").read_text("utf-8").rstrip())


def _print_results(results: "list[StageResult]", as_json: bool) -> None:
    if as_json:
        _print(json.dumps([result.to_dict() for result in results], indent=1))
        return
    for result in results:
        _print(f"{result.path}: {result.rows:,} rows")


def _where_to_look(settings: "Settings") -> str:
    from flows.pages import ADDRESSES

    state = f" --state {settings.state.folder}" if str(settings.state.folder) != ".flowtag" else ""
    lines = [f"  flowtag ui {name}{state}".ljust(40) + f"  {what}" for name, what in ADDRESSES.items()]
    return "\n".join(["", "To look further:", *lines])


if __name__ == "__main__":
    main()
