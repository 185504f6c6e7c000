"""Rows of a record file between reading and parsing."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

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
