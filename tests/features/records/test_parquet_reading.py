"""Parquet files with columns of every type, and damaged ones."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.errors import RecordError
from features.records.extraction import extract_records

START = datetime(2020, 9, 13, 12, 26, 40, 123456, UTC)
CONN: dict[str, Any] = {
    "ts": pa.array([START], pa.timestamp("us", "UTC")),
    "id.orig_h": ["10.0.0.1"],
    "id.orig_p": pa.array([40_000], pa.uint16()),
    "id.resp_h": ["10.0.0.2"],
    "id.resp_p": [443.0],
    "proto": pa.array(["tcp"]).dictionary_encode(),
    "duration": [1.5],
    "conn_state": ["SF"],
    "orig_pkts": pa.array([5], pa.uint64()),
}


def rows(path: Path, columns: dict[str, Any]) -> list[dict[str, Any]]:
    pq.write_table(pa.table(columns), path)
    return [row for batch in extract_records([path]) for row in batch.to_pylist()]


@pytest.mark.parametrize(
    "other",
    [
        {"ts": pa.array([START.timestamp()])},
        {"ts": pa.array([START.replace(tzinfo=None)], pa.timestamp("ns"))},
        {"ts": pa.array([START], pa.timestamp("ms", "Europe/Prague"))},
        {"duration": pa.array([timedelta(seconds=1.5)], pa.duration("ns"))},
        {"duration": pa.array([Decimal("1.500")])},
        {"id.orig_h": pa.array(["10.0.0.1"], pa.large_string())},
        {"id.orig_h": pa.array([b"10.0.0.1"])},
        {"orig_pkts": pa.array(["5"])},
        {"orig_bytes": pa.array(["-"])},
    ],
    ids=lambda other: " ".join(f"{name} {values.type}" for name, values in other.items()),
)
def test_columns_of_any_type_say_the_same(tmp_path: Path, other: dict[str, Any]) -> None:
    """Times, durations, decimals, bytes and texts are read for what they are, and unset markers in texts are null."""
    (expected,) = rows(tmp_path / "conn", CONN)
    (row,) = rows(tmp_path / "conn", CONN | other)
    exact = "ts" not in other or other["ts"].type != pa.timestamp("ms", "Europe/Prague")
    assert row == (expected if exact else expected | {name: row[name] for name in ("start", "end")})
    assert abs(row["start"] - expected["start"]) < timedelta(milliseconds=1)


def test_durations_are_in_the_unit_of_the_source(tmp_path: Path) -> None:
    """CICFlowMeter counts microseconds: a typed duration is no longer than a number of them."""
    flow = {"Flow Duration": pa.array([timedelta(seconds=2)]), "Total Fwd Packets": [3], "Flow IAT Mean": [5]}
    (row,) = rows(tmp_path / "flows", flow)
    assert row["duration_s"] == 2


def test_parts_of_structs_are_columns(tmp_path: Path) -> None:
    """Ends in a struct `id` are those of columns `id.orig_h` and so on."""
    ends = {name.removeprefix("id."): pa.array(CONN[name])[0].as_py() for name in CONN if name.startswith("id.")}
    whole = {name: column for name, column in CONN.items() if not name.startswith("id.")}
    assert rows(tmp_path / "conn", whole | {"id": [ends]}) == rows(tmp_path / "conn", CONN)


def test_damage_is_told(tmp_path: Path) -> None:
    """A page that cannot be read is one clear error, as a footer that is not there is."""
    path = tmp_path / "conn"
    rows(path, CONN)
    whole = path.read_bytes()
    for damaged in (whole[:-40], whole[:20] + b"\xff" * 200 + whole[220:]):
        path.write_bytes(damaged)
        with pytest.raises(RecordError, match="Parquet"):
            list(extract_records([path]))
