"""Elastic Common Schema and OCSF, in the documented fields, and the wrappers that exports put around records."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

Rows = list[dict[str, Any]]
ENDS = {"source": {"ip": "10.0.0.1", "port": 40000}, "destination": {"ip": "10.0.0.2", "port": 445}}
TIMES = {"start": "2018-11-15T14:41:21.000Z", "end": "2018-11-15T14:41:24.000Z", "duration": 3_000_000_000}
PACKETBEAT = {
    "@timestamp": "2018-11-15T14:41:24.000Z", "event": {"dataset": "flow", **TIMES}, "flow": {"final": True},
    "network": {"transport": "tcp", "bytes": 470, "packets": 3},
    "source": {**ENDS["source"], "bytes": 100, "packets": 1},
    "destination": {**ENDS["destination"], "bytes": 460, "packets": 2},
}  # fmt: skip
ZEEK = {
    "@timestamp": 1547188415000, "destination.ip": "10.0.0.2", "destination.port": 53, "destination.bytes": 206,
    "destination.packets": 1, "source.address": "10.0.0.1", "source.port": 38339, "source.bytes": 103,
    "source.packets": 1, "event.duration": 76967000, "network.transport": "udp", "zeek.connection.history": "Dd",
    "zeek.connection.state": "SF", "zeek.session_id": "CAcJw21BbVedgFnYH3", "tags": ["zeek.connection"],
}  # fmt: skip
SURICATA = {
    "@timestamp": "2018-11-15T14:42:00.000Z", "event": TIMES, "network": {"transport": "tcp"},
    "source": PACKETBEAT["source"], "destination": PACKETBEAT["destination"],
    "suricata": {"eve": {"event_type": "flow", "tcp": {"tcp_flags_ts": "1b", "tcp_flags_tc": "16"}}},
}  # fmt: skip
ALERT = {**SURICATA, "suricata": {"eve": {"event_type": "alert"}}}
OCSF = {
    "class_uid": 4001, "activity_id": 6, "start_time": 1542292881000, "end_time": 1542292884000, "time": 1542292884000,
    "src_endpoint": {"ip": "10.0.0.1", "port": 40000}, "dst_endpoint": {"ip": "10.0.0.2", "port": 445},
    "connection_info": {"protocol_num": 6, "direction_id": 1},
    "traffic": {"bytes_out": 86, "bytes_in": 432, "packets_out": 1, "packets_in": 2, "bytes": 518},
}  # fmt: skip
EVE = {
    "src_ip": "10.0.0.1", "src_port": 40000, "dest_ip": "10.0.0.2", "dest_port": 445, "proto": "TCP",
    "event_type": "flow",
    "flow": {"pkts_toserver": 1, "bytes_toserver": 100, "pkts_toclient": 2, "bytes_toclient": 460,
             "start": TIMES["start"], "end": TIMES["end"]},
}  # fmt: skip
EXPECTED = {
    "src_ip": "10.0.0.1", "dst_ip": "10.0.0.2", "src_port": 40000, "dst_port": 445, "protocol": 6, "duration_s": 3,
    "fwd_packets": 1, "bwd_packets": 2, "fwd_bytes": 86, "bwd_bytes": 432,
}  # fmt: skip


def lines(*events: object) -> str:
    return "".join(json.dumps(event) + "\n" for event in events)


def dotted(event: dict[str, Any], before: str = "") -> dict[str, Any]:
    """Return an event whose nested keys are joined with dots."""
    flat: dict[str, Any] = {}
    for key, value in event.items():
        flat |= dotted(value, f"{before}{key}.") if isinstance(value, dict) else {before + key: value}
    return flat


@pytest.mark.parametrize("written", [dict, dotted])
@pytest.mark.parametrize("event", [PACKETBEAT, SURICATA, OCSF, EVE])
def test_the_same_flow_from_each(
    rows_of: Callable[[str], Rows], event: dict[str, Any], written: Callable[[dict[str, Any]], dict[str, Any]]
) -> None:
    """Nested or dotted, frames or IP bytes: every schema gives the same flow."""
    (row,) = rows_of(lines(written(event)))
    assert {name: row[name] for name in EXPECTED} == EXPECTED
    assert row["start"].isoformat() == "2018-11-15T14:41:21+00:00"


@pytest.mark.parametrize("event", [SURICATA, OCSF])
def test_the_same_flow_from_parquet(
    rows_of: Callable[[str | bytes], Rows], tmp_path: Path, event: dict[str, Any]
) -> None:
    """Structs within structs are read as nested JSON is."""
    pq.write_table(pa.Table.from_pylist([event]), tmp_path / "flows.parquet")
    (row,) = rows_of((tmp_path / "flows.parquet").read_bytes())
    assert {name: row[name] for name in EXPECTED} == EXPECTED


def test_filebeats_zeek(rows_of: Callable[[str], Rows]) -> None:
    """Its timestamp is the start, its bytes are IP bytes, and history and state say what they say in conn.log."""
    (row,) = rows_of(lines(ZEEK))
    assert (row["start"].isoformat(), row["duration_s"]) == ("2019-01-11T06:33:35+00:00", pytest.approx(0.076967))
    assert (row["fwd_bytes"], row["conn_state"], row["history"], row["uid"]) == (103, "SF", "Dd", "CAcJw21BbVedgFnYH3")
    assert row["src_ip"] == "10.0.0.1"


def test_other_events_are_no_flows(rows_of: Callable[[str], Rows]) -> None:
    """Alerts, reports of flows that go on, and openings are counted as not_a_flow; flags give the handshake."""
    (row,) = rows_of(lines(ALERT, SURICATA))
    assert row["tcp_established"] == 1
    assert len(rows_of(lines({**PACKETBEAT, "flow": {"final": False}}, PACKETBEAT))) == 1
    assert len(rows_of(lines({**OCSF, "activity_id": 1}, OCSF, {**OCSF, "class_uid": 4003}))) == 1


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda event: {"_index": "eve", "_id": "x", "_source": event},
        lambda event: {"preview": False, "result": event},
        lambda event: {"@timestamp": "2026-01-01T00:00:00Z", "message": json.dumps(event), "log": {"offset": 7}},
        lambda event: {"result": {"_raw": json.dumps(event, indent=1), "host": "sensor"}},
        lambda event: {"data": {"eve": event}},
    ],
)
def test_records_within_others(rows_of: Callable[[str], Rows], wrapped: Callable[[object], object]) -> None:
    """A record within another object, or a text of one, is found by what it holds; lines without one are counted."""
    (row,) = rows_of(lines(wrapped(EVE), {"message": "Started Session 1 of user root.", "result": None}))
    assert {name: row[name] for name in EXPECTED} == EXPECTED
