"""Rows that wait: taken by their numbers, in any order, across batches, a pause and the numbers' beginning anew."""

import numpy as np
import pyarrow as pa
import pytest

from features.kernel_types import NEVER
from features.payload.columns import PAYLOAD_SCHEMA
from features.payload.waiting import LARGEST_NUMBER, Waiting


def rows(first: int, count: int) -> pa.RecordBatch:
    """Return rows that say their number: as a text where it is even, as a status where it is odd."""
    numbers = range(first, first + count)
    said = {
        "http_host": [str(number) if number % 2 == 0 else None for number in numbers],
        "http_status": [number if number % 2 else None for number in numbers],
    }
    columns = [pa.array(said.get(field.name, [None] * count), field.type) for field in PAYLOAD_SCHEMA]
    return pa.RecordBatch.from_arrays(columns, schema=PAYLOAD_SCHEMA)


def taken(waiting: Waiting, wanted: list[int]) -> list[int | None]:
    """Return the numbers that the rows taken say, None where all of a row is null."""
    columns = waiting.take(np.array(wanted, np.int32))
    assert list(columns) == PAYLOAD_SCHEMA.names
    found = pa.RecordBatch.from_arrays(list(columns.values()), schema=PAYLOAD_SCHEMA).to_pylist()
    said = [{name: value for name, value in row.items() if value is not None} for row in found]
    return [next((int(value) for value in one.values()), None) for one in said]


def test_in_any_order() -> None:
    """Each number brings its own row, NEVER one of nulls, whatever was taken before."""
    waiting = Waiting()
    waiting.add(rows(0, 5))
    assert taken(waiting, [3, NEVER, 0]) == [3, None, 0]
    waiting.add(rows(5, 5))
    assert taken(waiting, [7, 1, 2]) == [7, 1, 2]
    waiting.add(rows(10, 2))
    assert taken(waiting, []) == []
    assert taken(waiting, [11, 4, NEVER, 9]) == [11, 4, None, 9]
    assert taken(waiting, [5, 6, 8, 10]) == [5, 6, 8, 10]
    assert taken(waiting, [NEVER]) == [None]


def test_pause() -> None:
    """What is kept as bytes goes on where it was."""
    waiting, further = Waiting(), Waiting()
    waiting.add(rows(0, 6))
    taken(waiting, [0, 1, 3])
    further.go_on({name: np.frombuffer(array.tobytes(), np.uint8) for name, array in waiting.kept().items()})
    further.add(rows(6, 2))
    assert taken(further, [7, 2, 4]) == [7, 2, 4]


@pytest.mark.parametrize("before", [0, 1, 3])
def test_numbers_begin_anew(before: int) -> None:
    """Behind the largest number comes 0."""
    waiting = Waiting()
    waiting.go_on(Waiting().kept() | {"payload.first": np.array([LARGEST_NUMBER - 2])})
    waiting.add(rows(0, 6))
    wanted = [LARGEST_NUMBER - 2, LARGEST_NUMBER - 1, LARGEST_NUMBER, 0, 1, 2]
    assert taken(waiting, wanted[:before]) == list(range(before))
    assert taken(waiting, wanted[before:]) == list(range(before, 6))
