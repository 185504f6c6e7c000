"""The cell kernel: its numbers are Python's, its cells are Arrow's."""

from pathlib import Path

import numpy as np
import pytest

from features.records.detect import detect
from features.records.reading import read_batches
from features.records.rejects import Rejects

COLUMNS = ("Timestamp", "Flow Duration", "Total Fwd Packets", "Flow IAT Mean", "Other", "Label")


def written(folder: Path, lines: list[str], end: str = "\n") -> Path:
    """Write a file of CICFlowMeter's names of 2017."""
    path = folder / "flows.csv"
    path.write_text(end.join([",".join(COLUMNS), *lines, ""]), newline="")
    return path


def read(path: Path) -> tuple[dict[str, list[object]], dict[str, int], list[tuple[int, str]]]:
    """Return the columns of a file, what was counted, and line and reason of rows left out."""
    rejects = Rejects(10, 1.0)
    rejects.begin(path)
    (batch,) = read_batches(path, detect(path), rejects)
    columns = {name: column.to_pylist() for name, column in batch.columns.items()}
    return columns, dict(rejects.counts), [(one.line, one.reason) for one in rejects.kept]


def numbers_as_written() -> list[str]:
    """Return numbers as programs write them, among them halves between two doubles and powers far away."""
    draw = np.random.default_rng(7)
    doubles = draw.integers(900 << 52, 1150 << 52, 5000).view(np.float64)
    halves = (2 * draw.integers(1 << 52, 1 << 53, 2000) + 1).tolist()
    places = draw.integers(12, size=5000)
    return [
        *map(repr, doubles.tolist()),
        *(str(half * 2**shift) for half in halves for shift in (0, 5)),
        *(f"{half}e-{power}" for half in halves for power in (1, 17, 23)),
        *(f"{value * 10 ** (size % 8):.{size}f}" for value, size in zip(draw.random(5000), places, strict=True)),
        *("0", "-0", "1.", ".5", "+7", "1E-3", "00012.50", "9007199254740993", "  4 ", "0.000000000000000000012"),
    ]


def test_numbers_are_exact(tmp_path: Path) -> None:
    """Every number is the double that Python reads, to the bit."""
    texts = numbers_as_written()
    path = written(tmp_path, [f"2017-07-03 08:00:00,{text},1,1,x,BENIGN" for text in texts])
    columns, counts, _ = read(path)
    assert counts == {}
    got, expected = np.array(columns["Flow Duration"]), np.array([float(text) for text in texts])
    assert got.dtype == np.float64  # no cell was taken for text
    np.testing.assert_array_equal(got.view(np.int64), expected.view(np.int64))


ODD_LINES = [
    "2017-07-03 08:00:00,1,2,3.5,x,BENIGN",
    "",
    "2017-07-03 08:00:01,NaN,,-inf,x,",
    "too,few",
    ",,,,,",
    "2017-07-03 08:00:02,5,6,Infinity,y,Web \u2013 Attack",
    "2017-07-03 08:00:03,5,6,7,y,DoS,one,more",
    "2017-07-03 08:00:04,12345678901234567890123,6,7,,-",
]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_cells_are_as_arrow_reads_them(tmp_path: Path, end: str) -> None:
    """A quoted cell, for which Arrow's reader is taken, changes nothing: values, nulls, lines, reasons."""
    ours = read(written(tmp_path, ODD_LINES, end))
    quoted = [*ODD_LINES[:5], ODD_LINES[5].replace(",y,", ',"y",'), *ODD_LINES[6:]]
    theirs = read(written(tmp_path, quoted, end))
    minus_infinity = {
        name: [None if value in (float("inf"), -float("inf")) else value for value in values]
        for name, values in theirs[0].items()
    }
    assert ours[0]["Label"] == ["BENIGN", None, None, "Web \u2013 Attack", None]
    assert ours[2] == [(5, "number_of_cells"), (8, "number_of_cells")]
    assert (ours[1], ours[2]) == theirs[1:]
    assert {name: list(map(as_number, values)) for name, values in ours[0].items()} == {
        name: list(map(as_number, values)) for name, values in minus_infinity.items()
    }


def as_number(value: object) -> object:
    """Return a text that is a number as that number."""
    try:
        return None if value is None else float(str(value))
    except ValueError:
        return value


def test_one_odd_cell_costs_its_column_alone(tmp_path: Path) -> None:
    """Where a cell is no number its column is read as text, the others stay numbers."""
    columns, _, _ = read(written(tmp_path, ["2017-07-03 08:00:00,ten,2,3,x,BENIGN", ODD_LINES[0]]))
    assert (columns["Flow Duration"], columns["Flow IAT Mean"]) == (["ten", "1"], [3.0, 3.5])
