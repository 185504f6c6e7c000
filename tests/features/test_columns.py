"""Feature columns of hand-made flows, by arithmetic done by hand."""

import numpy as np
import pytest

from features.columns import failed, flow_columns
from features.context import NEIGHBOUR, context_columns
from features.kernel_types import NEVER
from features.metering.flow_table import blank_flow
from features.payload.columns import payload_columns
from features.schema import COLUMNS, FEATURE_NAMES

SECOND = 1_000_000_000


def empty_flow() -> np.ndarray:
    """One flow of one forward packet of 40 bytes without payload, as the meter leaves it."""
    flow = blank_flow()
    flow["icmp_type"] = NEVER
    flow["protocol"], flow["ip_version"], flow["dst_port"] = 6, 4, 443
    flow["packets"], flow["bytes"] = [1, 0], [40, 0]
    flow["length_min"], flow["length_max"], flow["length_sq"] = [40, 0], [40, 0], [1600, 0]
    flow["dir_first_ns"], flow["dir_last_ns"] = [0, NEVER], [0, NEVER]
    return flow


def value(flow: np.ndarray, name: str) -> float:
    return float(flow_columns(flow)[name][0])


def test_a_single_packet_has_no_rate_and_no_gap() -> None:
    """What needs two packets is missing, not 0; what one packet shows is there."""
    columns = flow_columns(empty_flow())
    for name in ("packets_per_s", "gap_mean_s", "fwd_gap_std_s", "bwd_length_mean", "idle_max_s", "first_payload_02"):
        assert np.isnan(columns[name][0]), name
    assert columns["duration_s"][0] == 0
    assert columns["fwd_length_mean"][0] == 40
    assert columns["fwd_length_std"][0] == 0
    assert columns["first_payload_01"][0] == 0
    assert columns["service_web"][0]
    assert columns["active_runs"][0] == 1


def test_statistics_of_three_packets() -> None:
    """Forward 40 and 60 bytes a second apart, backward 100 bytes: means, shares and rates by hand."""
    flow = empty_flow()
    flow["packets"], flow["bytes"], flow["length_sq"] = [2, 1], [100, 100], [1600 + 3600, 10_000]
    flow["last_ns"], flow["payload_bytes"], flow["data_packets"] = 2 * SECOND, [20, 60], [1, 1]
    flow["dir_last_ns"], flow["gap_sq"] = [SECOND, NEVER], [[1e18, 0, 2.5e18]]
    expected = {
        "packets_per_s": 1.5,
        "bwd_bytes_per_s": 50,
        "fwd_length_mean": 50,
        "fwd_length_std": 10,
        "length_std": np.std([40, 60, 100]),
        "bwd_packet_share": 1 / 3,
        "bwd_byte_share": 0.5,
        "payload_share": 0.4,
        "data_packet_share": 2 / 3,
        "gap_mean_s": 1.0,
        "gap_std_s": 0.5,
        "gap_variation": 0.5,
    }
    assert {name: value(flow, name) for name in expected} == pytest.approx(expected)


@pytest.mark.parametrize(
    ("change", "outcome"),
    [
        ({"syn_ns": 0}, "tcp_unanswered"),
        ({"syn_ns": 0, "packets": [1, 1], "flags": [[0] * 8, [0, 0, 1, 0, 0, 0, 0, 0]]}, "tcp_refused"),
        ({"syn_ns": 0, "syn_ack_ns": 1, "packets": [1, 1]}, "tcp_half_open"),
        ({"syn_ns": 0, "syn_ack_ns": 1, "handshake_ns": 2, "established": 1, "packets": [2, 1]}, "tcp_established"),
        ({}, "tcp_mid_flow"),
    ],
)
def test_each_handshake_has_one_outcome(change: dict[str, object], outcome: str) -> None:
    """Of the five ways a handshake can end exactly the right one is set."""
    flow = empty_flow()
    for name, values in change.items():
        flow[name] = values
    names = ("tcp_unanswered", "tcp_refused", "tcp_half_open", "tcp_established", "tcp_mid_flow")
    assert [name for name in names if value(flow, name) == 1] == [outcome]


def test_failed_means_no_useful_answer() -> None:
    """No packet back is failed for any protocol; a TCP handshake with payload back is not."""
    silent, answered, refused = empty_flow(), empty_flow(), empty_flow()
    silent["protocol"] = 17
    answered["packets"], answered["established"], answered["syn_ns"] = [3, 2], 1, 0
    refused["packets"], refused["syn_ns"] = [1, 1], 0
    assert failed(np.concatenate([silent, answered, refused])).tolist() == [True, False, True]


def test_tcp_columns_are_missing_for_other_protocols() -> None:
    """A UDP flow has no flags, windows or handshake."""
    flow = empty_flow()
    flow["protocol"] = 17
    for name in ("fwd_syn_packets", "bwd_window_min", "tcp_established", "syn_ack_delay_s", "fwd_retransmissions"):
        assert np.isnan(value(flow, name)), name


def test_first_packets_carry_their_direction_as_sign() -> None:
    """Payload of a backward packet is negative, gaps are seconds."""
    flow = empty_flow()
    flow["packets"], flow["first_backward"] = [1, 1], 0b10
    flow["first_payload"][0, :2], flow["first_gap_s"][0, :2] = [20, 460], [0, 0.5]
    assert value(flow, "first_payload_01") == 20
    assert value(flow, "first_payload_02") == -460
    assert value(flow, "first_gap_02_s") == 0.5


def test_every_declared_feature_is_computed_and_no_other() -> None:
    """Flow, context and payload columns together are the schema's features; identity is not among them."""
    computed = set(flow_columns(empty_flow())) | set(context_columns(np.zeros(1, NEIGHBOUR)))
    said = {column.name for column in COLUMNS if column.group == "payload" and column.role == "feature"}
    assert computed | said == set(FEATURE_NAMES)
    assert not computed & set(payload_columns(1, np.zeros(0, np.int64), []))
