"""The column kernel: totals of flows to feature columns, one definition of each for captures and for flow records.

A flow of the meter and a record of another tool both become one row of TOTALS, NaN where nothing is known; what follows
from it is written by the same functions. What only packets can tell is written from the meter's row. A value that does
not exist is NaN. Standard deviations are of the population. Every njit function that the kernels call lives in this
file: numba's cache looks at one source file only.
"""

from collections.abc import Iterator

import numpy as np

from features.kernel_types import NEVER, Int, Record, kernel, part
from features.metering.flow_record import FIRST_PACKETS, TCP_FLAGS
from features.service import SERVICES

TCP, UDP, ICMP, ICMPV6, SCTP = 6, 17, 1, 58, 132
SIDES = ("fwd", "bwd")
SECOND, NS_PER_S = 1e-9, 1e9
LARGEST_PORT = 65_535
RST, FLAGS = TCP_FLAGS.index("rst"), len(TCP_FLAGS)
SERVICE_COUNT = len(SERVICES)

TOTALS = np.dtype(
    [
        ("protocol", "f8"),
        ("dst_port", "f8"),  # of protocols that have ports
        ("icmp_type", "f8"),
        ("duration_ns", "f8"),
        ("packets", "f8", (2,)),
        ("bytes", "f8", (2,)),
        ("payload_bytes", "f8", (2,)),
        ("data_packets", "f8", (2,)),
        ("gap_sum", "f8", (3,)),  # ns, of each direction, and of the flow whatever the direction
        ("gap_sq", "f8", (3,)),
        ("syn", "f8"),  # 1 where seen, as the next two
        ("syn_ack", "f8"),
        ("handshake", "f8"),
        ("established", "f8"),
        ("resets", "f8", (2,)),  # above 0 where the side was seen to send one
    ]
)
"""What packets and records both tell of a flow, NaN where it is not known."""

SAID_NAMES = (
    *("protocol", "dst_port", "icmp_type", "duration_s"),
    *(f"{side}_{name}" for name in ("packets", "bytes", "payload_bytes", "data_packets") for side in SIDES),
    *(f"{prefix}gap_{part}_s" for part in ("mean", "std") for prefix in ("fwd_", "bwd_", "")),
    *("syn_seen", "syn_ack_seen", "handshake_seen"),
    *(f"{side}_{name}" for name in ("rst_packets", "reset_seen") for side in SIDES),
)
SAID = np.dtype([(name, "f8") for name in SAID_NAMES])
"""What a record may say of the same, in the words of its targets."""


def _total_names() -> Iterator[str]:
    yield from ("is_tcp", "is_udp", "is_icmp", "is_icmp_echo")
    yield from (f"service_{name}" for name in SERVICES)
    yield from (f"{side}_{name}" for name in ("packets", "bytes", "payload_bytes", "data_packets") for side in SIDES)
    yield from ("bwd_packet_share", "bwd_byte_share", "payload_share", "data_packet_share", "duration_s")
    yield from (f"{side}{name}_per_s" for name in ("packets", "bytes") for side in ("", "fwd_", "bwd_"))
    yield from (f"{side}_{name}_mean" for name in ("length", "payload") for side in SIDES)
    yield "length_mean"
    yield from (f"{side}gap_{name}" for side in ("fwd_", "bwd_", "") for name in ("mean_s", "std_s", "variation"))
    yield from ("tcp_established", "tcp_unanswered", "tcp_refused", "tcp_half_open", "tcp_mid_flow")
    yield from ("tcp_fwd_reset", "tcp_bwd_reset")


