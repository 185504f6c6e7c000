"""CICFlowMeter CSV in its three dialects."""

from collections.abc import Callable
from typing import Any

import pytest

Rows = list[dict[str, Any]]
NEW = {
    "Flow ID": "x", "Src IP": "10.0.0.1", "Src Port": "40000", "Dst IP": "10.0.0.2", "Dst Port": "80",
    "Protocol": "6", "Timestamp": "2017-07-05 19:55:50.312099", "Flow Duration": "2000000",
    "Total Fwd Packet": "3", "Total Bwd packets": "2", "Total Length of Fwd Packet": "90",
    "Total Length of Bwd Packet": "40", "Fwd Packet Length Max": "60", "Fwd Packet Length Mean": "30",
    "Fwd Packet Length Std": "30", "Flow Bytes/s": "Infinity", "Flow IAT Mean": "500000", "Flow IAT Std": "200000",
    "Fwd IAT Mean": "1000000", "Fwd IAT Std": "0", "Bwd IAT Max": "0", "Fwd RST Flags": "0", "Bwd RST Flags": "1",
    "Fwd Header Length": "64", "Bwd Header Length": "40", "SYN Flag Count": "2", "FWD Init Win Bytes": "29200",
    "Bwd Init Win Bytes": "-1", "Fwd Act Data Pkts": "2", "Label": "BENIGN",
}  # fmt: skip
SHORT = {
    "Dst Port": "80", "Protocol": "17", "Timestamp": "14/02/2018 08:31:01", "Flow Duration": "1000000",
    "Tot Fwd Pkts": "3", "Tot Bwd Pkts": "0", "TotLen Fwd Pkts": "90", "TotLen Bwd Pkts": "0",
    "Flow IAT Mean": "NaN", "Fwd Header Len": "999",
}  # fmt: skip
OLD = {
    " Flow Duration": "1000000", " Total Fwd Packets": "3", " Total Backward Packets": "1", " Flow IAT Mean": "5",
    "Total Length of Fwd Packets": "90", " Total Length of Bwd Packets": "10", " Fwd Header Length": "60",
    " Fwd Header Length.1": "60", "Init_Win_bytes_forward": "8192",
}  # fmt: skip


def text(cells: dict[str, str]) -> str:
    return ",".join(cells) + "\n" + ",".join(cells.values()) + "\n"


def test_the_names_of_version_4(rows_of: Callable[[str], Rows]) -> None:
    """Microseconds become seconds, payload and headers IP bytes, deviations those of the population."""
    (row,) = rows_of(text(NEW))
    expected = {
        "duration_s": 2.0, "fwd_packets": 3, "bwd_packets": 2, "fwd_payload_bytes": 90, "fwd_bytes": 90 + 64 + 60,
        "bwd_bytes": 40 + 40 + 40, "fwd_payload_max": 60, "fwd_payload_mean": 30,
        "fwd_payload_std": 30 * (2 / 3) ** 0.5, "gap_mean_s": 0.5, "gap_std_s": 0.2 * (3 / 4) ** 0.5,
        "gap_variation": 0.2 * (3 / 4) ** 0.5 / 0.5, "fwd_window_first": 29200, "bwd_rst_packets": 1,
        "tcp_bwd_reset": 1, "tcp_established": 1, "fwd_data_packets": 2, "bytes_per_s": (214 + 120) / 2,
    }  # fmt: skip
    assert {name: row[name] for name in expected} == pytest.approx(expected)
    assert row["bwd_window_first"] is None
    assert row["start"].isoformat() == "2017-07-05T19:55:50.312099+00:00"


def test_the_short_names(rows_of: Callable[[str], Rows]) -> None:
    """Without addresses there is no context and no Community ID; UDP's header is 8 bytes, whatever the file says."""
    (row,) = rows_of(text(SHORT))
    assert (row["fwd_packets"], row["fwd_bytes"], row["service_web"]) == (3, 90 + 3 * 28, 1)
    assert row["start"].isoformat() == "2018-02-14T08:31:01+00:00"
    for name in ("src_ip", "community_id", "src_flows_60s", "bwd_length_mean", "gap_std_s"):
        assert row[name] is None, name


def test_the_names_of_2017(rows_of: Callable[[str], Rows]) -> None:
    """Names with a blank before them are read; without protocol nothing is said that depends on it."""
    (row,) = rows_of(text(OLD))
    assert (row["fwd_packets"], row["bwd_packets"], row["bwd_payload_bytes"]) == (3, 1, 10)
    assert row["fwd_packets_per_s"] == 3
    for name in ("start", "protocol", "is_tcp", "fwd_bytes", "service_web"):
        assert row[name] is None, name
