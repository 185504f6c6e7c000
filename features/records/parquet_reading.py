"""Parquet files to batches of columns: types of every kind become texts or doubles, parts of structs are columns."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features.errors import RecordError
from features.records.batch import Batch
from features.records.cells import Mask
from features.records.json_reading import nested, without_nulls
from features.records.layout import Layout
from features.records.rejects import Rejects

ROWS = 65_536
MICROSECONDS_A_SECOND = 1e6


def column_names(path: Path) -> tuple[str, ...]:
    """Return the columns of a Parquet file, those of structs as `outer|inner`.

    Raises:
        RecordError: The file is damaged.
    """
    with _told_as_damage(path), pq.ParquetFile(path) as file:
        fields = [*file.schema_arrow]
    return tuple(name for field in fields for name in _names(field))


def _names(field: pa.Field) -> Iterator[str]:
    if pa.types.is_struct(field.type):
        yield from (f"{field.name}|{name}" for part in field.type for name in _names(part))
    else:
        yield field.name


def read_parquet(path: Path, layout: Layout, rejects: Rejects) -> Iterator[Batch]:
    """Yield the rows of a Parquet file, the columns that its adapter reads and no others; a row's line is its number.

    Raises:
        RecordError: The file is damaged.
    """
    first = 1
    names = layout.adapter.sources(layout.header)
    factors = {name: given.factor for given in layout.adapter.given for name in given.columns}
    for rows in _batches(path, [layout.own_name(name).replace("|", ".") for name in names]):
        rejects.saw(rows.num_rows)
        columns = {}
        for name in names:
            column = _plain(nested(rows, layout.own_name(name).split("|")), factors.get(name, 1.0))
            columns[name] = without_nulls(column, layout.nulls) if pa.types.is_string(column.type) else column
        if rows.num_rows:
            yield Batch(columns, partial(_offset, first))
        first += rows.num_rows


def _batches(path: Path, names: list[str]) -> Iterator[pa.RecordBatch]:
    with ExitStack() as stack:
        with _told_as_damage(path):
            batches = stack.enter_context(pq.ParquetFile(path)).iter_batches(ROWS, columns=names)
        while True:
            with _told_as_damage(path):
                batch = next(batches, None)
            if batch is None:
                return
            yield batch


@contextmanager
def _told_as_damage(path: Path) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
        raise RecordError("The Parquet file cannot be read", str(path), "an undamaged file", str(error)) from error


def _plain(column: pa.Array, factor: float) -> pa.Array:
    """Return a column as text or doubles: dictionaries, dates and decimals become text, durations the source's number.

    Args:
        column: Of any type that is no list.
        factor: What the source's number is multiplied by to give seconds, where it is a time.
    """
    if pa.types.is_duration(column.type):
        seconds = pc.divide(column.cast(pa.duration("us")).cast(pa.int64()).cast(pa.float64()), MICROSECONDS_A_SECOND)
        return pc.divide(seconds, factor)
    number = pa.types.is_integer(column.type) or pa.types.is_floating(column.type)
    return column.cast(pa.float64(), safe=False) if number else column.cast(pa.string())


def _offset(first: int, mask: Mask) -> list[int]:
    return (np.flatnonzero(mask) + first).tolist()