def _packet_names() -> Iterator[str]:
    for side in SIDES:
        yield from (f"{side}_length_min", f"{side}_length_max", f"{side}_payload_max")
        yield from (f"{side}_length_std", f"{side}_payload_std", f"{side}_first_payload_delay_s")
        yield from (f"{side}_ttl_spread", f"{side}_fragments", f"{side}_out_of_order")
        yield from (f"{side}_{flag}_packets" for flag in TCP_FLAGS)
        yield from (f"{side}_window_{name}" for name in ("first", "min", "max"))
        yield from (f"{side}_zero_windows", f"{side}_retransmissions")
    yield "length_std"
    yield from (f"{side}gap_{name}_s" for side in ("fwd_", "bwd_", "") for name in ("min", "max"))
    yield from ("active_runs", "active_mean_s", "active_max_s", "idle_mean_s", "idle_max_s")
    yield from ("syn_ack_delay_s", "handshake_ack_delay_s")
    yield from (f"first_payload_{number:02}" for number in range(1, FIRST_PACKETS + 1))
    yield from (f"first_gap_{number:02}_s" for number in range(2, FIRST_PACKETS + 1))


TOTAL_NAMES = tuple(_total_names())
"""The columns that follow from TOTALS, in the order in which they are written."""
FLOW_NAMES = (*TOTAL_NAMES, *_packet_names())
"""Behind them those that only packets give."""


@part
def _ratio(top: float, bottom: float) -> float:
    return top / bottom if bottom > 0 else np.nan


@part
def _known(value: float, known: bool) -> float:
    return value if known else np.nan


@part
def _deviation(squares: float, count: float, mean: float) -> float:
    variance = _ratio(squares, count) - mean * mean
    return 0.0 if variance < 0 else np.sqrt(variance)


@part
def _fact(holds: bool, told_by: float) -> float:
    """Return 1 or 0, NaN where what tells it is NaN."""
    return np.nan if np.isnan(told_by) else np.float64(holds)


@part
def _write_protocol(totals: Record, categories: np.ndarray, out: np.ndarray, row: Int) -> Int:
    """Write the protocol and the service; returns the next column, as the other writers do."""
    protocol, icmp_type = totals.protocol, totals.icmp_type
    echo = protocol == ICMP and icmp_type in (0, 8)
    echo = echo or (protocol == ICMPV6 and icmp_type in (128, 129))
    is_icmp = protocol in (ICMP, ICMPV6)
    out[0, row], out[1, row] = _fact(protocol == TCP, protocol), _fact(protocol == UDP, protocol)
    out[2, row] = _fact(is_icmp, protocol)
    out[3, row] = _fact(echo, protocol + icmp_type if is_icmp else protocol)
    ported = protocol in (TCP, UDP, SCTP)
    told_by = protocol + totals.dst_port if ported else protocol
    for service in range(SERVICE_COUNT):
        out[4 + service, row] = _fact(False, told_by)
    if ported and not np.isnan(told_by):
        out[4 + categories[np.int64(totals.dst_port) & LARGEST_PORT], row] = 1
    return 4 + SERVICE_COUNT


@part
def _write_volumes(totals: Record, out: np.ndarray, at: Int, row: Int) -> Int:
    """Write packets and bytes, their shares, and what there is of them in a second."""
    packets, size = totals.packets, totals.bytes
    payload, data = totals.payload_bytes, totals.data_packets
    for side in range(2):
        out[at + side, row], out[at + 2 + side, row] = packets[side], size[side]
        out[at + 4 + side, row], out[at + 6 + side, row] = payload[side], data[side]
    both, whole = packets[0] + packets[1], size[0] + size[1]
    out[at + 8, row], out[at + 9, row] = _ratio(packets[1], both), _ratio(size[1], whole)
    out[at + 10, row] = _ratio(payload[0] + payload[1], whole)
    out[at + 11, row] = _ratio(data[0] + data[1], both)
    duration = totals.duration_ns * SECOND
    out[at + 12, row] = duration
    out[at + 13, row], out[at + 16, row] = _ratio(both, duration), _ratio(whole, duration)
    for side in range(2):
        out[at + 14 + side, row] = _ratio(packets[side], duration)
        out[at + 17 + side, row] = _ratio(size[side], duration)
        out[at + 19 + side, row] = _ratio(size[side], packets[side])
        out[at + 21 + side, row] = _ratio(payload[side], packets[side])
    out[at + 23, row] = _ratio(whole, both)
    return at + 24


