"""Feature columns that need no neighbours, of finished flows and of flow records, made by the column kernel.

A value that does not exist is NaN here and null in Parquet.
"""

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from features.column_kernel import (
    FLOW_NAMES,
    ICMP,
    ICMPV6,
    SAID,
    SAID_NAMES,
    SCTP,
    TCP,
    TOTAL_NAMES,
    TOTALS,
    UDP,
    mark_known,
    write_flows,
    write_records,
)
from features.kernel_types import NEVER
from features.metering.flow_record import Fields
from features.service import CATEGORIES

__all__ = ["FLOW_NAMES", "ICMP", "ICMPV6", "SAID_NAMES", "SCTP", "TCP", "TOTAL_NAMES", "UDP", "Columns", "Values"]

Values = npt.NDArray[np.float32]
Columns = dict[str, Values]

LINE_FLOATS = 16


def flow_columns(flows: npt.NDArray[np.void]) -> Columns:
    """Return every feature column that needs no neighbours, of FLOW rows, shape (n,) each."""
    out = column_block(len(FLOW_NAMES), len(flows))
    write_flows(flows, np.zeros(1, TOTALS), CATEGORIES, out)
    return dict(zip(FLOW_NAMES, out[:, : len(flows)], strict=True))


def said_columns(said: dict[str, npt.NDArray[np.float64]], rows: int) -> Columns:
    """Return the columns that follow from a flow's totals, shape (rows,) each.

    Args:
        said: What records say, some of SAID_NAMES, shape (rows,) each, NaN where a row does not.
        rows: How many there are.
    """
    values = np.stack([*said.values()]) if said else np.empty((0, rows))
    places = np.array([SAID_NAMES.index(name) for name in said], np.int64)
    out = column_block(len(TOTAL_NAMES), rows)
    row = np.full(len(SAID_NAMES), np.nan).view(SAID)
    write_records(values, places, row, np.zeros(1, TOTALS), CATEGORIES, out)
    return dict(zip(TOTAL_NAMES, out[:, :rows], strict=True))


def column_block(columns: int, rows: int) -> Values:
    """Return room for columns side by side, none in the cache lines of its neighbours: shape (columns, rows or more).

    Their distance is an odd number of lines, so that the places of a row do not all fall into the same part of a cache.
    """
    lines = rows // LINE_FLOATS + 1 | 1
    return np.empty((columns, lines * LINE_FLOATS), np.float32)


def nullable(values: npt.NDArray[np.generic]) -> pa.Array:
    """Return values as 32-bit floats, null where they are NaN."""
    floats = np.ascontiguousarray(values, np.float32)
    rows = len(floats)
    marks = np.empty(-(-rows // 8), np.uint8)
    unknown = mark_known(floats, marks)
    if unknown == rows:
        return nothing(rows)
    known = pa.py_buffer(marks) if unknown else None
    return pa.Array.from_buffers(pa.float32(), rows, [known, pa.py_buffer(floats)], unknown)


@lru_cache(maxsize=2)
def nothing(rows: int) -> pa.Array:
    """Return a feature column without a value."""
    return pa.nulls(rows, pa.float32())


def failed(flows: Fields | npt.NDArray[np.void]) -> npt.NDArray[np.bool_]:
    """Return True for flows that got no useful answer: nothing came back, or TCP without handshake and payload."""
    silent = flows["packets"][:, 1] == 0
    refused = (flows["protocol"] == TCP) & (flows["established"] == 0) & (flows["payload_bytes"][:, 1] == 0)
    return silent | (refused & (flows["syn_ns"] != NEVER))


def has_ports(flows: Fields | npt.NDArray[np.void]) -> npt.NDArray[np.bool_]:
    """Return True for flows of a protocol with ports."""
    protocol: npt.NDArray[Any] = flows["protocol"]
    return (protocol == TCP) | (protocol == UDP) | (protocol == SCTP)
