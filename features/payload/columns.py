"""Facts of flows to columns of the feature table: null for the flows, and for the values, that say nothing."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

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
    columns = {}
    for name, kind in PAYLOAD_TYPES.items():
        known = [(place, one[name]) for place, one in zip(places.tolist(), facts, strict=True) if name in one]
        columns[name] = _sparse(rows, [place for place, _ in known], [value for _, value in known], kind)
    return columns


def _sparse(rows: int, places: list[int], values: list[str | int | float], kind: pa.DataType) -> pa.Array:
    """Return values at their places, null elsewhere."""
    if not values:
        return pa.nulls(rows, kind)
    indices = np.full(rows, len(values))
    indices[places] = np.arange(len(values))
    return pa.array([*values, None], kind).take(pa.array(indices))
