"""Files of labelling rules, CSV or YAML, told apart by content.

CSV: a header with the columns of COLUMNS (`direction` may be left out), a rule a line, lists separated by semicolons;
lines before the header that begin with # may say what OPTIONS names, as `# time_zone: America/Halifax`.
YAML: the options as keys, and `rules`, a list of mappings with the same names as the columns.
"""

import csv
import difflib
import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from features.errors import LabelError
from features.labels.rule_cells import Clock, read_cell
from features.labels.rules import FOREVER, Rule, Truth
from features.labels.settings import DEFAULTS, LabelSettings, zone
from features.labels.speech import named
from features.labels.vocabulary import Vocabulary
from features.labels.yaml_file import read_yaml

REQUIRED = ("name", "tags", "start", "end", "protocol", "src_ip", "src_port", "dst_ip", "dst_port")
COLUMNS = (*REQUIRED, "direction")
OPTIONS = ("clock_offset_s", "time_zone", "allow_unmatched", "speaks_of")
CSV_WORDS = f"a CSV file with {','.join(REQUIRED)}"
YAML_WORDS = f"YAML with a part `rules`, a list of mappings with {', '.join(COLUMNS)}"
Row = tuple[int, dict[str, str]]


@dataclass(frozen=True)
class _Content:
    """A file taken apart: its options and its rows, each with its line."""

    rows: Iterable[Row]
    options: Mapping[str, str] = field(default_factory=dict)


def read_rules(path: Path, vocabulary: Vocabulary, settings: LabelSettings = DEFAULTS) -> Truth:
    """Return the rules of a CSV or YAML file, in order; what the settings say of its clock wins over what it says.

    Raises:
        LabelError: A column is missing, a cell cannot be read, or a tag is not in the vocabulary; with line number.
        ConfigError: The time zone is unknown.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            start = _first_words(file)
            file.seek(0)
            content = _yaml(path) if _is_yaml(start) else _csv(file, path)
            clock = _clock(content.options, settings, path)
            rules = tuple(_rule(row, clock, f"{path}, line {row[0]}", vocabulary) for row in content.rows)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise LabelError("The rules cannot be read", str(path), CSV_WORDS, str(error)) from error
    spoken = named(content.options.get("speaks_of", ""), vocabulary, str(path))
    return Truth("rules", rules, _flag(content.options, path), speaks_of=spoken)


def _first_words(lines: Iterable[str]) -> str:
    return next((line.strip() for line in lines if line.strip() and not line.startswith("#")), "")


def _is_yaml(line: str) -> bool:
    return line == "---" or line.partition(":")[0] in {"rules", *OPTIONS}


def _csv(file: Iterator[str], path: Path) -> _Content:
    options: dict[str, str] = {}
    skipped = 0
    for line in file:
        if line.strip() and not line.startswith("#"):
            break
        skipped += 1
        options |= _option(line, f"{path}, line {skipped}")
    else:
        line = ""
    reader = csv.DictReader(itertools.chain([line], file), strict=True)
    missing = [name for name in REQUIRED if name not in (reader.fieldnames or ())]
    if missing:
        raise LabelError("The rules lack columns", str(path), ",".join(REQUIRED), f"no {', '.join(missing)}")
    _refuse_unknown(reader.fieldnames or (), COLUMNS, "column", str(path))
    return _Content(_csv_rows(reader, skipped, path), options)


def _csv_rows(reader: "csv.DictReader[str]", skipped: int, path: Path) -> Iterator[Row]:
    for row in reader:
        line = reader.line_num + skipped
        if None in row:
            raise LabelError("A rule has too many cells", f"{path}, line {line}", f"{len(reader.fieldnames or ())}")
        yield line, {name: (row.get(name) or "").strip() for name in COLUMNS}


def _option(line: str, where: str) -> dict[str, str]:
    """Return what a comment says of the file, nothing for other comments; a misspelt option is no comment."""
    name, colon, value = (part.strip() for part in line.lstrip("#").partition(":"))
    if not colon or len(name.split()) != 1:
        return {}
    if name not in OPTIONS:
        if near := difflib.get_close_matches(name, OPTIONS, 1, 0.75):
            raise LabelError(f"Unknown option {name!r} of the rules", where, f"did you mean {near[0]!r}?")
        return {}
    return {name: value}


def _yaml(path: Path) -> _Content:
    content = read_yaml(path, "The rules cannot be read", YAML_WORDS)
    listed = content.get("rules") if isinstance(content, dict) else None
    if not isinstance(listed, list):
        raise LabelError("The rules cannot be read", str(path), YAML_WORDS, "no such list")
    _refuse_unknown(content, ("rules", *OPTIONS), "key", str(path))
    return _Content(_yaml_rows(listed, path), {name: _text(content[name]) for name in OPTIONS if name in content})


def _yaml_rows(listed: list[Any], path: Path) -> Iterator[Row]:
    for number, entry in enumerate(listed, 1):
        where = f"{path}, rule {number}"
        if not isinstance(entry, dict):
            raise LabelError("A rule is no mapping", where, ", ".join(COLUMNS), repr(entry)[:80])
        _refuse_unknown(entry, COLUMNS, "key", where)
        yield number, {name: _text(entry.get(name)) for name in COLUMNS}


def _text(value: object) -> str:
    """Return a YAML value as the text of a CSV cell."""
    if value is None:
        return ""
    if isinstance(value, list):
        return ";".join(map(_text, value))
    return value.isoformat(" ") if isinstance(value, datetime) else str(value).strip()


def _refuse_unknown(names: Iterable[object], known: Iterable[str], word: str, where: str) -> None:
    known = tuple(known)
    for name in names:
        if name not in known:
            nearest = difflib.get_close_matches(str(name), known, 1, 0)[0]
            raise LabelError(f"Unknown {word} {str(name)!r} in the rules", where, f"did you mean {nearest!r}?")


def _clock(options: Mapping[str, str], settings: LabelSettings, path: Path) -> Clock:
    named = settings.time_zone or options.get("time_zone", "")
    offset = settings.clock_offset_s
    if offset is None:
        offset = _seconds(options.get("clock_offset_s") or "0", path)
    return Clock(zone(named, str(path)) if named else None, round(offset * 1_000_000_000))


def _seconds(text: str, path: Path) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = float("nan")
    if not abs(seconds) <= 1e9:
        raise LabelError("The rules have a bad clock_offset_s", str(path), "seconds, such as -10800", repr(text))
    return seconds


def _flag(options: Mapping[str, str], path: Path) -> bool:
    text = options.get("allow_unmatched", "false").lower()
    if text not in {"true", "false"}:
        raise LabelError("The rules have a bad allow_unmatched", str(path), "true or false", repr(text))
    return text == "true"


def _rule(row: Row, clock: Clock, where: str, vocabulary: Vocabulary) -> Rule:
    line, cells = row
    tags = tuple(filter(None, (tag.strip() for tag in cells["tags"].split(";"))))
    if not tags:
        raise LabelError("A rule without tags", where, "one tag or several, separated by semicolons")
    values = {name: read_cell(name, cells[name], clock, where) for name in COLUMNS[2:] if cells[name]}
    start, end = values.pop("start", FOREVER[0]), values.pop("end", FOREVER[1])
    if start > end:
        raise LabelError("A rule ends before it starts", where, "start <= end", f"{cells['start']} to {cells['end']}")
    both_ways = values.pop("direction", True)
    return Rule(cells["name"], vocabulary.implied(tags, where), line, start, end, both_ways=both_ways, **values)