@part
def _write_gaps(totals: Record, out: np.ndarray, at: Int, row: Int) -> Int:
    """Write mean, deviation and variation of the gaps between packets."""
    for which in range(3):
        count = totals.packets[which] if which < 2 else totals.packets[0] + totals.packets[1]
        mean = _ratio(totals.gap_sum[which], count - 1)
        deviation = _deviation(totals.gap_sq[which], count - 1, mean)
        out[at, row], out[at + 1, row] = mean * SECOND, deviation * SECOND
        out[at + 2, row] = _ratio(deviation, mean)
        at += 3
    return at


@part
def _write_outcome(totals: Record, out: np.ndarray, at: Int, row: Int) -> None:
    """Write how a TCP handshake went, and who reset."""
    if totals.protocol != TCP:
        for column in range(7):
            out[at + column, row] = np.nan
        return
    syn, syn_ack, handshake = totals.syn, totals.syn_ack, totals.handshake
    back, resets = totals.packets[1], totals.resets
    out[at, row] = _fact(totals.established == 1, syn + handshake)
    out[at + 1, row] = _fact(syn == 1 and back == 0, syn + back)
    out[at + 2, row] = _fact(syn == 1 and syn_ack == 0 and resets[1] > 0, syn + syn_ack + resets[1])
    out[at + 3, row] = _fact(syn_ack == 1 and handshake == 0, syn_ack + handshake)
    out[at + 4, row] = _fact(syn == 0 and syn_ack == 0, syn + syn_ack)
    out[at + 5, row], out[at + 6, row] = _fact(resets[0] > 0, resets[0]), _fact(resets[1] > 0, resets[1])


@part
def _write_totals(totals: Record, categories: np.ndarray, out: np.ndarray, row: Int) -> None:
    """Write the columns of TOTAL_NAMES."""
    at = _write_protocol(totals, categories, out, row)
    at = _write_volumes(totals, out, at, row)
    at = _write_gaps(totals, out, at, row)
    _write_outcome(totals, out, at, row)


@part
def _take_flow(flow: Record, totals: Record) -> None:
    """Fill totals from the meter's row."""
    totals.protocol, totals.dst_port, totals.icmp_type = flow.protocol, flow.dst_port, flow.icmp_type
    totals.duration_ns = flow.last_ns - flow.first_ns
    for side in range(2):
        totals.packets[side], totals.bytes[side] = flow.packets[side], flow.bytes[side]
        totals.payload_bytes[side], totals.data_packets[side] = flow.payload_bytes[side], flow.data_packets[side]
        totals.gap_sum[side] = flow.dir_last_ns[side] - flow.dir_first_ns[side]
        totals.resets[side] = flow.flags[side, RST]
    totals.gap_sum[2] = totals.duration_ns
    for which in range(3):
        totals.gap_sq[which] = flow.gap_sq[which]
    totals.syn, totals.syn_ack = flow.syn_ns != NEVER, flow.syn_ack_ns != NEVER
    totals.handshake, totals.established = flow.handshake_ns != NEVER, flow.established


@part
def _write_side(flow: Record, side: Int, out: np.ndarray, at: Int, row: Int) -> Int:
    """Write what only packets tell of one direction."""
    is_tcp, packets = flow.protocol == TCP, flow.packets[side]
    out[at, row] = _known(flow.length_min[side], packets > 0)
    out[at + 1, row] = _known(flow.length_max[side], packets > 0)
    out[at + 2, row] = _known(flow.payload_max[side], packets > 0)
    out[at + 3, row] = _deviation(flow.length_sq[side], packets, _ratio(flow.bytes[side], packets))
    out[at + 4, row] = _deviation(flow.payload_sq[side], packets, _ratio(flow.payload_bytes[side], packets))
    out[at + 5, row] = _known(flow.first_payload_s[side], np.isfinite(flow.first_payload_s[side]))
    out[at + 6, row] = _known(np.int64(flow.ttl_max[side]) - np.int64(flow.ttl_min[side]), packets > 0)
    out[at + 7, row], out[at + 8, row] = flow.fragments[side], flow.out_of_order[side]
    for flag in range(FLAGS):
        out[at + 9 + flag, row] = _known(flow.flags[side, flag], is_tcp)
    at += 9 + FLAGS
    seen = is_tcp and packets > 0
    out[at, row] = _known(flow.window_first[side], seen)
    out[at + 1, row], out[at + 2, row] = _known(flow.window_min[side], seen), _known(flow.window_max[side], seen)
    out[at + 3, row] = _known(flow.zero_windows[side], is_tcp)
    out[at + 4, row] = _known(flow.retransmissions[side], is_tcp)
    return at + 5


