"""Feature columns of finished flows: means, shares, rates and outcomes from the meter's sums, whole columns at a time.

A value that does not exist is NaN here and null in Parquet. Standard deviations are of the population.
"""

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
    """Return the columns that follow from a flow's totals, which flow records have too; shape (n,) each."""
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


def _ratio(top: npt.ArrayLike, bottom: npt.ArrayLike) -> Values:
    top, bottom = np.asarray(top, np.float64), np.asarray(bottom, np.float64)
    return np.divide(top, bottom, out=np.full(top.shape, np.nan), where=bottom > 0)


def _seconds(since: npt.NDArray[np.int64], until: npt.NDArray[np.int64]) -> Values:
    return np.where((since == NEVER) | (until == NEVER), np.nan, (until - since) * SECOND)


def _known(values: npt.NDArray[np.generic], known: npt.NDArray[np.bool_]) -> Values:
    return np.where(known, values, np.nan)


def _moments(total: npt.ArrayLike, squares: npt.ArrayLike, count: npt.ArrayLike) -> tuple[Values, Values]:
    mean = _ratio(total, count)
    return mean, np.sqrt(np.maximum(_ratio(squares, count) - mean * mean, 0.0))


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
    for index, side in enumerate(SIDES):
        for name in ("packets", "bytes", "payload_bytes", "data_packets"):
            columns[f"{side}_{name}"] = flows[name][:, index]
    packets, size = flows["packets"].sum(axis=1), flows["bytes"].sum(axis=1)
    columns["bwd_packet_share"] = _ratio(flows["packets"][:, 1], packets)
    columns["bwd_byte_share"] = _ratio(flows["bytes"][:, 1], size)
    columns["payload_share"] = _ratio(flows["payload_bytes"].sum(axis=1), size)
    columns["data_packet_share"] = _ratio(flows["data_packets"].sum(axis=1), packets)
    return columns


def _rate(flows: Fields) -> Columns:
    duration = (flows["last_ns"] - flows["first_ns"]) * SECOND
    columns: Columns = {"duration_s": duration}
    for name in ("packets", "bytes"):
        columns[f"{name}_per_s"] = _ratio(flows[name].sum(axis=1), duration)
        for index, side in enumerate(SIDES):
            columns[f"{side}_{name}_per_s"] = _ratio(flows[name][:, index], duration)
    for index, side in enumerate(SIDES):
        delay = flows["first_payload_s"][:, index]
        columns[f"{side}_first_payload_delay_s"] = _known(delay, np.isfinite(delay))
    return columns


def _length(flows: Fields) -> Columns:
    columns: Columns = {}
    for index, side in enumerate(SIDES):
        packets = flows["packets"][:, index]
        for name in ("length_min", "length_max", "payload_max"):
            columns[f"{side}_{name}"] = _known(flows[name][:, index], packets > 0)
        for name, total in (("length", "bytes"), ("payload", "payload_bytes")):
            mean, deviation = _moments(flows[total][:, index], flows[f"{name}_sq"][:, index], packets)
            columns[f"{side}_{name}_mean"], columns[f"{side}_{name}_std"] = mean, deviation
    sums = [flows[name].sum(axis=1) for name in ("bytes", "length_sq", "packets")]
    columns["length_mean"], columns["length_std"] = _moments(*sums)
    return columns


def _gap(flows: Fields) -> Columns:
    counts = [flows["packets"][:, 0] - 1, flows["packets"][:, 1] - 1, flows["packets"].sum(axis=1) - 1]
    columns: Columns = {}
    for index, prefix in enumerate(("fwd_", "bwd_", "")):
        count = counts[index]
        mean, deviation = _moments(flows["gap_sum"][:, index], flows["gap_sq"][:, index], count)
        columns[f"{prefix}gap_min_s"] = _known(flows["gap_min_s"][:, index], count > 0)
        columns[f"{prefix}gap_max_s"] = _known(flows["gap_max_s"][:, index], count > 0)
        columns[f"{prefix}gap_mean_s"], columns[f"{prefix}gap_std_s"] = mean * SECOND, deviation * SECOND
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
        for bit, flag in enumerate(TCP_FLAGS):
            columns[f"{side}_{flag}_packets"] = _known(flows["flags"][:, index, bit], tcp)
        for name in ("first", "min", "max"):
            window = flows[f"window_{name}"][:, index]
            columns[f"{side}_window_{name}"] = _known(window, tcp & (flows["packets"][:, index] > 0))
        columns[f"{side}_zero_windows"] = _known(flows["zero_windows"][:, index], tcp)
        columns[f"{side}_retransmissions"] = _known(flows["retransmissions"][:, index], tcp)
    return columns


def _handshake(flows: Fields) -> Columns:
    tcp = flows["protocol"] == TCP
    syn, syn_ack = flows["syn_ns"] != NEVER, flows["syn_ack_ns"] != NEVER
    resets = flows["flags"][:, :, TCP_FLAGS.index("rst")] > 0
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
