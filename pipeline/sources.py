"""What a user names: traffic, feature tables, rules; looked at before anything is started."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from features.errors import InputError, LabelError
from features.labels.truth import read_truth
from features.labels.vocabulary import read_vocabulary
from features.table import is_feature_table, open_table
from pipeline.label import label_settings
from pipeline.settings import Settings
from pipeline.traffic import CAPTURE_NAME, look_at, own_name, table_name

DEMO_NAMES = ("demo-train", "demo-valid", "demo-score")
RULES_SUFFIX = ".rules.csv"


@dataclass(frozen=True)
class DemoCaptures:
    """The three captures of the demo, each with its rules beside it."""

    train: Path
    valid: Path
    score: Path


def demo_captures(folder: Path, settings: Settings) -> DemoCaptures:
    """Return the demo's captures in a folder.

    Raises:
        InputError: One is not there, is no capture, or has no rules beside it.
    """
    found = [_named(folder, name) for name in DEMO_NAMES]
    for capture in found:
        check_labelled(capture, settings)
    return DemoCaptures(*found)


def check(source: Path, settings: Settings) -> None:
    """Open what was named, so that a wrong path ends here.

    Raises:
        InputError: It is missing or nothing that is known, a set of several kinds, a table of another schema, or
            called by bytes that no job could be told.
    """
    if not _is_text(source):
        raise InputError(
            "a path that is no UTF-8",
            ascii(str(source)),
            "a name of UTF-8 letters",
            next_step="rename it, or pipe it: flowtag ingest - < FILE",
        )
    if is_feature_table(source):
        open_table(source).close()
    else:
        look_at(source, settings)


def check_apart(sources: Sequence[Path]) -> None:
    """Refuse sources whose tables would be called the same.

    Raises:
        InputError: Two of them are, and are not the same.
    """
    named: dict[str, Path] = {}
    for source in sources:
        other = named.setdefault(table_name(source), source)
        if other != source and not (is_feature_table(source) and is_feature_table(other)):
            raise InputError(
                "two sources whose tables would be called the same",
                f"{other} and {source}",
                "different names",
                table_name(source),
                "rename one of them, or name its folder instead",
            )


def check_truth(truth: Path, settings: Settings) -> None:
    """Read rules or another tool's verdicts, so that a bad one ends here.

    Raises:
        LabelError: A cell cannot be read, or a tag is unknown.
    """
    chosen = label_settings(settings)
    read_truth(truth, read_vocabulary(chosen.vocabulary), chosen)


def check_labelled(source: Path, settings: Settings) -> None:
    """Open a labelled table, or traffic and the rules beside it.

    Raises:
        InputError: As for `check`, or there are no labels and no rules.
    """
    if is_feature_table(source):
        open_table(source, labelled=True).close()
        return
    check(source, settings)
    rules = rules_beside(source)
    if rules is None:
        expected = f"{own_name(source)}{RULES_SUFFIX} beside it"
        raise LabelError("traffic without rules", str(source), expected, next_step="flowtag label TABLE RULES")
    check_truth(rules, settings)


def rules_beside(source: Path) -> Path | None:
    """Return NAME.rules.csv next to traffic NAME.pcap*, NAME.log* and so on, or None where there is none."""
    rules = source.absolute().with_name(own_name(source) + RULES_SUFFIX)
    return rules if rules.is_file() else None


def _is_text(path: Path) -> bool:
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


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
