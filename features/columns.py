"""Feature columns of finished flows: means, shares, rates and outcomes from the meter's sums, whole columns at a time.

A value that does not exist is NaN here and null in Parquet. Standard deviations are of the population.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from features.kernel_types import NEVER
from features.metering.flow_record import FIRST_PACKETS, TCP_FLAGS, Fields
from features.service import service_columns

Values = npt.NDArray[np.float64]
Columns = dict[str, npt.NDArray[np.generic]]

TCP, UDP, ICMP, ICMPV6, SCTP = 6, 17, 1, 58, 132
ECHO_TYPES = {ICMP: (0, 8), ICMPV6: (128, 129)}
SIDES = ("fwd", "bwd")
SECOND = 1e-9


def flow_columns(flows: Fields) -> Columns:
    """Return every feature column that needs no neighbours, in no particular order; shape (n,) each.

    Args:
        flows: The fields that flow_record.flow_fields gives, shape (n,) or (n, k) each, NaN where not known.
    """
    packets_alone = (_activity, _network, _first)
    return summed_columns(flows) | {name: values for part in packets_alone for name, values in part(flows).items()}


def summed_columns(flows: Fields) -> Columns:
    """Return the columns that follow from a flow's totals, which flow records have too; shape (n,) each.

    Packets, bytes, times, protocol, port and handshake must be there; other fields that are not give no columns.
    """
    parts = (_protocol, _volume, _rate, _length, _gap, _flags, _handshake)
    return {name: values for part in parts for name, values in part(flows).items()}


def failed(flows: Fields | npt.NDArray[np.void]) -> npt.NDArray[np.bool_]:
    """Return True for flows that got no useful answer: nothing came back, or TCP without handshake and payload."""
    silent = flows["packets"][:, 1] == 0
    refused = (flows["protocol"] == TCP) & (flows["established"] == 0) & (flows["payload_bytes"][:, 1] == 0)
    return silent | (refused & (flows["syn_ns"] != NEVER))


def has_ports(flows: Fields | npt.NDArray[np.void]) -> npt.NDArray[np.bool_]:
    """Return True for flows of a protocol with ports."""
    return np.isin(flows["protocol"], (TCP, UDP, SCTP))


def _positive(values: npt.NDArray[Any]) -> Values:
    """Return what can be divided by: NaN where it is not above 0."""
    return np.where(values > 0, values, np.nan)


def _ratio(top: npt.NDArray[Any], bottom: npt.NDArray[Any]) -> Values:
    quotient: Values = top / _positive(bottom)
    return quotient


def _total(flows: Fields, name: str) -> npt.NDArray[Any]:
    """Return the sum of both directions."""
    return flows[name][:, 0] + flows[name][:, 1]


def _seconds(since: npt.NDArray[np.int64], until: npt.NDArray[np.int64]) -> Values:
    return np.where((since == NEVER) | (until == NEVER), np.nan, (until - since) * SECOND)


def _known(values: npt.NDArray[np.generic], known: npt.NDArray[np.bool_]) -> Values:
    return np.where(known, values, np.nan)


def _deviation(squares: npt.NDArray[Any], count: npt.NDArray[Any], mean: Values) -> Values:
    return np.sqrt(np.maximum(_ratio(squares, count) - mean * mean, 0.0))


def _protocol(flows: Fields) -> Columns:
    protocol = flows["protocol"]
    echo = [(protocol == number) & np.isin(flows["icmp_type"], types) for number, types in ECHO_TYPES.items()]
    return {
        "is_tcp": protocol == TCP,
        "is_udp": protocol == UDP,
        "is_icmp": np.isin(protocol, (ICMP, ICMPV6)),
        "is_icmp_echo": echo[0] | echo[1],
        **service_columns(flows["dst_port"], has_ports(flows)),
    }


def _volume(flows: Fields) -> Columns:
    columns: Columns = {}
    for name in ("packets", "bytes", "payload_bytes", "data_packets"):
        if name in flows:
            columns |= {f"{side}_{name}": flows[name][:, index] for index, side in enumerate(SIDES)}
    packets, size = _positive(_total(flows, "packets")), _positive(_total(flows, "bytes"))
    columns["bwd_packet_share"] = flows["packets"][:, 1] / packets
    columns["bwd_byte_share"] = flows["bytes"][:, 1] / size
    if "payload_bytes" in flows:
        columns["payload_share"] = _total(flows, "payload_bytes") / size
    if "data_packets" in flows:
        columns["data_packet_share"] = _total(flows, "data_packets") / packets
    return columns


def _rate(flows: Fields) -> Columns:
    duration = (flows["last_ns"] - flows["first_ns"]) * SECOND
    columns: Columns = {"duration_s": duration}
    lasted = _positive(duration)
    for name in ("packets", "bytes"):
        columns[f"{name}_per_s"] = _total(flows, name) / lasted
        columns |= {f"{side}_{name}_per_s": flows[name][:, index] / lasted for index, side in enumerate(SIDES)}
    if "first_payload_s" in flows:
        for index, side in enumerate(SIDES):
            delay = flows["first_payload_s"][:, index]
            columns[f"{side}_first_payload_delay_s"] = _known(delay, np.isfinite(delay))
    return columns


def _length(flows: Fields) -> Columns:
    columns: Columns = {}
    for index, side in enumerate(SIDES):
        packets = flows["packets"][:, index]
        for name in ("length_min", "length_max", "payload_max"):
            if name in flows:
                columns[f"{side}_{name}"] = _known(flows[name][:, index], packets > 0)
        for name, total in (("length", "bytes"), ("payload", "payload_bytes")):
            if total in flows:
                columns[f"{side}_{name}_mean"] = mean = _ratio(flows[total][:, index], packets)
            if f"{name}_sq" in flows:
                columns[f"{side}_{name}_std"] = _deviation(flows[f"{name}_sq"][:, index], packets, mean)
    count = _total(flows, "packets")
    columns["length_mean"] = mean = _ratio(_total(flows, "bytes"), count)
    if "length_sq" in flows:
        columns["length_std"] = _deviation(_total(flows, "length_sq"), count, mean)
    return columns


def _gap(flows: Fields) -> Columns:
    counts = [flows["packets"][:, 0] - 1, flows["packets"][:, 1] - 1, _total(flows, "packets") - 1]
    columns: Columns = {}
    for index, prefix in enumerate(("fwd_", "bwd_", "")):
        count = counts[index]
        for name in ("gap_min_s", "gap_max_s"):
            if name in flows:
                columns[f"{prefix}{name}"] = _known(flows[name][:, index], count > 0)
        mean = _ratio(flows["gap_sum"][:, index], count)
        columns[f"{prefix}gap_mean_s"] = mean * SECOND
        if "gap_sq" in flows:
            deviation = _deviation(flows["gap_sq"][:, index], count, mean)
            columns[f"{prefix}gap_std_s"] = deviation * SECOND
            columns[f"{prefix}gap_variation"] = _ratio(deviation, mean)
    return columns


def _activity(flows: Fields) -> Columns:
    last_run = flows["last_ns"] - flows["active_start_ns"]
    gaps = flows["active_count"]
    return {
        "active_runs": gaps + 1,
        "active_mean_s": _ratio(flows["last_ns"] - flows["first_ns"] - flows["idle_sum"], gaps + 1) * SECOND,
        "active_max_s": np.maximum(flows["active_max_s"], last_run * SECOND),
        "idle_mean_s": _ratio(flows["idle_sum"], gaps) * SECOND,
        "idle_max_s": _known(flows["gap_max_s"][:, 2], gaps > 0),
    }


def _flags(flows: Fields) -> Columns:
    tcp = flows["protocol"] == TCP
    columns: Columns = {}
    for index, side in enumerate(SIDES):
        if "flags" in flows:
            for bit, flag in enumerate(TCP_FLAGS):
                columns[f"{side}_{flag}_packets"] = _known(flows["flags"][:, index, bit], tcp)
        seen = tcp & (flows["packets"][:, index] > 0)
        for name in ("window_first", "window_min", "window_max"):
            if name in flows:
                columns[f"{side}_{name}"] = _known(flows[name][:, index], seen)
        for name in ("zero_windows", "retransmissions"):
            if name in flows:
                columns[f"{side}_{name}"] = _known(flows[name][:, index], tcp)
    return columns


def _handshake(flows: Fields) -> Columns:
    tcp = flows["protocol"] == TCP
    syn, syn_ack = flows["syn_ns"] != NEVER, flows["syn_ack_ns"] != NEVER
    resets = (flows["resets"] if "resets" in flows else flows["flags"][:, :, TCP_FLAGS.index("rst")]) > 0
    outcomes = {
        "tcp_established": flows["established"] == 1,
        "tcp_unanswered": syn & (flows["packets"][:, 1] == 0),
        "tcp_refused": syn & ~syn_ack & resets[:, 1],
        "tcp_half_open": syn_ack & (flows["handshake_ns"] == NEVER),
        "tcp_mid_flow": ~syn & ~syn_ack,
        "tcp_fwd_reset": resets[:, 0],
        "tcp_bwd_reset": resets[:, 1],
    }
    return {
        **{name: _known(outcome, tcp) for name, outcome in outcomes.items()},
        "syn_ack_delay_s": _seconds(flows["syn_ns"], flows["syn_ack_ns"]),
        "handshake_ack_delay_s": _seconds(flows["syn_ack_ns"], flows["handshake_ns"]),
    }


def _network(flows: Fields) -> Columns:
    columns: Columns = {}
    for index, side in enumerate(SIDES):
        spread = flows["ttl_max"][:, index].astype(np.int64) - flows["ttl_min"][:, index]
        columns[f"{side}_ttl_spread"] = _known(spread, flows["packets"][:, index] > 0)
        columns[f"{side}_fragments"] = flows["fragments"][:, index]
        columns[f"{side}_out_of_order"] = flows["out_of_order"][:, index]
    return columns


def _first(flows: Fields) -> Columns:
    columns: Columns = {}
    for index in range(FIRST_PACKETS):
        present = flows["first_count"] > index
        columns[f"first_payload_{index + 1:02}"] = _known(flows["first_payload"][:, index], present)
        if index:
            columns[f"first_gap_{index + 1:02}_s"] = _known(flows["first_gap_s"][:, index], present)
    return columns
