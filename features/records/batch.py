"""Rows of a record file between reading and parsing."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from features.errors import RecordError
from features.records.byte_stream import Block
from features.records.cells import Mask

Lines = Callable[[Mask], list[int]]


class Batch(NamedTuple):
    """Rows of a file.

    Attributes:
        columns: Source column to values, text or numbers; every column has the same length, above 0.
        lines: Returns the line number of every row of a mask.
    """

    columns: dict[str, pa.Array]
    lines: Lines


def unreadable(path: Path, block: Block, reason: str) -> RecordError:
    """Return the error for a block that Arrow cannot parse at all."""
    return RecordError("The flow records cannot be read", f"{path}, from line {block.first_line}", "", reason)


def chosen(batch: Batch, kept: Mask) -> Batch | None:
    """Return some rows of a batch, None where they are none."""
    if kept.all():
        return batch
    rows = np.flatnonzero(kept)
    columns = {name: column.take(pa.array(rows)) for name, column in batch.columns.items()}
    return Batch(columns, partial(_of_kept, batch.lines, rows, len(kept))) if len(rows) else None


def _of_kept(find: Lines, rows: np.ndarray, total: int, mask: Mask) -> list[int]:
    before = np.zeros(total, bool)
    before[rows[mask]] = True
    return find(before)
