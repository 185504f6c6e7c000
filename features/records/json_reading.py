"""Blocks of JSON lines to Arrow columns; a line that is no object of the right types is a bad row, not the end."""

import json
import re
from collections.abc import Mapping
from functools import partial
from itertools import compress
from operator import not_
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json

from features.records.batch import Batch, unreadable
from features.records.byte_stream import Block
from features.records.cells import Mask
from features.records.layout import Layout
from features.records.rejects import Rejects

NUMBER = re.compile(r"\s*[+-]?\d{1,15}(\.\d{1,20})?\s*$")
_BLANKS = re.compile(r"\s*")


def read_json_lines(path: Path, block: Block, layout: Layout, rejects: Rejects) -> Batch | None:
    """Return the rows of a block, None when it has none."""
    try:
        table = _parsed(block.text, layout)
        numbers = _object_lines(block, table.num_rows)
    except ValueError:  # of which Arrow's is a kind
        good, numbers, bad = _sorted_out(block, layout)
        rejects.saw(len(bad))
        rejects.add("bad_json", bad)
        try:
            table = _parsed(b"\n".join(good), layout) if good else None
        except pa.ArrowInvalid as error:
            raise unreadable(path, block, str(error)) from error
    if table is None or not table.num_rows:
        return None
    rejects.saw(table.num_rows)
    columns = {}
    for name in layout.adapter.sources(layout.header):
        column = nested(table, layout.own_name(name).split("|"))
        columns[name] = without_nulls(column, layout.nulls) if pa.types.is_string(column.type) else column
    find = partial(_of_numbers, block if numbers is None else numbers)
    return Batch(columns, find)


def _object_lines(block: Block, rows: int) -> list[int] | None:
    """Return the line each object of a block begins in, None where that is a line for each.

    Raises:
        ValueError: Python finds other objects than the rows that Arrow found.
    """
    lines = [line for line in block.text.split(b"\n") if line.strip()]
    if rows == len(lines) and all(line.lstrip().startswith(b"{") for line in lines):
        return None
    text = block.text.decode("utf-8")
    decoder = json.JSONDecoder(strict=False)
    numbers: list[int] = []
    line, counted, at = block.first_line, 0, 0
    while (begin := _BLANKS.match(text, at).end()) < len(text):  # type: ignore[union-attr]  # none at all match, too
        line, counted = line + text.count("\n", counted, begin), begin
        numbers.append(line)
        _, at = decoder.raw_decode(text, begin)
    if len(numbers) != rows:
        raise ValueError(f"{len(numbers)} objects where Arrow found {rows}")
    return numbers


def _of_numbers(source: Block | list[int], mask: Mask) -> list[int]:
    if not mask.any():
        return []
    numbers = source.line_numbers() if isinstance(source, Block) else source
    return [numbers[row] for row in np.flatnonzero(mask).tolist()]


def without_nulls(column: pa.Array, nulls: tuple[str, ...]) -> pa.Array:
    """Return a column of texts with no value where a text stands for none."""
    return pc.if_else(pc.is_in(column, pa.array(nulls, pa.string())), pa.scalar(None, pa.string()), column)


def _parsed(text: bytes, layout: Layout) -> pa.Table:
    """Parse JSON objects one a line, the layout's columns only; a column that no object has is null."""
    return pa.json.read_json(
        pa.BufferReader(text),
        pa.json.ReadOptions(use_threads=False, block_size=min(len(text) + 1, 2**31 - 1)),
        pa.json.ParseOptions(
            explicit_schema=json_schema(_types(layout)), newlines_in_values=False, unexpected_field_behavior="ignore"
        ),
    )


def _types(layout: Layout) -> dict[str, pa.DataType]:
    """Return the type of each key of the file."""
    return {layout.own_name(name): kind for name, kind in layout.types.items()}


def json_schema(types: Mapping[str, pa.DataType]) -> pa.Schema:
    """Return the schema of columns whose names join the keys of nested objects with |."""
    return pa.schema(_fields(types))


