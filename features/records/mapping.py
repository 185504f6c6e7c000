"""Mapping files: an adapter for a source of your own, as YAML.

name: firewall
delimiter: ";"              # for text that is not separated by commas; CSV only
nulls: ["n/a"]              # texts that stand for no value, beside the empty one
header: [time, client, ...] # the columns of a file without a header
keep: {event: [end, reset]} # rows whose column says one of these are flows, the others are not
columns:
  start: {column: time, unit: ms}
  src_ip: client
  fwd_bytes: {column: sent, unit: KiB}
  bwd_packets: {column: total, minus: sent_packets}
  end_reason: {column: why, words: {timeout: idle}}
"""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import yaml

from features.errors import ConfigError
from features.records.adapter import Adapter, Given, every_row
from features.records.cells import Mask

UNITS = {
    "s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9, "min": 60.0, "h": 3600.0,
    "B": 1.0, "kB": 1e3, "KiB": 1024.0, "MB": 1e6, "MiB": 1024.0**2, "bit": 0.125,
}  # fmt: skip
KEYS = ("name", "columns", "nulls", "delimiter", "header", "keep")
NO_DELIMITERS = tuple('"\n\r')
COLUMN_KEYS = ("column", "unit", "minus", "unset", "month_first", "words")


@dataclass(frozen=True)
class Mapped:
    """A mapping file: its adapter, and the delimiter of its text."""

    adapter: Adapter
    delimiter: str


def read_mapping(path: Path) -> Mapped:
    """Read a mapping file.

    Raises:
        ConfigError: It cannot be read, has an unknown key, target or unit (the nearest is named), or maps nothing.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(
            "The mapping file cannot be read", str(path), "YAML with a part `columns`", str(error)
        ) from error
    if not isinstance(content, dict) or not isinstance(content.get("columns"), dict) or not content["columns"]:
        raise ConfigError("The mapping file maps nothing", str(path), "a part `columns`: target to source column")
    _check_keys(content, KEYS, str(path))
    given = tuple(_given(str(target), entry, f"{path}, {target}") for target, entry in content["columns"].items())
    kept = _kept(content.get("keep", {}), str(path))
    header = _names(content.get("header", []))
    adapter = Adapter(
        name=str(content.get("name", path.stem)),
        needs=(*(entry.columns for entry in given), *((name,) for name in kept)),
        given=given,
        raw=tuple(kept),
        keep=partial(_says_so, kept),
        without_header=(header,) if header else (),
        nulls=tuple(str(text) for text in content.get("nulls", ("-", "NaN", "nan", "null"))),
    )
    return Mapped(adapter, _delimiter(content, str(path)))


def _delimiter(content: dict[str, Any], where: str) -> str:
    delimiter = str(content.get("delimiter", ""))
    if len(delimiter) > 1 or not delimiter.isascii() or delimiter in NO_DELIMITERS:
        raise ConfigError("No such delimiter", where, "one ASCII character", repr(delimiter))
    return delimiter


def _given(target: str, entry: str | dict[str, Any], where: str) -> Given:
    settings = entry if isinstance(entry, dict) else {"column": str(entry)}
    _check_keys(settings, COLUMN_KEYS, where)
    if "column" not in settings:
        raise ConfigError("A mapped column has no source", where, "column: NAME")
    unit = str(settings.get("unit", ""))
    if unit and unit not in UNITS:
        raise ConfigError("No such unit", where, ", ".join(UNITS), unit)
    try:
        return Given(
            target,
            _names(settings["column"]),
            UNITS.get(unit, 1.0),
            _names(settings.get("minus", [])),
            unset=tuple(float(value) for value in settings.get("unset", ())),
            month_first=bool(settings.get("month_first", False)),
            words=_words(settings.get("words", {}), where),
        )
    except ConfigError as error:
        raise ConfigError(error.what, where, error.expected, error.received) from error


def _kept(kept: object, where: str) -> dict[str, pa.Array]:
    """Return by column the texts of rows that are flows."""
    if not isinstance(kept, dict):
        raise ConfigError("What to keep is not said by column", where, "keep: {COLUMN: [TEXT, ...]}", str(kept))
    return {str(column): pa.array(_names(texts)) for column, texts in kept.items()}


def _says_so(kept: Mapping[str, pa.Array], raw: Mapping[str, pa.Array]) -> Mask:
    """Return True for rows all of whose columns say what is kept."""
    flows = every_row(raw)
    for column, texts in kept.items():
        flows &= pc.is_in(raw[column].cast(pa.string()), texts).to_numpy(zero_copy_only=False)
    return flows


def _words(words: object, where: str) -> tuple[tuple[str, str], ...]:
    if not isinstance(words, dict):
        raise ConfigError("Words are not given in pairs", where, "words: {THEIRS: OURS}", str(words))
    return tuple((str(theirs), str(ours)) for theirs, ours in words.items())


def _names(named: object) -> tuple[str, ...]:
    """Return one column's name, or those of a list: the first that has a value counts."""
    return tuple(map(str, named)) if isinstance(named, list) else (str(named),)


def _check_keys(found: Mapping[str, object], known: Iterable[str], where: str) -> None:
    for key in found:
        if key not in known:
            near = difflib.get_close_matches(str(key), list(known), 1)
            expected = f"nearest: {near[0]}" if near else ", ".join(known)
            raise ConfigError("An unknown key in the mapping file", where, expected, str(key))
