"""The flowtag command. Only what answers `--help` is imported here; each command imports what it needs."""

import importlib.metadata
import sys
from typing import Annotated

import typer

from features.errors import FlowtagError
from flows.commands import (
    adapt,
    config,
    convert,
    demo,
    evaluate,
    ingest,
    label,
    score,
    split,
    tags,
    thresholds,
    train,
    tune,
    ui,
    warmup,
)
from flows.options import show

EXITS = (
    "Exit codes: 0 done, 1 a bug of flowtag, 2 wrong usage, 3 configuration, 4 input, 5 model, 6 service or disk "
    "(try again), 130 interrupted (start again to go on)."
)
app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=EXITS,
)

app.command("demo", epilog=EXITS)(demo.demo)
app.command("ingest", epilog=EXITS)(ingest.ingest)
app.command("label", epilog=EXITS)(label.label)
app.command("split", epilog=EXITS)(split.split)
app.command("train", epilog=EXITS)(train.train)
app.command("tune", epilog=EXITS)(tune.tune)
app.command("score", epilog=EXITS)(score.score)
app.command("evaluate", epilog=EXITS)(evaluate.evaluate)
app.command("thresholds", epilog=EXITS)(thresholds.thresholds)
app.command("adapt", epilog=EXITS)(adapt.adapt)
app.command("convert", epilog=EXITS)(convert.convert)
app.command("config", epilog=EXITS)(config.show_config)
app.command("tags", epilog=EXITS)(tags.tags)
app.command("warmup", epilog=EXITS)(warmup.warmup)
app.command("ui", epilog=EXITS)(ui.ui)


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
        show(f"flowtag {importlib.metadata.version('flowtag')}")
        raise typer.Exit


if __name__ == "__main__":
    main()
