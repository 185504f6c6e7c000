"""Rows of record files in batches of Arrow columns, whatever the file's form; broken lines are counted, not fatal."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.records.batch import Batch, chosen
from features.records.byte_stream import Block, line_blocks
from features.records.envelope import unwrapped
from features.records.exports.reading import read_exports
from features.records.json_array import object_blocks
from features.records.json_reading import read_json_lines
from features.records.layout import EXPORT, JSON_ARRAY, PARQUET, SEPARATED, Layout
from features.records.parquet_reading import read_parquet
from features.records.rejects import Rejects
from features.records.separated import Separated

LABEL = "source_label"
REPLACED = "\ufffd"


def read_batches(path: Path, layout: Layout, rejects: Rejects) -> Iterator[Batch]:
    """Yield the rows of a file, the columns that its adapter reads and no others.

    Raises:
        RecordError: The file cannot be read to its end, or its columns change.
    """
    if layout.form == PARQUET:
        yield from read_parquet(path, layout, rejects)
        return
    if layout.form == EXPORT:
        yield from read_exports(path, layout, rejects)
        return
    if layout.form == SEPARATED:
        read = Separated(path, layout, rejects).read
    else:
        read = partial(read_json_lines, path, layout=layout, rejects=rejects)
    blocks = object_blocks(path) if layout.form == JSON_ARRAY else line_blocks(path, layout.skip)
    for written in blocks:
        block = _unwrapped(written, layout, rejects)
        text = _readable(block)
        batch = read(text)
        if batch is not None and text is not block:
            batch = _without_replaced(batch, layout, rejects)
        if batch is not None:
            yield batch


def _unwrapped(block: Block, layout: Layout, rejects: Rejects) -> Block:
    """Return a block of the records that its objects hold as texts, the block itself where they are no texts."""
    if not layout.envelope:
        return block
    inner, empty = unwrapped(block, layout.envelope)
    rejects.saw(len(empty))
    rejects.add("no_record", empty)
    return inner


def _readable(block: Block) -> Block:
    """Return a block as UTF-8, REPLACED for what is none: dashes of labels are often Windows-1252."""
    if block.text.isascii():  # ten times faster to tell, and nearly always so
        return block
    try:
        block.text.decode()
    except UnicodeDecodeError:
        return Block(block.text.decode(errors="replace").encode(), block.first_line)
    return block


def _without_replaced(batch: Batch, layout: Layout, rejects: Rejects) -> Batch | None:
    """Return a batch without rows whose cells were no UTF-8, labels aside: their words are told without it."""
    labels = [given.columns for given in layout.adapter.given if given.target == LABEL]
    spoiled = np.zeros(len(next(iter(batch.columns.values()))), bool)
    for name, column in batch.columns.items():
        if pa.types.is_string(column.type) and not any(name in names for names in labels):
            spoiled |= pc.fill_null(pc.match_substring(column, REPLACED), False).to_numpy(zero_copy_only=False)
    rejects.add("not_utf8", batch.lines(spoiled))
    return chosen(batch, ~spoiled)
