"""Which tool wrote a record file: told by its content, never by its name."""

import csv
import re
from itertools import product
from pathlib import Path

import pyarrow as pa

from features.captures.formats import MAGICS as CAPTURE_MAGICS
from features.captures.formats import PCAPNG_MAGIC
from features.errors import RecordError
from features.records.adapter import Adapter
from features.records.byte_stream import read_sample
from features.records.cells import addresses
from features.records.exports.datagrams import carries_exports, exported_names
from features.records.exports.decoding import EXPORT_COLUMNS
from features.records.json_array import complete_objects
from features.records.json_layout import is_object, json_layout
from features.records.layout import EXPORT, JSON_ARRAY, PARQUET, SEPARATED, Layout
from features.records.mapping import read_mapping
from features.records.parquet_reading import column_names
from features.records.settings import DEFAULTS, RecordSettings
from features.records.sources.exports import EXPORTS
from features.records.sources.known import ADAPTERS
from features.records.spelling import told_by

DELIMITERS = ("\t", ",", ";", "|", "^", " ")
BOM = "\ufeff"
JSON_BEGINS = ("{", "[")
HEADER_WITHIN, SEEN_LINES = 10, 100
DECIMAL_COMMA, DECIMAL_POINT = re.compile(r"[+-]?\d+,\d+"), re.compile(r"[+-]?\d+\.\d+")
UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
ARRAY_WITHIN = re.compile(r'\s*\{[^\[]*"(\w+)"\s*:\s*\[\s*(?:\{|$)')
OBJECT_BEHIND = re.compile(r'[^{"]*\S\s\{".*\}\s*$')
"""A line of syslog: what a program says behind time, host and its name."""
ZIP_MAGIC, TAR_MAGIC, TAR_MAGIC_AT = b"PK\x03\x04", b"ustar", 257
WORKBOOK, SEEN_BYTES_OF_ZIP = b"[Content_Types].xml", 4096
NFCAPD_MAGICS = (b"\x0c\xa5", b"\xa5\x0c")
LISTINGS = {
    "Date first seen": ("A listing of nfdump for people", "nfdump's CSV", "nfdump -r FILE -q -o csv"),
    "Date flow start": ("A listing of nfdump for people", "nfdump's CSV", "nfdump -r FILE -q -o csv"),
    "StartTime": ("A listing of ra for people", "cells with commas between them", "ra -u -c , -r FILE"),
}
"""How the first line of tables made of blanks begins, and what to ask the tool for instead."""


def detect(path: Path, settings: RecordSettings = DEFAULTS) -> Layout:
    """Return how a record file is written; its `adapter` says by what tool.

    Raises:
        RecordError: The file is missing, empty, damaged, or of no kind known here.
        ConfigError: The mapping file of the settings is wrong.
    """
    mapped = read_mapping(settings.mapping) if settings.mapping else None
    adapters = (mapped.adapter,) if mapped else ADAPTERS
    return layout_of(path, adapters, (mapped.delimiter,) if mapped and mapped.delimiter else DELIMITERS)


def layout_of(path: Path, adapters: tuple[Adapter, ...], delimiters: tuple[str, ...] = DELIMITERS) -> Layout:
    """Return how a record file is written, as one of some adapters reads it.

    Raises:
        RecordError: As of detect.
    """
    sample = read_sample(path)
    if sample.startswith(b"PAR1"):
        return _parquet(path, adapters)
    if sample.startswith((*CAPTURE_MAGICS, PCAPNG_MAGIC)):
        return _exports(path)
    text = _text(path, sample)
    lines = text.splitlines()
    first = next((line for line in lines if line.strip()), "")
    if first.lstrip().startswith("#"):
        found = _zeek(path, lines, adapters) or _with_header(lines, adapters, delimiters)
    elif first.lstrip().startswith(JSON_BEGINS):
        found = None
        if not is_object(first):  # objects over several lines, in an array, or one behind the other
            objects, rest = complete_objects(text)
            whole = not rest or rest.startswith("{")
            found = json_layout(path, objects, adapters, JSON_ARRAY) if whole else None
        found = found or json_layout(path, lines, adapters)
    else:
        found = _with_header(lines, adapters, delimiters) or _without_header(lines, adapters, delimiters)
    if found is None:
        raise _unknown(path, first, adapters)
    return found