@part
def _write_whole(flow: Record, out: np.ndarray, at: Int, row: Int) -> Int:
    """Write what only packets tell of both directions together."""
    count = np.int64(flow.packets[0]) + flow.packets[1]
    mean = _ratio(flow.bytes[0] + flow.bytes[1], count)
    out[at, row] = _deviation(flow.length_sq[0] + flow.length_sq[1], count, mean)
    at += 1
    for which in range(3):
        pairs = (flow.packets[which] if which < 2 else count) - 1
        out[at, row] = _known(flow.gap_min_s[which], pairs > 0)
        out[at + 1, row] = _known(flow.gap_max_s[which], pairs > 0)
        at += 2
    gaps, idle = np.int64(flow.active_count), flow.idle_sum
    out[at, row] = gaps + 1
    out[at + 1, row] = _ratio(flow.last_ns - flow.first_ns - idle, gaps + 1) * SECOND
    out[at + 2, row] = max(np.float64(flow.active_max_s), (flow.last_ns - flow.active_start_ns) * SECOND)
    out[at + 3, row] = _ratio(idle, gaps) * SECOND
    out[at + 4, row] = _known(flow.gap_max_s[2], gaps > 0)
    syn, syn_ack, handshake = flow.syn_ns, flow.syn_ack_ns, flow.handshake_ns
    out[at + 5, row] = _known((syn_ack - syn) * SECOND, NEVER not in (syn, syn_ack))
    out[at + 6, row] = _known((handshake - syn_ack) * SECOND, NEVER not in (syn_ack, handshake))
    return at + 7


@part
def _write_first(flow: Record, out: np.ndarray, at: Int, row: Int) -> None:
    """Write size, direction and gap of each of the first packets."""
    count = min(np.int64(flow.packets[0]) + flow.packets[1], FIRST_PACKETS)
    backward = np.int64(flow.first_backward)
    for index in range(count):
        payload = np.int64(flow.first_payload[index])
        out[at + index, row] = -payload if backward >> index & 1 else payload
    for index in range(1, count):
        out[at + FIRST_PACKETS - 1 + index, row] = flow.first_gap_s[index]
    for index in range(count, FIRST_PACKETS):
        out[at + index, row] = np.nan
        out[at + FIRST_PACKETS - 1 + index, row] = np.nan


@kernel
def write_flows(flows: np.ndarray, totals: np.ndarray, categories: np.ndarray, out: np.ndarray) -> None:
    """Write the columns of the meter's flows.

    Args:
        flows: FLOW rows, shape (n,).
        totals: One TOTALS row to work in.
        categories: Number of the service of each port, int8, shape (65536,).
        out: Columns in the order of FLOW_NAMES, float32, shape (len(FLOW_NAMES), n or more).
    """
    for row in range(len(flows)):
        flow = flows[row]
        _take_flow(flow, totals[0])
        _write_totals(totals[0], categories, out, row)
        at = _write_side(flow, 0, out, len(TOTAL_NAMES), row)
        at = _write_side(flow, 1, out, at, row)
        at = _write_whole(flow, out, at, row)
        _write_first(flow, out, at, row)


