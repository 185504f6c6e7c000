"""The command `label`."""
# ruff: noqa: PLC0415, PLR0913, PLR0917 (help answers at once; a command's options are its parameters)

from pathlib import Path
from typing import Annotated

import typer

from flows.options import ConfigFile, Json, Overrides, State, Verbose, settings_of, show


def label(
    table: Annotated[Path, typer.Argument(metavar="TABLE", help="A feature table.")],
    truth: Annotated[
        Path | None,
        typer.Argument(
            metavar="TRUTH",
            help="Rules (CSV, YAML), Suricata EVE or Zeek notice.log, weird.log [the source's own labels].",
        ),
    ] = None,
    time_zone: Annotated[
        str, typer.Option(metavar="ZONE", help="Zone of times that name none, such as America/Halifax.")
    ] = "",
    clock_offset_s: Annotated[float | None, typer.Option(help="Seconds to add to the truth's times.")] = None,
    allow_unmatched: Annotated[bool, typer.Option("--allow-unmatched", help="Let rules match no flow.")] = False,
    allow_unmapped: Annotated[bool, typer.Option("--allow-unmapped", help="Let words without a meaning be.")] = False,
    merge_equal: Annotated[bool, typer.Option("--merge-equal", help="Unite the tags of equal feature rows.")] = False,
    state: State = None,
    config: ConfigFile = None,
    overrides: Overrides = None,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Add tags to a feature table.

    They come from rules, from another tool's verdicts or from the source's own labels.
    """
    chosen = {
        "time_zone": time_zone or None,
        "clock_offset_s": clock_offset_s,
        "allow_unmatched": allow_unmatched or None,
        "allow_unmapped": allow_unmapped or None,
        "merge_equal": merge_equal or None,
    }
    options = [f"labels.{name}={value}" for name, value in chosen.items() if value is not None]
    settings = settings_of(state, config, [*(overrides or ()), *options], verbose)
    import json

    from flows.session import watched
    from pipeline.label import label as label_stage
    from pipeline.label import report_path
    from pipeline.label_report import report_text

    with watched(settings):
        labelled = label_stage(table, truth, settings)
    report = json.loads(report_path(labelled.path).read_text("utf-8"))
    if as_json:
        show(json.dumps([{**labelled.to_dict(), "report": report}], indent=1))
    else:
        show(f"{report_text(report)}\n\n{labelled.path}: {labelled.rows:,} rows")