def _fields(types: Mapping[str, pa.DataType]) -> list[pa.Field]:
    flat = [pa.field(name, kind) for name, kind in types.items() if "|" not in name]
    inner: dict[str, dict[str, pa.DataType]] = {}
    for name, kind in types.items():
        outer, within, rest = name.partition("|")
        if within:
            inner.setdefault(outer, {})[rest] = kind
    return flat + [pa.field(outer, pa.struct(_fields(parts))) for outer, parts in inner.items()]


def nested(table: pa.Table | pa.RecordBatch, keys: list[str]) -> pa.Array:
    """Return a column, or a part of one whose values are structs."""
    column = table.column(keys[0])
    column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    return pc.struct_field(column, keys[1:]) if len(keys) > 1 else column


def _sorted_out(block: Block, layout: Layout) -> tuple[list[bytes], list[int], list[int]]:
    """Return the good lines of a block, their numbers, and the numbers of the bad ones."""
    good: list[bytes] = []
    numbers: list[int] = []
    bad: list[int] = []
    for number, line in enumerate(block.text.split(b"\n"), block.first_line):
        if not line.strip():
            continue
        readable = _readable(line, layout)
        if readable:
            good.append(readable)
            numbers.append(number)
        else:
            bad.append(number)
    if good and not _is_read(b"\n".join(good), layout):
        read = [_is_read(line, layout) for line in good]  # numbers above doubles, halves of surrogate pairs
        bad = sorted([*bad, *compress(numbers, map(not_, read))])
        good, numbers = [*compress(good, read)], [*compress(numbers, read)]
    return good, numbers, bad


def _is_read(text: bytes, layout: Layout) -> bool:
    """Tell whether Arrow takes what Python does."""
    try:
        _parsed(text, layout)
    except pa.ArrowInvalid:
        return False
    return True


def _readable(line: bytes, layout: Layout) -> bytes:
    """Return an object whose values have the types of the layout, numbers as texts or texts as numbers if need be.

    Nothing where it is no object, or cannot have them.
    """
    try:
        record = json.loads(line, object_pairs_hook=_named_once, parse_constant=_no_number)
    except ValueError:
        return b""
    if not isinstance(record, dict):
        return b""
    wrong = [(name, kind) for name, kind in _types(layout).items() if not _has_type(record, name, kind)]
    if not all(_given_type(record, name, kind, layout.nulls) for name, kind in wrong):
        return b""
    return json.dumps(record).encode() if wrong else line


def _given_type(record: dict[str, object], name: str, kind: pa.DataType, nulls: tuple[str, ...]) -> bool:
    """Write a value as of another type, and tell whether that could be done."""
    outer, within, inner = name.partition("|")
    value = record[outer]
    if within:
        return isinstance(value, dict) and _given_type(value, inner, kind, nulls)
    if pa.types.is_string(kind) and _is_number(value):
        record[outer] = str(value)
    elif value in nulls:
        record[outer] = None
    elif pa.types.is_floating(kind) and isinstance(value, str) and NUMBER.match(value):
        record[outer] = float(value)
    else:
        return False
    return True


def _no_number(text: str) -> object:
    raise ValueError(f"{text} is no JSON")


def _named_once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Return an object; one that names a key twice says nothing for certain, and Arrow cannot read it."""
    named = dict(pairs)
    if len(named) < len(pairs):
        raise ValueError("a key is named twice")
    return named


def _has_type(record: dict[str, object], name: str, kind: pa.DataType) -> bool:
    outer, within, inner = name.partition("|")
    value = record.get(outer)
    if value is None:
        return True
    if within:
        return isinstance(value, dict) and _has_type(value, inner, kind)
    if pa.types.is_string(kind):
        return isinstance(value, str)
    return isinstance(value, bool) if pa.types.is_boolean(kind) else _is_number(value)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
