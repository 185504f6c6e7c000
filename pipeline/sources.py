"""What a user names: captures, folders of captures, feature tables, rules; looked at before anything is started."""

from dataclasses import dataclass
from pathlib import Path

from features.errors import InputError, LabelError
from features.labels.rules import read_rules
from features.labels.vocabulary import read_vocabulary
from features.table import open_table
from pipeline.ingest import CAPTURE_NAME, captures_in, table_name

DEMO_NAMES = ("demo-train", "demo-valid", "demo-score")
RULES_SUFFIX = ".rules.csv"
TABLE_SUFFIX = ".parquet"


@dataclass(frozen=True)
class DemoCaptures:
    """The three captures of the demo, each with its rules beside it."""

    train: Path
    valid: Path
    score: Path


def demo_captures(folder: Path) -> DemoCaptures:
    """Return the demo's captures in a folder.

    Raises:
        InputError: One is not there, is no capture, or has no rules beside it.
    """
    found = [_named(folder, name) for name in DEMO_NAMES]
    for capture in found:
        check_labelled(capture)
    return DemoCaptures(*found)


def is_table(source: Path) -> bool:
    """Return True for a feature table, False for a capture or a folder of captures."""
    return source.suffix == TABLE_SUFFIX


def check(source: Path) -> None:
    """Open what was named, so that a wrong path ends here.

    Raises:
        InputError: It is missing, no capture, a folder without captures, no feature table or one of another schema.
    """
    if is_table(source):
        open_table(source).close()
    else:
        captures_in(source)


def check_rules(rules: Path) -> None:
    """Read rules, so that a bad one ends here.

    Raises:
        LabelError: A cell cannot be read, or a tag is unknown.
    """
    read_rules(rules, read_vocabulary())


def check_labelled(source: Path) -> None:
    """Open a labelled table, or a capture and the rules beside it.

    Raises:
        InputError: As for `check`, or there are no labels and no rules.
    """
    if is_table(source):
        open_table(source, labelled=True).close()
        return
    check(source)
    rules = rules_beside(source)
    if rules is None:
        expected = f"{table_name(source)}{RULES_SUFFIX} beside it"
        raise LabelError("a capture without rules", str(source), expected, next_step="flowtag label TABLE RULES")
    check_rules(rules)


def rules_beside(capture: Path) -> Path | None:
    """Return NAME.rules.csv next to a capture NAME.pcap*, or None where there is none."""
    rules = capture.with_name(table_name(capture) + RULES_SUFFIX)
    return rules if rules.is_file() else None


def _named(folder: Path, name: str) -> Path:
    if not folder.is_dir():
        raise InputError(
            "no such folder of demo captures",
            str(folder),
            ", ".join(DEMO_NAMES),
            next_step="run it where the project was cloned, or flowtag demo --captures DIR",
        )
    for path in sorted(folder.iterdir()):
        if table_name(path) == name and CAPTURE_NAME.fullmatch(path.name):
            return path
    raise InputError("a demo capture is missing", str(folder), f"{name}.pcap or {name}.pcap.zst")
