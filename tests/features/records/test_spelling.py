"""Columns that were renamed on their way."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.records.extraction import extract_records
from features.records.sources.known import ADAPTERS
from features.records.sources.unsw import UNSW_NB15
from features.records.spelling import spelled, told_by

Rows = list[dict[str, Any]]
CONN: dict[str, str | int | float] = {
    "ts": 1600000000.5, "uid": "C1", "id.orig_h": "10.0.0.1", "id.orig_p": 40000, "id.resp_h": "10.0.0.2",
    "id.resp_p": 443, "proto": "tcp", "duration": 2.0, "conn_state": "SF", "orig_pkts": 6, "resp_pkts": 5,
}  # fmt: skip


def nested(row: dict[str, Any]) -> dict[str, Any]:
    ends = {name.removeprefix("id."): value for name, value in row.items() if name.startswith("id.")}
    return {"id": ends} | {name: value for name, value in row.items() if not name.startswith("id.")}


@pytest.mark.parametrize("form", ["csv", "json", "nested", "parquet"])
def test_renamed_columns_say_the_same(rows_of: Callable[..., Rows], tmp_path: Path, form: str) -> None:
    """Underscores for dots, capitals and nested keys give the row that Zeek's own names give."""
    renamed = {name.replace(".", "_").upper(): value for name, value in CONN.items()}
    if form == "parquet":
        pq.write_table(pa.table({name: [value] for name, value in renamed.items()}), tmp_path / "records")
        (row,) = (row for batch in extract_records([tmp_path / "records"]) for row in batch.to_pylist())
    else:
        csv = ",".join(renamed) + "\n" + ",".join(map(str, renamed.values())) + "\n"
        text = {"csv": csv, "json": json.dumps(renamed) + "\n", "nested": json.dumps(nested(CONN)) + "\n"}
        (row,) = rows_of(text[form])
    assert row == rows_of(json.dumps(CONN) + "\n")[0]


def test_a_name_that_is_there_is_nobody_elses() -> None:
    """A column keeps its name where another one has the adapter's spelling, and where the adapter knows it itself."""
    assert spelled(("Stime", "STIME", "Spkts", "x y"), UNSW_NB15) == ("Stime", "STIME", "Spkts", "x y")
    assert spelled(("stime", "SPKTS"), UNSW_NB15) == ("Stime", "spkts")


def test_no_adapter_knows_the_columns_of_nothing() -> None:
    """Columns of no known tool are told as of none."""
    assert told_by(("a", "b"), ADAPTERS) is None
