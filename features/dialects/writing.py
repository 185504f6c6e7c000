"""Rows of a feature table to a file of another tool, batch by batch; the file appears complete or not at all."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import IO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from features.dialects.dialect import Dialect, Rows
from features.table import replacing

PLAIN = r"^[ !#-\[\]-~]*$"
"""Text that is the same inside a JSON string."""


def write_dialect(batches: Iterable[pa.RecordBatch], dialect: Dialect, path: Path) -> int:
    """Write rows of a feature table to `path` in another tool's form, and return how many there were.

    The log's opening and closing times, where the form has them, are the first flow's start and the last one's.
    """
    count, first, last = 0, None, None
    with replacing(path) as temporary, temporary.open("wb") as file:
        for batch in filter(lambda batch: batch.num_rows, batches):
            rows = Rows(batch)
            first, last = first or _moment(batch, 0), _moment(batch, batch.num_rows - 1)
            if not count:
                file.write(_head(dialect, first))
            _write(file, dialect, rows)
            count += rows.count
        if not count:
            file.write(_head(dialect, _moment(None, 0)))
        if dialect.footer:
            file.write(dialect.footer(last or _moment(None, 0)).encode())
    return count


def _moment(batch: pa.RecordBatch | None, row: int) -> str:
    """Return a row's start as Zeek writes times of its logs; the beginning of 1970 without one."""
    moment = batch.column("start")[row].cast(pa.timestamp("s", "UTC"), safe=False).as_py() if batch else None
    return f"{moment:%Y-%m-%d-%H-%M-%S}" if moment else "1970-01-01-00-00-00"


def _head(dialect: Dialect, opened: str) -> bytes:
    if dialect.header:
        return dialect.header(opened).encode()
    names = dialect.delimiter.join(field.name for field in dialect.fields)
    return b"" if dialect.form == "json" else f"{names}\n".encode()


def _write(file: IO[bytes], dialect: Dialect, rows: Rows) -> None:
    made = [(field.name, field.made(rows)) for field in dialect.fields]
    if dialect.form == "json":
        file.write(_objects(made))
        return
    cells = [pc.fill_null(values.cast(pa.string()), dialect.unset) for _, values in made]
    table = pa.RecordBatch.from_arrays(cells, [name for name, _ in made])
    options = pa.csv.WriteOptions(include_header=False, delimiter=dialect.delimiter, quoting_style="none")
    pa.csv.write_csv(table, file, options)


def _objects(made: list[tuple[str, pa.Array]]) -> bytes:
    """Return a JSON object a row and line, without the columns that are unset in it."""
    members = [
        pc.binary_join_element_wise(f"{json.dumps(name)}:", _value(values), "")
        for name, values in made
        if values.null_count < len(values)
    ]
    lines = pc.binary_join_element_wise(*members, ",", null_handling="skip")
    return "".join(f"{{{line}}}\n" for line in lines.to_pylist()).encode()


def _value(values: pa.Array) -> pa.Array:
    """Return values as JSON writes them."""
    if not pa.types.is_string(values.type):
        return values.cast(pa.string())
    if pc.all(pc.match_substring_regex(values, PLAIN)).as_py():
        return pc.binary_join_element_wise('"', values, '"', "")
    return pa.array([None if text is None else json.dumps(text) for text in values.to_pylist()], pa.string())
