"""Blocks of separated text to Arrow columns: by the cell kernel, or by Arrow's reader where cells stand in quotes.

Columns of numbers are read as such until a cell of theirs is none; from there on they are read as text, and looked at
one by one where they are numbers.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from features.arrow import bitmap
from features.errors import RecordError
from features.records.batch import Batch, Lines, chosen, unreadable
from features.records.byte_stream import Block
from features.records.cell_kernel import CellRoom, Plan, count_lines, gather, read_cells
from features.records.cells import Mask
from features.records.layout import Layout
from features.records.rejects import Rejects


class _Cells(NamedTuple):
    """The cells of a block.

    Attributes:
        columns: Source column to values.
        lines: Returns the line number of every row of a mask.
        others: Line number and text of lines that are no rows.
    """

    columns: dict[str, pa.Array]
    lines: Lines
    others: list[tuple[int, str]]


class Separated:
    """A file of separated text, block by block."""

    def __init__(self, path: Path, layout: Layout, rejects: Rejects) -> None:
        self._path = path
        self._layout = layout
        self._rejects = rejects
        names, numbers = layout.adapter.sources(layout.header), layout.adapter.number_sources(layout.header)
        self._types = {name: pa.float64() if name in numbers else pa.string() for name in names}
        self._plan = self._planned()

    def read(self, block: Block) -> Batch | None:
        """Return the rows of a block of UTF-8, None when it has none."""
        if self._layout.decimal_comma:  # commas of texts become points too, which no word minds
            block = Block(block.text.replace(b",", b"."), block.first_line)
        quoted = self._layout.quoted and b'"' in block.text
        text = block.text.replace(b"\r\n", b"\n") if b"\r" in block.text else block.text
        if quoted or b"\r" in text:
            cells = self._parsed(_closed_quotes(block, self._rejects) if quoted else block)
        else:
            cells = self._scanned(Block(text if text.endswith(b"\n") else text + b"\n", block.first_line))
        _account(self._path, cells.others, self._layout, self._rejects)
        rows = len(next(iter(cells.columns.values())))
        self._rejects.saw(rows)
        return _without_headers(Batch(cells.columns, cells.lines), self._layout, self._rejects) if rows else None

    def _scanned(self, block: Block) -> _Cells:
        """Return the cells of a block whose lines all end with a line feed and have no quotes."""
        text, numbers, texts = np.frombuffer(block.text, np.uint8), self._numbers(), self._texts()
        room = _room(text, self._plan, len(numbers), len(texts))
        rows, others = read_cells(text, self._plan, room)
        odd = [name for name, is_odd in zip(self._layout.columns, room.odd, strict=True) if is_odd]
        if odd:
            self._types |= dict.fromkeys(odd, pa.string())
            self._plan = self._planned()
            return self._scanned(block)
        columns = {name: _numbers(room.numbers[at, :rows]) for at, name in enumerate(numbers)}
        columns |= {name: _texts(text, room, at, rows) for at, name in enumerate(texts)}
        return _Cells(columns, _LinesAt(block, room.lines[:rows]).of_rows, _others(block, room.others[:others]))

    def _numbers(self) -> list[str]:
        return [name for name, kind in self._types.items() if kind == pa.float64()]

    def _texts(self) -> list[str]:
        return [name for name, kind in self._types.items() if kind == pa.string()]

    def _planned(self) -> Plan:
        layout = self._layout
        places = {name: at for names in (self._numbers(), self._texts()) for at, name in enumerate(names)}
        of_columns = np.array([places.get(name, -1) for name in layout.columns], np.int32)
        nulls = [null.encode() for null in layout.nulls]
        return Plan(
            of_columns,
            np.flatnonzero(of_columns >= 0),
            np.array([self._types.get(name) == pa.float64() for name in layout.columns]),
            ord(layout.delimiter),
            layout.comments,
            np.frombuffer(b"".join(nulls), np.uint8),
            np.cumsum([0, *map(len, nulls)]),
            max(map(len, nulls), default=-1),
        )

    def _parsed(self, block: Block) -> _Cells:
        try:
            table, broken = self._read(block)
        except pa.ArrowInvalid as error:
            if "Empty CSV" in str(error):
                return _Cells({name: pa.array([], kind) for name, kind in self._types.items()}, lambda _: [], [])
            if not self._numbers():
                raise unreadable(self._path, block, str(error)) from error
            self._types = dict.fromkeys(self._types, pa.string())
            self._plan = self._planned()
            return self._parsed(block)
        columns = {name: table.column(name).combine_chunks() for name in table.column_names}
        lines = _LinesOf(block, [number for number, _ in broken])
        numbers = lines.of_numbers([number for number, _ in broken])
        return _Cells(columns, lines.of_rows, list(zip(numbers, (text for _, text in broken), strict=True)))

    def _read(self, block: Block) -> tuple[pa.Table, list[tuple[int, str]]]:
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


def _room(text: np.ndarray, plan: Plan, numbers: int, texts: int) -> CellRoom:
    lines = int(count_lines(text))
    rows = min(lines, len(text) // len(plan.places))  # a row has a byte behind each cell
    return CellRoom(
        np.empty((numbers, rows)),
        np.empty((texts, rows), np.int32),
        np.empty((texts, rows), np.int32),
        np.empty(lines, np.int32),
        np.empty((lines, 2), np.int32),
        np.empty(len(text) + 2, np.int32),
        np.empty(lines + 1, np.int32),
        np.zeros(len(plan.places), bool),
    )


def _numbers(values: np.ndarray) -> pa.Array:
    """Return numbers, null where they are NaN."""
    return pa.Array.from_buffers(pa.float64(), len(values), [bitmap(~np.isnan(values)), pa.py_buffer(values)])


def _texts(text: np.ndarray, room: CellRoom, at: int, rows: int) -> pa.Array:
    """Return the texts of a column, their bytes copied."""
    begins, sizes = room.begins[at, :rows], room.sizes[at, :rows]
    offsets, out = np.empty(rows + 1, np.int32), np.empty(int(np.maximum(sizes, 0).sum()), np.uint8)
    nulls = gather(text, begins, sizes, offsets, out)
    known = bitmap(sizes >= 0) if nulls else None
    return pa.StringArray.from_buffers(rows, pa.py_buffer(offsets), pa.py_buffer(out), known, nulls)


def _others(block: Block, places: np.ndarray) -> list[tuple[int, str]]:
    """Return line number and text of some lines, given by first byte and line."""
    ends = (block.text.index(b"\n", begin) for begin in places[:, 0].tolist())
    return [
        (block.first_line + line, block.text[begin:end].decode())
        for (begin, line), end in zip(places.tolist(), ends, strict=True)
    ]


class _LinesAt(NamedTuple):
    """The lines of the rows of a block, each counted from its beginning."""

    block: Block
    lines: np.ndarray

    def of_rows(self, mask: Mask) -> list[int]:
        """Return the line numbers of the rows of a mask."""
        return (self.block.first_line + self.lines[mask]).tolist()


class _LinesOf:
    """The line numbers of the rows of a block that Arrow read, looked up only when a row is bad."""

    def __init__(self, block: Block, broken: list[int]) -> None:
        self._block = block
        self._broken = np.array(broken, np.int64)

    def of_numbers(self, numbers: list[int]) -> list[int]:
        """Return the lines of rows by their number among all rows that are not blank, from 1."""
        lines = _lines_of_rows(self._block) if numbers else []
        return [lines[min(number, len(lines)) - 1] for number in numbers]

    def of_rows(self, mask: Mask) -> list[int]:
        """Return the lines of the rows of a mask over the rows that are not broken."""
        rows = np.flatnonzero(mask)
        shifted = self._broken - 1 - np.arange(len(self._broken))
        numbers = rows + 1 + np.searchsorted(shifted, rows, side="right")
        return self.of_numbers(numbers.tolist()) if len(rows) else []


def _lines_of_rows(block: Block) -> list[int]:
    """Return the number of every line that Arrow takes for a row, a line of blanks among them."""
    lines = enumerate(block.text.split(b"\n"), block.first_line)
    return [number for number, line in lines if line not in (b"", b"\r")]


def _account(path: Path, others: list[tuple[int, str]], layout: Layout, rejects: Rejects) -> None:
    """Count lines with another number of cells than the header has; comments and lines of blanks are no rows."""
    for _, text in others if layout.comments else ():
        if text.startswith("#fields") and tuple(text.split(layout.delimiter)[1:]) != layout.columns:
            expected, received = ", ".join(layout.columns), ", ".join(text.split(layout.delimiter)[1:])
            raise RecordError("The columns change in the middle of the file", str(path), expected, received)
    wrong = [line for line, text in others if text.strip() and not (layout.comments and text.startswith("#"))]
    rejects.saw(len(wrong))
    rejects.add("number_of_cells", wrong)


def _without_headers(batch: Batch, layout: Layout, rejects: Rejects) -> Batch | None:
    """Return the cells without rows that repeat the header."""
    name = next((name for name, column in batch.columns.items() if pa.types.is_string(column.type)), "")
    if not name:  # a header is no number
        return batch
    header = pc.equal(pc.utf8_trim_whitespace(batch.columns[name]), layout.own_name(name))
    repeated = pc.fill_null(header, False).to_numpy(zero_copy_only=False)
    if not repeated.any():
        return batch
    rejects.add("header_again", batch.lines(repeated))
    return chosen(batch, ~repeated)


def _closed_quotes(block: Block, rejects: Rejects) -> Block:
    """Return a block without lines that open a quote and do not close it: it would take in the lines behind it.

    They become blank, so that the others keep their numbers.
    """
    lines = block.text.split(b"\n")
    bad = [at for at, line in enumerate(lines) if line.count(b'"') % 2 == 1]
    for at in bad:
        lines[at] = b""
    rejects.saw(len(bad))
    rejects.add("open_quote", [block.first_line + at for at in bad])
    return Block(b"\n".join(lines), block.first_line) if bad else block
