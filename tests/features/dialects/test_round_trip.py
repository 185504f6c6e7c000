"""What is written in another tool's columns says the same when it is read back as that tool's records."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from features.dialects.known import DIALECTS
from features.dialects.writing import write_dialect
from features.extract import extract
from features.metering.meter import MeterSettings
from features.records.extraction import extract_records
from features.schema import COLUMNS, FEATURE_NAMES, Column
from tests.features.metering.test_meter import CAPTURE, SHORT, Timed, traffic, write

RESOLUTION_S = {"cicflowmeter": 1e-6, "nfstream": 1e-3, "zeek": 1e-6, "zeek-json": 1e-6}
KEY = ("src_ip", "src_port", "dst_ip", "dst_port", "protocol")
TIE = ("fwd_packets", "bwd_packets", "fwd_bytes", "bwd_bytes")
OUTCOMES = "tcp_"
OF_TIMES = ("_per_s", "_s", "gap_variation")
COMPARED = tuple(column for column in COLUMNS if column.group != "context" and column.role != "identity")
ORDERLY = tuple(column for column in COMPARED if not column.name.startswith(OUTCOMES))
OF_ZEEK = tuple(column for column in ORDERLY if "payload" not in column.name)
Row = dict[str, Any]


def table_of(captures: Sequence[Path], limits: MeterSettings) -> list[pa.RecordBatch]:
    """Meter captures into the feature table's rows."""
    return list(extract(captures, limits))


def read_back(batches: Sequence[pa.RecordBatch], dialect: str, path: Path) -> list[pa.RecordBatch]:
    """Write rows in a dialect and read the file as another tool's records."""
    write_dialect(batches, DIALECTS[dialect], path)
    return list(extract_records([path]))


def rows_of(batches: Sequence[pa.RecordBatch], resolution_s: float) -> list[Row]:
    """Return rows in an order that both tables have: by key and start as far as the dialect tells it, then by size."""
    rows = [row for batch in batches for row in batch.to_pylist()]
    resolution_ns = round(resolution_s * 1e9)

    def order(row: Row) -> list[Any]:
        start = 0 if row["start"] is None else row["start"].value // resolution_ns
        return [*(str(row[name]) for name in KEY), start, *(row[name] or -1 for name in TIE)]

    return sorted(rows, key=order)


def assert_alike(
    ours: Sequence[pa.RecordBatch], theirs: Sequence[pa.RecordBatch], dialect: str, columns: Sequence[Column] = COMPARED
) -> set[str]:
    """Compare every column that both tables tell; returns those that were told at least once."""
    resolution_s, told = RESOLUTION_S[dialect], set()
    left, right = rows_of(ours, resolution_s), rows_of(theirs, resolution_s)
    assert len(left) == len(right)
    for one, other in zip(left, right, strict=True):
        assert [one[name] for name in KEY] == [other[name] for name in KEY]
        assert abs(one["start"].value - other["start"].value) < resolution_s * 1e9
        for column in columns:
            value, again = one[column.name], other[column.name]
            if value is not None and again is not None:
                told.add(column.name)
                assert _close(column.name, value, again, one, resolution_s), (column.name, value, again, one)
    return told


def _close(name: str, value: Any, again: Any, row: Row, resolution_s: float) -> bool:
    """Tell whether values are equal to the 24 bits of a feature, times also to what the dialect resolves."""
    if isinstance(value, str):
        return bool(value == again)
    slack = 0.0
    if name.endswith("_per_s"):
        slack = value * resolution_s / max(row["duration_s"], resolution_s)
    elif name.endswith(OF_TIMES):
        slack = resolution_s
    elif "_std" in name:  # two roots of differences of squares
        slack = 2e-3 * (1 + abs(value))
    return bool(np.isclose(value, again, rtol=2e-5, atol=slack))


@pytest.fixture(scope="module")
def recorded() -> list[pa.RecordBatch]:
    """The first flows of a recorded capture."""
    return pa.Table.from_batches(table_of([CAPTURE], MeterSettings())).slice(0, 1500).combine_chunks().to_batches()


EXPECTED = {
    "cicflowmeter": {"fwd_bytes", "bwd_payload_bytes", "fwd_gap_std_s", "gap_min_s", "bwd_window_first", "is_udp"},
    "nfstream": {"fwd_bytes", "fwd_length_min", "bwd_gap_max_s", "fwd_psh_packets", "tcp_refused", "length_std"},
    "zeek": {"fwd_bytes", "bwd_payload_bytes", "history", "conn_state", "tcp_refused", "tcp_established"},
    "zeek-json": {"fwd_bytes", "bwd_payload_bytes", "history", "conn_state", "tcp_refused", "is_icmp_echo"},
}


@pytest.mark.parametrize("dialect", sorted(DIALECTS))
def test_recorded_traffic(dialect: str, recorded: list[pa.RecordBatch], tmp_path: Path) -> None:
    """Of 1,500 flows of a recorded capture every column that the dialect tells is what the packets gave."""
    told = assert_alike(recorded, read_back(recorded, dialect, tmp_path / "flows"), dialect)
    assert told > EXPECTED[dialect]
    assert len(told & set(FEATURE_NAMES)) > 40


@pytest.mark.parametrize("dialect", sorted(DIALECTS))
@settings(max_examples=6, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(packets=traffic().filter(bool), number=st.integers(0, 10**9))
def test_made_traffic(
    tmp_path_factory: pytest.TempPathFactory, dialect: str, packets: list[Timed], number: int
) -> None:
    """Whatever the flows, the same holds: single packets, odd flags, times that go back, IPv6, ICMP.

    What became of a handshake is left out: counts and histories tell it of orderly flags alone. So is Zeek's payload,
    which is unset in a flow of no duration and then follows from a history that knows no payload in SYN, FIN or RST.
    """
    folder = tmp_path_factory.mktemp("traffic")
    ours = table_of([write(folder / f"{number}", packets)], SHORT)
    if sum(batch.num_rows for batch in ours):
        columns = OF_ZEEK if dialect.startswith("zeek") else ORDERLY
        assert_alike(ours, read_back(ours, dialect, folder / "flows"), dialect, columns)
