"""TCP facts from flags as numbers, and from short texts (letters, histories, hexadecimal), each read once."""

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.records.adapter import Floats


def has(column: pa.Array, test: Callable[[str], bool]) -> Floats:
    """Return 1 where a text passes a test, 0 where it does not, NaN where there is none."""
    return read(column, lambda text: float(test(text)))


def read(column: pa.Array, number: Callable[[str], float]) -> Floats:
    """Return the number that each text stands for, NaN where it is none (a ValueError) or there is no text."""
    encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    table = np.array([*(_or_nan(text, number) for text in encoded.dictionary.to_pylist()), np.nan])
    return table[pc.fill_null(encoded.indices, len(table) - 1).to_numpy(zero_copy_only=False)]


def _or_nan(text: str, number: Callable[[str], float]) -> float:
    try:
        return number(text)
    except ValueError:
        return np.nan


def only_tcp(values: Floats, protocol: Floats) -> Floats:
    """Return the values of TCP records, NaN for others."""
    return np.where(protocol == 6, values, np.nan)


def bits(flags: Floats, mask: int) -> Floats:
    """Return 1 where all bits of a mask are set, NaN where there are no flags at all: some exporters leave them out."""
    known = flags > 0
    bits = np.where(known, flags, 0).astype(np.int64)
    return np.where(known, (bits & mask == mask).astype(np.float64), np.nan)


def bit(column: pa.Array, mask: int) -> Floats:
    """Return 1 where a hexadecimal text such as 1b has all bits of a mask, NaN where it is no such text."""
    values = has(column, lambda text: _flags(text) & mask == mask)
    return np.where(has(column, lambda text: _flags(text) >= 0) == 1, values, np.nan)


def _flags(text: str) -> int:
    try:
        return int(text, 16)
    except ValueError:
        return -1
