"""What payloads say of flows that wait for their neighbours: rows that are given a number each and taken by it."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from features.arrow import numbers
from features.kernel_types import NEVER
from features.payload.columns import PAYLOAD_SCHEMA

LARGEST_NUMBER = (1 << 31) - 1
"""Behind it the numbers begin again at 0."""


class Waiting:
    """Rows of the columns of the group "payload", in the order of their numbers.

    They are taken nearly in that order; what lies between two that wait is kept until the first of them is taken.
    """

    def __init__(self) -> None:
        self._rows = pa.Table.from_batches([], PAYLOAD_SCHEMA)
        self._taken = np.zeros(0, np.bool_)
        self._first = 0

    def add(self, rows: pa.RecordBatch) -> None:
        """Add rows that are numbered next."""
        self._rows = pa.concat_tables([self._rows, pa.Table.from_batches([rows])])
        self._taken = np.append(self._taken, np.zeros(rows.num_rows, np.bool_))

    def take(self, wanted: npt.NDArray[np.integer]) -> dict[str, pa.Array]:
        """Return the columns of rows by their numbers, null for NEVER, and forget those rows."""
        known = wanted != NEVER
        if not known.any():
            return {field.name: pa.nulls(len(wanted), field.type) for field in PAYLOAD_SCHEMA}
        places = np.where(known, wanted.astype(np.int64) - self._first & LARGEST_NUMBER, 0)
        taken = self._rows.take(numbers(places, known))
        self._taken[places[known]] = True
        waits = np.flatnonzero(~self._taken)
        done = int(waits[0]) if len(waits) else len(self._taken)
        self._rows, self._taken = self._rows.slice(done), self._taken[done:]
        self._first = self._first + done & LARGEST_NUMBER
        return {name: column.combine_chunks() for name, column in zip(taken.column_names, taken.columns, strict=True)}

    def kept(self) -> dict[str, npt.NDArray[np.generic]]:
        """Return what another pass needs to go on, by name."""
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, PAYLOAD_SCHEMA) as stream:
            stream.write_table(self._rows)
        rows = np.frombuffer(sink.getvalue(), np.uint8)
        return {"payload.rows": rows, "payload.taken": self._taken, "payload.first": np.array([self._first])}

    def go_on(self, arrays: Mapping[str, npt.NDArray[np.generic]]) -> None:
        """Take up what an earlier pass kept, as bytes."""
        with pa.ipc.open_stream(pa.py_buffer(arrays["payload.rows"])) as stream:
            self._rows = stream.read_all()
        self._taken = arrays["payload.taken"].view(np.bool_).copy()
        self._first = int(arrays["payload.first"].view(np.int64)[0])