def _unknown(path: Path, first: str, adapters: tuple[Adapter, ...]) -> RecordError:
    listing = next((told for begin, told in LISTINGS.items() if first.lstrip().startswith(begin)), None)
    if listing:
        return RecordError(listing[0], str(path), listing[1], first.strip()[:80], listing[2])
    known = ", ".join(adapter.name for adapter in adapters)
    return RecordError(
        "No flow records of a known kind",
        str(path),
        f"columns of one of: {known}",
        f"first line {first[:200]!r}",
        _way_out(path, first),
    )


def _way_out(path: Path, first: str) -> str:
    """Return what makes records of a file that may hold some in another form."""
    inner = ARRAY_WITHIN.match(first)
    if inner:
        return f"jq -c '.. | .{inner[1]}? | arrays | .[]' {path.name} > flows.json"
    if OBJECT_BEHIND.match(first):
        return f"sed 's/^[^{{]*//' {path.name} > flows.json"
    return "name the columns in a mapping file (docs/flow-records.md)"


def _text(path: Path, sample: bytes) -> str:
    if sample.startswith(NFCAPD_MAGICS):
        raise RecordError(
            "A binary file of nfcapd",
            str(path),
            "nfdump's CSV",
            "nfcapd",
            f"nfdump -r {path.name} -q -o csv > flows.csv",
        )
    if sample.startswith(ZIP_MAGIC) and WORKBOOK in sample[:SEEN_BYTES_OF_ZIP]:
        raise RecordError("A workbook of a spreadsheet", str(path), "CSV", "XLSX", "save its sheet as CSV")
    if sample.startswith(ZIP_MAGIC):
        raise RecordError("A ZIP archive", str(path), "the files in it", "ZIP", f"unzip {path.name}")
    if sample[TAR_MAGIC_AT:].startswith(TAR_MAGIC):
        raise RecordError("A tar archive", str(path), "the files in it", "tar", f"tar -xf {path.name}")
    if sample.startswith(UTF16_MARKS):
        next_step = f"iconv -f UTF-16 -t UTF-8 {path.name} > flows.csv"
        raise RecordError("The file is written in UTF-16", str(path), "UTF-8", "a byte-order mark of UTF-16", next_step)
    if b"\0" in sample:
        raise RecordError("The file is no text", str(path), "flow records as UTF-8 text or Parquet", "bytes of value 0")
    if b"\r" in sample.strip() and b"\n" not in sample:
        next_step = f"tr '\\r' '\\n' < {path.name} > flows.csv"
        raise RecordError("Lines end with a carriage return alone", str(path), "line feeds", "none", next_step)
    return sample.decode("utf-8", errors="replace").removeprefix(BOM)


def _exports(path: Path) -> Layout:
    """Look at all templates of an export stream: they say which columns it has."""
    if not carries_exports(path):
        raise RecordError(
            "A capture, but not of NetFlow or IPFIX messages",
            str(path),
            "export messages in most of its first frames",
            "other traffic",
            f"flowtag ingest {path.name}",
        )
    names = (*sorted({*exported_names(path)} | EXPORT_COLUMNS),)
    if not EXPORTS.fits(frozenset(names)):
        raise RecordError("An export stream without templates of flows", str(path), ", ".join(map(str, EXPORTS.needs)))
    return Layout(EXPORTS, EXPORT, names)


def _parquet(path: Path, adapters: tuple[Adapter, ...]) -> Layout:
    columns = column_names(path)
    told = told_by(columns, adapters)
    if told is None:
        raise _unknown(path, ", ".join(columns), adapters)
    adapter, names = told
    own = dict(zip(names, columns, strict=True))
    return Layout(adapter, PARQUET, names, nulls=("", *adapter.nulls), own_names=own)


def _separator(path: Path, line: str) -> str:
    r"""Return the character that a Zeek log's first line names, such as \x09."""
    try:
        named = line.split()[1].encode().decode("unicode_escape")
    except (IndexError, UnicodeDecodeError):
        named = ""
    if len(named) != 1 or named in "\r\n":
        raise RecordError("The Zeek log names no separator", str(path), r"#separator \x09", repr(line.rstrip()))
    return named


