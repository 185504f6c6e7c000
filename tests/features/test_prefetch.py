"""Prefetching changes nothing but the time that something takes."""

import numpy as np
from numba import njit

from features.prefetch import prefetch


@njit
def total(values: np.ndarray, ahead: int) -> int:
    found = 0
    for index in range(len(values)):
        prefetch(values, min(index + ahead, len(values) - 1), 0)
        found += values[index]
    return found


def test_values_stay_as_they_are() -> None:
    """A sum over an array is the same with its elements asked for ahead."""
    values = np.arange(1000)
    assert total(values, 8) == 499_500
    assert values.tolist() == list(range(1000))
