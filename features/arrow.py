"""Arrow arrays by their buffers: pyarrow.array and pyarrow.scalar import pandas, a third of a second a process."""

from collections.abc import Iterable
from itertools import accumulate

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Mask = npt.NDArray[np.bool_]


def bitmap(known: Mask) -> pa.Buffer | None:
    """Return what marks the values that are not null, None where all are."""
    return None if known.all() else pa.py_buffer(np.packbits(known, bitorder="little"))


def numbers(values: npt.NDArray[np.generic], known: Mask | None = None) -> pa.Array:
    """Return integers or floats, shape (n,), as of the type that NumPy has them in, null where they are not known."""
    marks = None if known is None else bitmap(known)
    buffers = [marks, pa.py_buffer(np.ascontiguousarray(values))]
    return pa.Array.from_buffers(pa.from_numpy_dtype(values.dtype), len(values), buffers)


def texts(values: Iterable[str]) -> pa.Array:
    """Return texts."""
    encoded = [value.encode() for value in values]
    ends = np.array([0, *accumulate(map(len, encoded))], np.int32)
    return pa.Array.from_buffers(pa.string(), len(encoded), [None, pa.py_buffer(ends), pa.py_buffer(b"".join(encoded))])
