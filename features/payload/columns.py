"""Facts of flows to columns of the feature table: null for the flows, and for the values, that say nothing."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from features.arrow import numbers, texts
from features.kernel_types import NEVER
from features.payload.facts import Facts
from features.schema import COLUMNS, arrow_schema

PAYLOAD_TYPES = {column.name: arrow_schema().field(column.name).type for column in COLUMNS if column.group == "payload"}


def payload_columns(rows: int, places: npt.NDArray[np.int64], facts: Sequence[Facts]) -> dict[str, pa.Array]:
    """Return every column of the group "payload", shape (rows,).

    Args:
        rows: Flows in all.
        places: Rows of the flows whose payload says something, shape (n,).
        facts: What it says, n of them.
    """
    said: dict[str, tuple[list[int], list[str | int | float]]] = {name: ([], []) for name in PAYLOAD_TYPES}
    for place, one in zip(places.tolist(), facts, strict=True):
        for name, value in one.items():
            known, values = said[name]
            known.append(place)
            values.append(value)
    return {name: _sparse(rows, *said[name], kind) for name, kind in PAYLOAD_TYPES.items()}


def _sparse(rows: int, places: list[int], values: list[str | int | float], kind: pa.DataType) -> pa.Array:
    """Return values at their places, null elsewhere."""
    if not values:
        return pa.nulls(rows, kind)
    indices = np.full(rows, NEVER)
    indices[places] = np.arange(len(values))
    told = texts(map(str, values)) if kind == pa.string() else numbers(np.array(values)).cast(kind)
    return told.take(numbers(indices, indices != NEVER))
