"""Rows of record files in batches of Arrow columns, whatever the file's form; broken lines are counted, not fatal."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from features.errors import RecordError
from features.records.batch import Batch, Lines, unreadable
from features.records.byte_stream import Block, line_blocks
from features.records.cells import Mask
from features.records.exports.reading import read_exports
from features.records.json_array import object_blocks
from features.records.json_reading import read_json_lines
from features.records.layout import EXPORT, JSON_ARRAY, PARQUET, SEPARATED, Layout
from features.records.parquet_reading import read_parquet
from features.records.rejects import Rejects

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
        read = _Separated(path, layout, rejects).read
    else:
        read = partial(read_json_lines, path, layout=layout, rejects=rejects)
    blocks = object_blocks(path) if layout.form == JSON_ARRAY else line_blocks(path, layout.skip)
    for block in blocks:
        text = _readable(block)
        batch = read(text)
        if batch is not None and text is not block:
            batch = _without_replaced(batch, layout, rejects)
        if batch is not None:
            yield batch


class _Separated:
    """A file of separated text, block by block.

    Columns of numbers are read as such until a cell is none; from there on all cells are read as text, and looked at
    one by one where they are numbers.
    """

    def __init__(self, path: Path, layout: Layout, rejects: Rejects) -> None:
        self._path = path
        self._layout = layout
        self._rejects = rejects
        names, numbers = layout.adapter.sources(layout.header), layout.adapter.number_sources(layout.header)
        self._types = {name: pa.float64() if name in numbers else pa.string() for name in names}

    def read(self, block: Block) -> Batch | None:
        """Return the rows of a block of UTF-8, None when it has none."""
        if self._layout.decimal_comma:  # commas of texts become points too, which no word minds
            block = Block(block.text.replace(b",", b"."), block.first_line)
        block = _closed_quotes(block, self._layout, self._rejects)
        table, broken = self._parsed(block)
        lines = _LinesOf(block, [number for number, _ in broken])
        _account(self._path, broken, self._layout, self._rejects, lines)
        self._rejects.saw(table.num_rows)
        return _without_headers(table, lines, self._layout, self._rejects) if table.num_rows else None

    def _parsed(self, block: Block) -> tuple[pa.Table, list[tuple[int, str]]]:
        try:
            return self._cells(block)
        except pa.ArrowInvalid as error:
            if "Empty CSV" in str(error):
                return pa.table({name: pa.array([], kind) for name, kind in self._types.items()}), []
            if pa.float64() not in self._types.values():
                raise unreadable(self._path, block, str(error)) from error
        self._types = dict.fromkeys(self._types, pa.string())
        return self._parsed(block)

    def _cells(self, block: Block) -> tuple[pa.Table, list[tuple[int, str]]]:
        """Return the cells of a block, and the number and text of lines with too few or too many."""
        layout = self._layout
        broken: list[tuple[int, str]] = []

        def skip(row: pa.csv.InvalidRow) -> str:
            broken.append((row.number, row.text))
            return "skip"

        table = pa.csv.read_csv(
            pa.BufferReader(block.text),
            pa.csv.ReadOptions(
                column_names=layout.columns, use_threads=False, block_size=min(len(block.text) + 1, 2**31 - 1)
            ),
            pa.csv.ParseOptions(
                delimiter=layout.delimiter, quote_char='"' if layout.quoted else False, invalid_row_handler=skip
            ),
            pa.csv.ConvertOptions(
                include_columns=list(self._types),
                column_types=self._types,
                null_values=list(layout.nulls),
                strings_can_be_null=True,
                check_utf8=False,  # it was checked, with its lines
            ),
        )
        return table, broken


class _LinesOf:
    """The line numbers of the rows of a block, looked up only when a row is bad."""

    def __init__(self, block: Block, broken: list[int]) -> None:
        self._block = block
        self._broken = np.array(broken, np.int64)

    def of_numbers(self, numbers: list[int]) -> list[int]:
        """Return the lines of rows by their number among all rows that are not blank, from 1."""
        lines = self._block.line_numbers()
        return [lines[min(number, len(lines)) - 1] for number in numbers]

    def of_rows(self, mask: Mask) -> list[int]:
        """Return the lines of the rows of a mask over the rows that are not broken."""
        rows = np.flatnonzero(mask)
        shifted = self._broken - 1 - np.arange(len(self._broken))
        numbers = rows + 1 + np.searchsorted(shifted, rows, side="right")
        return self.of_numbers(numbers.tolist()) if len(rows) else []


def _account(path: Path, broken: list[tuple[int, str]], layout: Layout, rejects: Rejects, lines: _LinesOf) -> None:
    """Count lines with another number of cells than the header has; comments are no lines."""
    comments = [text for _, text in broken if layout.comments and text.startswith("#")]
    for text in comments:
        if text.startswith("#fields") and tuple(text.split(layout.delimiter)[1:]) != layout.columns:
            expected, received = ", ".join(layout.columns), ", ".join(text.split(layout.delimiter)[1:])
            raise RecordError("The columns change in the middle of the file", str(path), expected, received)
    wrong = [number for number, text in broken if not (layout.comments and text.startswith("#"))]
    rejects.saw(len(wrong))
    if wrong:
        rejects.add("number_of_cells", lines.of_numbers(wrong))


def _without_headers(table: pa.Table, lines: _LinesOf, layout: Layout, rejects: Rejects) -> Batch | None:
    """Return the cells without rows that repeat the header."""
    columns = {name: table.column(name).combine_chunks() for name in table.column_names}
    name = next((name for name in columns if pa.types.is_string(columns[name].type)), "")
    if not name:  # a header is no number
        return Batch(columns, lines.of_rows)
    header = pc.equal(pc.utf8_trim_whitespace(columns[name]), layout.own_name(name))
    repeated = pc.fill_null(header, False).to_numpy(zero_copy_only=False)
    if not repeated.any():
        return Batch(columns, lines.of_rows)
    rejects.add("header_again", lines.of_rows(repeated))
    return _chosen(Batch(columns, lines.of_rows), ~repeated)


def _chosen(batch: Batch, kept: Mask) -> Batch | None:
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
    return _chosen(batch, ~spoiled)


def _closed_quotes(block: Block, layout: Layout, rejects: Rejects) -> Block:
    """Return a block without lines that open a quote and do not close it: it would take in the lines behind it.

    They become blank, so that the others keep their numbers.
    """
    if not layout.quoted or b'"' not in block.text:
        return block
    lines = block.text.split(b"\n")
    bad = [at for at, line in enumerate(lines) if line.count(b'"') % 2 == 1]
    for at in bad:
        lines[at] = b""
    rejects.saw(len(bad))
    rejects.add("open_quote", [block.first_line + at for at in bad])
    return Block(b"\n".join(lines), block.first_line) if bad else block
