"""What a dialect is: how each column of another tool is made of ours, and how its files are written."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Floats = npt.NDArray[np.float64]
US_PER_S, NS_PER_US, NS_PER_MS = 1e6, 1_000, 1_000_000


class Rows:
    """Some rows of a feature table.

    Attributes:
        count: How many.
    """

    def __init__(self, batch: pa.RecordBatch) -> None:
        self._batch = batch
        self.count = batch.num_rows

    def __getitem__(self, name: str) -> Floats:
        """Return a column of numbers, shape (count,), NaN for null."""
        return self._batch.column(name).cast(pa.float64()).to_numpy(zero_copy_only=False)

    def array(self, name: str) -> pa.Array:
        """Return a column as it is."""
        return self._batch.column(name)

    def has(self, name: str) -> bool:
        """Tell whether the table has a column: labelled ones have more."""
        return name in self._batch.schema.names

    def moment(self, name: str) -> pa.Array:
        """Return start or end in nanoseconds since 1970, int64."""
        return self._batch.column(name).cast(pa.int64())

    def total(self, name: str) -> Floats:
        """Return the sum of both directions of a column."""
        return self[f"fwd_{name}"] + self[f"bwd_{name}"]

    def duration_ns(self) -> pa.Array:
        """Return end minus start; the duration of the table where there are no times, as in some flow records."""
        exact = pc.subtract(self.moment("end"), self.moment("start"))
        rounded = pa.array(np.rint(self["duration_s"] * 1e9), from_pandas=True).cast(pa.int64(), safe=False)
        return pc.coalesce(exact, rounded)


class Field(NamedTuple):
    """A column of the other tool.

    Attributes:
        name: As the tool writes it.
        made: Returns its values, null where ours say nothing.
        kind: The tool's name of its type, where its files tell it.
    """

    name: str
    made: Callable[[Rows], pa.Array]
    kind: str = ""


@dataclass(frozen=True)
class Dialect:
    """How another tool writes flows.

    Attributes:
        name: What `--to` calls it.
        fields: Its columns in order.
        form: "separated" or "json": lines of cells, or of JSON objects that leave out what is unset.
        delimiter: Between cells.
        unset: Cell for no value.
        header: Returns the lines before the first row; the cells' names where it is None.
        footer: Returns the lines behind the last row.
    """

    name: str
    fields: tuple[Field, ...]
    form: str = "separated"
    delimiter: str = ","
    unset: str = ""
    header: Callable[[str], str] | None = None
    footer: Callable[[str], str] | None = None


def whole(values: Floats) -> pa.Array:
    """Return numbers as integers, null for NaN."""
    return pa.array(np.rint(values), from_pandas=True).cast(pa.int64(), safe=False)


def real(values: Floats) -> pa.Array:
    """Return numbers with the 24 bits that the feature table keeps of them, null for NaN."""
    return pa.array(values.astype(np.float32), from_pandas=True)


def column(name: str) -> Callable[[Rows], pa.Array]:
    """Return a maker that takes a column of counts over."""
    return lambda rows: whole(rows[name])


def same(name: str) -> Callable[[Rows], pa.Array]:
    """Return a maker that takes a column over as it is."""
    return lambda rows: rows.array(name)


def always(value: str | int | None) -> Callable[[Rows], pa.Array]:
    """Return a maker of one value, None for unset."""
    return lambda rows: pa.nulls(rows.count, pa.string()) if value is None else pa.array([value] * rows.count)


def of_sample(deviation: Floats, count: Floats) -> Floats:
    """Return the deviation of a sample, which is 0 of one value, from that of the population."""
    return deviation * np.sqrt(np.maximum(count, 1) / np.maximum(count - 1, 1))


def zero_without(values: Floats, count: Floats) -> Floats:
    """Return the values, 0 where there is nothing that they could be of."""
    return np.where(count <= 0, 0.0, values)


def both(rows: Rows, statistic: str, packets: tuple[Floats, Floats]) -> tuple[Floats, Floats]:
    """Return mean and deviation of both directions from those of each.

    Args:
        rows: Of the table.
        statistic: "length" or "payload".
        packets: Of each direction.
    """
    count = packets[0] + packets[1]
    total, squares = np.zeros(rows.count), np.zeros(rows.count)
    for side, number in zip(("fwd", "bwd"), packets, strict=True):
        mean, deviation = (zero_without(rows[f"{side}_{statistic}_{name}"], number) for name in ("mean", "std"))
        total += number * mean
        squares += number * (deviation * deviation + mean * mean)
    mean = total / np.where(count > 0, count, np.nan)
    return mean, np.sqrt(np.maximum(squares / np.where(count > 0, count, np.nan) - mean * mean, 0.0))
