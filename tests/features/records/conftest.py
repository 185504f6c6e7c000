"""Record files made of text, and their feature rows as Python values."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from features.records.extraction import extract_records
from features.records.settings import RecordSettings

Rows = list[dict[str, Any]]


@pytest.fixture
def record_file(tmp_path: Path) -> Callable[..., Path]:
    """Write text or bytes to a file whose name says nothing."""

    def write(content: str | bytes, name: str = "records") -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


@pytest.fixture
def rows_of(record_file: Callable[..., Path]) -> Callable[..., Rows]:
    """Extract the feature rows of a text and check what holds for every source: rows in are rows out and rejects."""

    def rows(content: str | bytes, settings: RecordSettings = RecordSettings()) -> Rows:  # noqa: B008 (frozen)
        extraction = extract_records([record_file(content)], settings)
        batches = list(extraction)
        counts = extraction.counts
        rejected = sum(count for name, count in counts.items() if name.startswith("rejected."))
        assert counts["rows_read"] == counts["rows_out"] + rejected
        assert counts["rows_out"] == sum(batch.num_rows for batch in batches)
        return pa.Table.from_batches(batches).to_pylist() if batches else []

    return rows
