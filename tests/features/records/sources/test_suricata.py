"""Suricata EVE: flow and netflow events among others."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from features.records.byte_stream import SAMPLE_BYTES
from features.records.extraction import extract_records

Rows = list[dict[str, Any]]
ENDS = {"src_ip": "10.0.0.1", "src_port": 40000, "dest_ip": "10.0.0.2", "dest_port": 445}
TIMES = {"start": "2021-06-06T17:00:00.000000+0200", "end": "2021-06-06T17:00:02.000000+0200"}
FLOW = {
    **ENDS, "timestamp": "2021-06-06T17:01:00.000000+0200", "event_type": "flow", "proto": "TCP",
    "flow": {"pkts_toserver": 4, "pkts_toclient": 2, "bytes_toserver": 400, "bytes_toclient": 200, **TIMES,
             "reason": "forced"},
    "tcp": {"tcp_flags": "1f", "tcp_flags_ts": "1b", "tcp_flags_tc": "16"},
}  # fmt: skip
ALERT = {**ENDS, "event_type": "alert", "proto": "TCP", "flow": {"start": TIMES["start"]}}
NETFLOW = {**ENDS, "event_type": "netflow", "proto": "UDP", "netflow": {"pkts": 3, "bytes": 142, **TIMES}}


def lines(*events: dict[str, Any]) -> str:
    return "".join(json.dumps(event) + "\n" for event in events)


def test_a_flow_event(rows_of: Callable[[str], Rows]) -> None:
    """Frame bytes become IP bytes, times UTC, hexadecimal flags the outcome; other events are counted and left out."""
    (row,) = rows_of(lines(ALERT, FLOW))
    expected = {
        "fwd_packets": 4, "bwd_packets": 2, "fwd_bytes": 400 - 4 * 14, "bwd_bytes": 200 - 2 * 14, "duration_s": 2,
        "tcp_established": 1, "tcp_bwd_reset": 1, "tcp_fwd_reset": 0, "service_file": 1, "dst_port": 445,
    }  # fmt: skip
    assert {name: row[name] for name in expected} == pytest.approx(expected)
    assert (row["start"].isoformat(), row["end_reason"]) == ("2021-06-06T15:00:00+00:00", "forced")
    assert row["fwd_payload_bytes"] is None


def test_a_netflow_event_knows_one_direction(rows_of: Callable[[str], Rows]) -> None:
    """The other direction is null, and so is every share, and the failures among neighbours that nobody can know."""
    (row,) = rows_of(lines(NETFLOW))
    assert (row["fwd_packets"], row["fwd_bytes"], row["bwd_packets"]) == (3, 100, None)
    for name in ("bwd_packet_share", "packets_per_s", "src_failed_share_60s", "tcp_established"):
        assert row[name] is None, name
    assert row["fwd_packets_per_s"] == 1.5


def test_flows_behind_many_other_events(record_file: Callable[..., Path]) -> None:
    """A file that begins with more statistics or DNS than detection looks at is searched on for a flow."""
    stats = {"timestamp": FLOW["timestamp"], "event_type": "stats", "stats": {"uptime": 5, "detect": {"alert": 0}}}
    name = {**ENDS, "timestamp": FLOW["timestamp"], "event_type": "dns", "proto": "UDP", "dns": {"id": 7}}
    for others in (stats, name):
        path = record_file(lines(*[others] * 3000, FLOW))
        assert path.stat().st_size > SAMPLE_BYTES
        extraction = extract_records([path])
        (row,) = (row for batch in extraction for row in batch.to_pylist())
        assert (row["fwd_packets"], row["bwd_bytes"]) == (4, 200 - 2 * 14)
        assert extraction.counts["rejected.not_a_flow"] == 3000
