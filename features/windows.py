"""Sliding windows over groups of rows: bounds, sums, moments and distinct counts, exact whatever the batch borders.

Rows are sorted by group and then by time. Sums are over integers, so a window's value does not depend on where the
array began: adding and subtracting integers is exact, floats are not.
"""

from dataclasses import dataclass

import numba
import numpy as np
import numpy.typing as npt
import pyarrow as pa

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]


def dense(values: Hashes | Integers) -> Integers:
    """Return for each value its number among the different values, from 0, in the order in which they first come."""
    return pa.array(values).dictionary_encode().indices.to_numpy().astype(np.int64)


def grouped(ids: Integers) -> Integers:
    """Return the order that puts equal dense ids side by side and else changes nothing: a counting sort."""
    return _counting_order(ids, np.bincount(ids))


@dataclass(frozen=True)
class Windows:
    """For each row the half-open range [low, high) of rows of its group within a time of it; shape (n,) each."""

    low: Integers
    high: Integers

    @classmethod
    def around(cls, group: Integers, time_ns: Integers, reach_ns: int) -> "Windows":
        """Return windows that reach `reach_ns` before and after each row, both ends included."""
        return cls(*_bounds(group, time_ns, reach_ns))

    def count(self) -> Floats:
        """Return the number of rows in each window, the row itself included."""
        return (self.high - self.low).astype(np.float64)

    def total(self, values: Integers) -> Floats:
        """Return the sum of integer `values` over each window."""
        running = np.concatenate([[0], np.cumsum(values)])
        return (running[self.high] - running[self.low]).astype(np.float64)

    def moments(self, values: Integers) -> tuple[Floats, Floats]:
        """Return mean and population standard deviation of integer `values`; NaN for an empty window."""
        count = np.where(self.high > self.low, self.count(), np.nan)
        mean = self.total(values) / count
        variance = self.total(values * values) / count - mean * mean
        return mean, np.sqrt(np.maximum(variance, 0.0))

    def without_first(self) -> "Windows":
        """Return the windows without their first row: for values that join a row to the one before it."""
        return Windows(np.minimum(self.low + 1, self.high), self.high)

    def distinct(self, group: Integers, ids: Integers) -> Floats:
        """Return how many different `ids` (dense, from 0) occur in each window."""
        counters = np.zeros(int(ids.max()) + 1 if len(ids) else 1, np.int32)
        return _distinct(group, self.low, self.high, ids, counters).astype(np.float64)


@numba.njit(cache=True, nogil=True)
def _counting_order(ids: Integers, counts: Integers) -> Integers:
    places = np.cumsum(counts) - counts
    order = np.empty(len(ids), np.int64)
    for row in range(len(ids)):
        order[places[ids[row]]] = row
        places[ids[row]] += 1
    return order


@numba.njit(cache=True, nogil=True)
def _bounds(group: Integers, time_ns: Integers, reach_ns: int) -> tuple[Integers, Integers]:
    count = len(group)
    low = np.empty(count, np.int64)
    high = np.empty(count, np.int64)
    first = last = 0
    for row in range(count):
        if group[row] != group[first]:
            first = row
        last = max(last, row)
        while time_ns[row] - time_ns[first] > reach_ns:
            first += 1
        while last < count and group[last] == group[row] and time_ns[last] - time_ns[row] <= reach_ns:
            last += 1
        low[row], high[row] = first, last
    return low, high


@numba.njit(cache=True, nogil=True)
def _distinct(
    group: Integers, low: Integers, high: Integers, ids: Integers, counters: npt.NDArray[np.int32]
) -> Integers:
    out = np.empty(len(group), np.int64)
    left = right = different = 0
    for row in range(len(group)):
        while right < high[row]:
            different += counters[ids[right]] == 0
            counters[ids[right]] += 1
            right += 1
        while left < low[row]:
            counters[ids[left]] -= 1
            different -= counters[ids[left]] == 0
            left += 1
        out[row] = different
    return out
