"""Sorting in runs against NumPy's sort of everything."""

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from features.records.ordering import by_end


@settings(deadline=None, max_examples=60)
@given(st.lists(st.lists(st.integers(0, 20), min_size=1, max_size=30), max_size=12), st.integers(1, 40))
def test_runs_of_any_length_give_the_order_of_one_sort(parts: list[list[int]], run_rows: int) -> None:
    """All rows come back by end, those of equal end as they were given."""
    ends = np.array([end for part in parts for end in part], np.int64)
    numbers = iter(range(len(ends)))
    batches = [
        pa.record_batch({"end": pa.array(part, pa.int64()), "row": pa.array([next(numbers) for _ in part], pa.int64())})
        for part in parts
    ]
    found = [row for batch in by_end(batches, run_rows) for row in batch.column("row").to_pylist()]
    assert found == np.argsort(ends, kind="stable").tolist()