def _zeek(path: Path, lines: list[str], adapters: tuple[Adapter, ...]) -> Layout | None:
    """Read the header of a Zeek log: what separates, the fields, and how unset and empty cells look."""
    header = []
    for line in lines:
        if line.strip() and not line.lstrip().startswith("#"):
            break
        header.append(line)
    separator = "\t"
    entries: dict[str, str] = {}
    for line in header:
        plain = line.lstrip()
        if plain.startswith("#separator"):
            separator = _separator(path, plain)
        key, _, value = plain.partition(separator)
        entries[key] = value
    other = next((line for line in header if line.lstrip().startswith("#fields")), "")
    if other and "#fields" not in entries:
        raise RecordError(
            "A Zeek log whose lines have another separator than it says", str(path), repr(separator), other[:80]
        )
    columns = tuple(entries.get("#fields", "").split(separator))
    adapter = next((adapter for adapter in adapters if adapter.fits(frozenset(columns))), None)
    if "#fields" in entries and adapter is None:
        name = entries.get("#path", "other")
        raise RecordError("A Zeek log, but not of connections", str(path), "conn.log", f"{name}: {', '.join(columns)}")
    if adapter is None:
        return None
    nulls = (entries.get("#unset_field", "-"), entries.get("#empty_field", "(empty)"), "")
    return Layout(adapter, SEPARATED, columns, separator, False, len(header), True, nulls)


def _with_header(lines: list[str], adapters: tuple[Adapter, ...], delimiters: tuple[str, ...]) -> Layout | None:
    """Look for a header among the first lines: tools and people write a word or two before it."""
    numbered = enumerate(lines[:HEADER_WITHIN], 1)
    first = [(number, line) for number, line in numbered if line.strip() and not line.lstrip().startswith(JSON_BEGINS)]
    for (number, line), delimiter in product(first, delimiters):
        columns = _distinct(_cells(line, delimiter))
        if told := told_by(columns, adapters):
            adapter, names = told
            before = any(len(_cells(other, delimiter)) == len(columns) for at, other in first if at < number)
            return Layout(
                adapter,
                SEPARATED,
                names,
                delimiter,
                skip=0 if before else number,  # rows before it are rows, and it is then a header in the middle
                nulls=("", *adapter.nulls),
                own_names=dict(zip(names, columns, strict=True)),
                decimal_comma=delimiter != "," and _has_decimal_commas(lines[number:SEEN_LINES], delimiter),
            )
    return None


def _has_decimal_commas(lines: list[str], delimiter: str) -> bool:
    """Tell whether numbers are written as 1,5 and none as 1.5."""
    cells = [cell for line in lines for cell in _cells(line, delimiter)]
    return any(map(DECIMAL_COMMA.fullmatch, cells)) and not any(map(DECIMAL_POINT.fullmatch, cells))


def _cells(line: str, delimiter: str) -> list[str]:
    return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter), [])]


def _distinct(names: list[str]) -> tuple[str, ...]:
    """Return names with a number behind those that came before: one name of CICIDS2017's header comes twice."""
    return tuple(f"{name}.{names[:at].count(name)}" if name in names[:at] else name for at, name in enumerate(names))


def _without_header(lines: list[str], adapters: tuple[Adapter, ...], delimiters: tuple[str, ...]) -> Layout | None:
    """Take a file without header for one of an adapter's that has as many columns, and addresses where they belong."""
    for delimiter in delimiters:
        rows = [_cells(line, delimiter) for line in lines[:20]]
        for adapter in adapters:
            for columns in adapter.without_header:
                if _belongs(rows, columns, adapter):
                    return Layout(adapter, SEPARATED, columns, delimiter, nulls=("", *adapter.nulls))
    return None


def _belongs(rows: list[list[str]], columns: tuple[str, ...], adapter: Adapter) -> bool:
    """Tell whether rows have as many cells as there are columns, some of them an address where it should be."""
    if any(len(row) != len(columns) for row in rows[:1]):
        return False
    source = next((given.columns[0] for given in adapter.given if given.target == "src_ip"), "")
    if source not in columns:  # a mapping file's: the number of columns is all that can be told
        return True
    found = [row[columns.index(source)] for row in rows if len(row) == len(columns)]
    return not addresses(pa.array(found)).bad.all()