@part
def _gaps_said(mean_s: float, std_s: float, count: float) -> tuple[float, float]:
    """Return sum and sum of squares of so many gaps, in ns."""
    total = mean_s * NS_PER_S * count
    return total, _squares_said(total, std_s, count)


@part
def _squares_said(total: float, std_s: float, count: float) -> float:
    std, mean = std_s * NS_PER_S, _ratio(total, count)
    return (std * std + mean * mean) * count


@part
def _take_said(said: Record, totals: Record) -> None:
    """Fill totals from what a record says."""
    totals.protocol, totals.dst_port, totals.icmp_type = said.protocol, said.dst_port, said.icmp_type
    totals.duration_ns = said.duration_s * NS_PER_S
    totals.packets[0], totals.packets[1] = said.fwd_packets, said.bwd_packets
    totals.bytes[0], totals.bytes[1] = said.fwd_bytes, said.bwd_bytes
    totals.payload_bytes[0], totals.payload_bytes[1] = said.fwd_payload_bytes, said.bwd_payload_bytes
    totals.data_packets[0], totals.data_packets[1] = said.fwd_data_packets, said.bwd_data_packets
    totals.gap_sum[0], totals.gap_sq[0] = _gaps_said(said.fwd_gap_mean_s, said.fwd_gap_std_s, said.fwd_packets - 1)
    totals.gap_sum[1], totals.gap_sq[1] = _gaps_said(said.bwd_gap_mean_s, said.bwd_gap_std_s, said.bwd_packets - 1)
    totals.gap_sum[2] = totals.duration_ns
    totals.gap_sq[2] = _squares_said(totals.duration_ns, said.gap_std_s, said.fwd_packets + said.bwd_packets - 1)
    totals.syn = _fact(said.syn_seen == 1, said.syn_seen)
    totals.syn_ack = _fact(said.syn_ack_seen == 1, said.syn_ack_seen)
    totals.handshake = _fact(said.handshake_seen == 1, said.handshake_seen)
    totals.established = said.syn_seen == 1 and said.handshake_seen == 1
    totals.resets[0] = said.fwd_reset_seen if np.isnan(said.fwd_rst_packets) else said.fwd_rst_packets
    totals.resets[1] = said.bwd_reset_seen if np.isnan(said.bwd_rst_packets) else said.bwd_rst_packets


@kernel
def write_records(
    values: np.ndarray,
    places: np.ndarray,
    said: np.ndarray,
    totals: np.ndarray,
    categories: np.ndarray,
    out: np.ndarray,
) -> None:
    """Write the columns of records.

    Args:
        values: What they say, float64, shape (k, n).
        places: Which of SAID_NAMES each of the k is, shape (k,).
        said: One SAID row to work in, NaN wherever nothing is said.
        totals: One TOTALS row to work in.
        categories: Number of the service of each port, int8, shape (65536,).
        out: Columns in the order of TOTAL_NAMES, float32, shape (len(TOTAL_NAMES), n or more).
    """
    words = said.view(np.float64)
    for row in range(values.shape[1]):
        for index in range(len(places)):
            words[places[index]] = values[index, row]
        _take_said(said[0], totals[0])
        _write_totals(totals[0], categories, out, row)


@kernel
def mark_known(values: np.ndarray, marks: np.ndarray) -> Int:
    """Mark what is not NaN, and return how many values are NaN.

    Args:
        values: float32, shape (n,).
        marks: A bit for each value, the lowest first, uint8, shape (n / 8,) rounded up; not written where all values
            are NaN or none is.
    """
    unknown = 0
    for index in range(len(values)):
        unknown += np.isnan(values[index])
    if unknown in (0, len(values)):
        return unknown
    whole = len(values) // 8
    for byte in range(whole):
        bits = 0
        for bit in range(8):
            bits |= (not np.isnan(values[8 * byte + bit])) << bit
        marks[byte] = bits
    if whole < len(marks):
        bits = 0
        for index in range(8 * whole, len(values)):
            bits |= (not np.isnan(values[index])) << index - 8 * whole
        marks[whole] = bits
    return unknown
