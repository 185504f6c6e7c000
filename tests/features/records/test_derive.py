"""What follows from given numbers, and what stays null."""

import numpy as np
import pytest

from features.columns import flow_columns
from features.metering.flow_table import blank_flow
from features.records.derive import feature_columns, with_totals


def test_the_same_flow_gives_the_same_columns_as_from_a_capture() -> None:
    """Volumes, times and a handshake of the meter's row, handed over as numbers, give the meter's columns."""
    flow = blank_flow()
    flow["protocol"], flow["dst_port"], flow["established"] = 6, 443, 1
    flow["packets"], flow["bytes"], flow["payload_bytes"] = [3, 2], [300, 200], [120, 100]
    flow["data_packets"], flow["last_ns"], flow["syn_ns"], flow["syn_ack_ns"], flow["handshake_ns"] = 1, 2e9, 0, 1, 2
    numbers = {
        "protocol": 6, "dst_port": 443, "duration_s": 2, "fwd_packets": 3, "bwd_packets": 2, "fwd_bytes": 300,
        "bwd_bytes": 200, "fwd_payload_bytes": 120, "bwd_payload_bytes": 100, "fwd_data_packets": 1,
        "bwd_data_packets": 1, "syn_seen": 1, "syn_ack_seen": 1, "handshake_seen": 1, "fwd_reset_seen": 0,
        "bwd_reset_seen": 0,
    }  # fmt: skip
    found = feature_columns({name: np.array([float(value)]) for name, value in numbers.items()}, 1)
    expected = flow_columns(flow)
    known = {name: float(values[0]) for name, values in found.items() if not np.isnan(values[0])}
    assert known == pytest.approx({name: float(expected[name][0]) for name in known})
    assert {"payload_share", "gap_mean_s", "tcp_established", "fwd_bytes_per_s", "data_packet_share"} <= known.keys()
    for name in ("fwd_length_std", "fwd_syn_packets", "fwd_rst_packets", "syn_ack_delay_s", "fwd_ttl_spread"):
        assert name not in known, name


def test_nothing_given_is_nothing_known() -> None:
    """Without numbers every column is NaN, never 0."""
    found = feature_columns({"duration_s": np.array([np.nan, 1.0])}, 2)
    assert {name for name, values in found.items() if not np.isnan(values).all()} == {"duration_s"}


def test_totals_complete_a_side() -> None:
    """One side follows from the total and the other side, and the total is no column."""
    found = with_totals({"packets": np.array([5.0]), "fwd_packets": np.array([3.0]), "bytes": np.array([9.0])})
    assert {name: values.tolist() for name, values in found.items()} == {"fwd_packets": [3], "bwd_packets": [2]}


def test_null_rules_hold_for_given_values() -> None:
    """A 0 that a tool writes for a side without packets, or for UDP's flags, is null as the schema says."""
    given = {"bwd_payload_max": 0, "bwd_gap_mean_s": 0, "fwd_rst_packets": 0, "fwd_window_first": 0}
    numbers = {"protocol": 17, "fwd_packets": 2, "bwd_packets": 0, **given}
    found = feature_columns({name: np.array([float(value)]) for name, value in numbers.items()}, 1)
    assert all(np.isnan(found[name][0]) for name in given)
