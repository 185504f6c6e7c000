"""The flow rules once more, in plain Python: packets are collected in a dictionary, statistics made when a flow ends.

Nothing here is shared with the meter but the names of FLOW's fields and the settings, and nothing is fast.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import IPv6Address, ip_address
from itertools import accumulate
from typing import Any

import numpy as np
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import (
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
)
from scapy.packet import Packet

from features.kernel_types import NEVER
from features.metering.flow_record import FIRST_PACKETS, EndReason
from features.metering.meter import MeterSettings
from tests.features.metering.zeek_oracle import Segment, fields

FLAGS = ("fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr")
SECOND = 1_000_000_000
EXTENSIONS = (IPv6ExtHdrHopByHop, IPv6ExtHdrRouting, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment)
Flow = dict[str, Any]


@dataclass(frozen=True)
class Seen:
    """One packet as an oracle sees it."""

    time_ns: int
    version: int
    src: bytes  # 16 bytes
    dst: bytes
    protocol: int
    ttl: int
    length: int
    payload: int
    src_port: int = 0
    dst_port: int = 0
    flags: int = 0
    seq: int = 0
    window: int = NEVER
    icmp_type: int = NEVER
    icmp_code: int = NEVER
    fragment: int = 0
    vlan: int = 0  # 0 where VLANs are no part of the key

    @property
    def key(self) -> tuple[frozenset[tuple[bytes, int]], int, int]:
        """What both directions share."""
        return frozenset([(self.src, self.src_port), (self.dst, self.dst_port)]), self.protocol, self.vlan

    def has(self, *flags: str) -> bool:
        """Tell whether all these TCP flags are set."""
        return all(self.flags >> FLAGS.index(flag) & 1 for flag in flags)


def mapped(address: str) -> bytes:
    """Return an address's 16 bytes, IPv4 as ::ffff:a.b.c.d."""
    parsed = ip_address(address)
    return parsed.packed if parsed.version == 6 else IPv6Address(f"::ffff:{address}").packed


def seen_by_scapy(packet: Packet, time_ns: int) -> Seen | None:
    """Return what scapy makes of a frame, None if it is not IP or a fragment other than the first."""
    if IP in packet:
        return _seen_ipv4(packet[IP], time_ns)
    return _seen_ipv6(packet[IPv6], time_ns) if IPv6 in packet else None


def _seen_ipv4(ip: Packet, time_ns: int) -> Seen | None:
    if ip.frag:
        return None
    network = {"version": 4, "src": mapped(ip.src), "dst": mapped(ip.dst), "ttl": ip.ttl, "protocol": ip.proto}
    rest = ip.len - ip.ihl * 4
    return Seen(time_ns, length=ip.len, fragment=int("MF" in ip.flags), **network, **_transport(ip.payload, rest))


def _seen_ipv6(ip: Packet, time_ns: int) -> Seen | None:
    layer, protocol, rest, fragment = ip.payload, ip.nh, ip.plen, 0
    while isinstance(layer, EXTENSIONS):
        if isinstance(layer, IPv6ExtHdrFragment):
            fragment = layer.m
            if layer.offset:
                return None
        rest -= 8 if isinstance(layer, IPv6ExtHdrFragment) else (layer.len + 1) * 8
        protocol, layer = layer.nh, layer.payload
    network = {"version": 6, "src": mapped(ip.src), "dst": mapped(ip.dst), "ttl": ip.hlim, "protocol": protocol}
    return Seen(time_ns, length=ip.plen + 40, fragment=fragment, **network, **_transport(layer, rest))


def _transport(layer: Packet, rest: int) -> dict[str, int]:
    if isinstance(layer, TCP):
        ports = {"src_port": layer.sport, "dst_port": layer.dport, "payload": rest - layer.dataofs * 4}
        return {**ports, "flags": int(layer.flags) & 255, "seq": layer.seq, "window": layer.window}
    if isinstance(layer, UDP):
        return {"src_port": layer.sport, "dst_port": layer.dport, "payload": rest - 8}
    if isinstance(layer, ICMP):
        return {"icmp_type": layer.type, "icmp_code": layer.code, "payload": rest - 8}
    if type(layer).__name__.startswith("ICMPv6"):
        return {"icmp_type": layer.type, "icmp_code": getattr(layer, "code", 0), "payload": rest - 8}
    return {"payload": rest}


@dataclass
class Live:
    """A flow that has not ended: its packets with their effective times, in order of arrival."""

    forward: tuple[bytes, int]
    heard_ns: int = 0
    closed_ns: int | None = None
    packets: list[tuple[int, Seen]] = field(default_factory=list)

    def way(self, packet: Seen) -> int:
        """Return 0 for forward, 1 for backward."""
        return 0 if (packet.src, packet.src_port) == self.forward else 1

    def is_closing(self) -> bool:
        """Tell whether a RST or FINs of both sides are among the packets."""
        fins = {self.way(packet) for _, packet in self.packets if packet.has("fin")}
        return fins == {0, 1} or any(packet.has("rst") for _, packet in self.packets)


def meter(packets: Iterable[Seen], settings: MeterSettings) -> list[Flow]:
    """Return the finished flows, FLOW's fields by name, in no particular order."""
    live: dict[object, Live] = {}
    done: list[Flow] = []
    clock = NEVER
    for packet in _in_believable_time(list(packets)):
        clock = max(clock, packet.time_ns)
        time_ns = max(packet.time_ns, clock - SECOND)
        flow = live.get(packet.key)
        reason = flow and _ended(flow, packet, time_ns, clock, settings)
        if flow is not None and reason:
            done.append(_statistics(flow, reason, settings))
            flow = None
        if flow is None:
            sender, receiver = (packet.src, packet.src_port), (packet.dst, packet.dst_port)
            flow = live[packet.key] = Live(receiver if packet.has("syn", "ack") else sender)
            if sender == receiver:
                flow.forward = sender
        flow.packets.append((time_ns, packet))
        flow.heard_ns = clock
        if packet.protocol == 6 and flow.closed_ns is None and (packet.flags & 5) and flow.is_closing():
            flow.closed_ns = clock
    return done + [_statistics(flow, _left_over(flow, clock, settings), settings) for flow in live.values()]


def _in_believable_time(packets: Sequence[Seen]) -> list[Seen]:
    """Give a packet an hour ahead of all before it and of the next one the latest time before it."""
    believed: list[Seen] = []
    clock = NEVER
    for at, packet in enumerate(packets):
        following = packets[at + 1].time_ns if at + 1 < len(packets) else packet.time_ns
        time_ns = packet.time_ns
        if time_ns - clock > 3600 * SECOND and time_ns - following > 3600 * SECOND:
            time_ns = following if clock == NEVER else clock
        clock = max(clock, time_ns)
        believed.append(replace(packet, time_ns=time_ns))
    return believed


def _ended(flow: Live, packet: Seen, time_ns: int, clock: int, settings: MeterSettings) -> EndReason | None:
    if flow.closed_ns is not None:
        new_connection = packet.has("syn") and not any(packet.has(flag) for flag in ("ack", "rst", "fin"))
        over = clock - flow.closed_ns >= settings.tcp_grace_s * SECOND
        return EndReason.TCP_END if over or new_connection else None
    if clock - flow.heard_ns >= settings.idle_timeout_s * SECOND:
        return EndReason.IDLE
    return EndReason.ACTIVE if time_ns - flow.packets[0][0] > settings.active_timeout_s * SECOND else None


def _left_over(flow: Live, clock: int, settings: MeterSettings) -> EndReason:
    if flow.closed_ns is not None:
        return EndReason.TCP_END
    return EndReason.IDLE if clock - flow.heard_ns >= settings.idle_timeout_s * SECOND else EndReason.CAPTURE_END


def _statistics(flow: Live, reason: EndReason, settings: MeterSettings) -> Flow:
    first = flow.packets[0][1]
    ends = [(first.src, first.src_port), (first.dst, first.dst_port)]
    if flow.way(first):
        ends.reverse()
    row: Flow = {
        "src": list(ends[0][0]),
        "dst": list(ends[1][0]),
        "src_port": ends[0][1],
        "dst_port": ends[1][1],
        "protocol": first.protocol,
        "ip_version": first.version,
        "vlan": first.vlan,
        "end_reason": int(reason),
        "icmp_type": first.icmp_type,
        "icmp_code": first.icmp_code,
    }
    ways = [[(time, packet) for time, packet in flow.packets if flow.way(packet) == way] for way in (0, 1)]
    row |= _times(flow, ways, settings) | _handshake(flow)
    for way_row in [_volumes(way, flow.packets[0][0]) | _tcp(way) for way in ways]:
        for name, value in way_row.items():
            row.setdefault(name, []).append(value)
    return row | _first_packets(flow) | _zeek(flow)


def _zeek(flow: Live) -> Flow:
    letters = {"fin": "F", "syn": "S", "rst": "R", "ack": "A"}
    segments = [
        Segment(
            flow.way(packet),
            "".join(letter for flag, letter in letters.items() if packet.has(flag)),
            packet.seq,
            packet.payload,
            packet.window,
        )
        for _, packet in flow.packets
        if packet.protocol == 6 and packet.fragment != 2
    ]
    return fields(segments, turned=flow.way(flow.packets[0][1]) == 1)


def _gaps(times: Sequence[int]) -> list[int]:
    return [max(time - latest, 0) for time, latest in zip(times[1:], accumulate(times, max), strict=False)]


def _times(flow: Live, ways: list[list[tuple[int, Seen]]], settings: MeterSettings) -> Flow:
    times = [time for time, _ in flow.packets]
    of_ways = [[time for time, _ in way] for way in ways]
    gaps = [_gaps(of) for of in (*of_ways, times)]
    late = [flow.way(p) for (t, p), latest in zip(flow.packets, accumulate(times, max), strict=True) if t < latest]
    return {
        "first_ns": times[0],
        "last_ns": max(times),
        "out_of_order": [late.count(0), late.count(1)],
        "dir_first_ns": [(of or [NEVER])[0] for of in of_ways],
        "dir_last_ns": [max(of or [NEVER]) for of in of_ways],
        "gap_min_s": [in_seconds(min(g)) if g else float("inf") for g in gaps],
        "gap_max_s": [in_seconds(max(g, default=0)) for g in gaps],
        "gap_sq": [float(sum(x * x for x in g)) for g in gaps],
        **_activity(times, settings.activity_gap_s * SECOND),
    }


def _activity(times: Sequence[int], longest_gap: float) -> Flow:
    starts, runs, idles, latest = [times[0]], [], [], times[0]
    for time in times[1:]:
        if time - latest > longest_gap:
            runs.append(latest - starts[-1])
            idles.append(time - latest)
            starts.append(time)
        latest = max(latest, time)
    return {
        "active_start_ns": starts[-1],
        "active_count": len(runs),
        "active_max_s": in_seconds(max(runs, default=0)),
        "idle_sum": sum(idles),
    }


def in_seconds(duration_ns: int) -> float:
    """Return nanoseconds as seconds of 32 bits."""
    return float(np.float32(duration_ns * 1e-9))


def _volumes(way: list[tuple[int, Seen]], first_ns: int) -> Flow:
    lengths, payloads = [p.length for _, p in way], [p.payload for _, p in way]
    return {
        "packets": len(way),
        "bytes": sum(lengths),
        "payload_bytes": sum(payloads),
        "data_packets": sum(p > 0 for p in payloads),
        "length_min": min(lengths, default=0),
        "length_max": max(lengths, default=0),
        "length_sq": float(sum(x * x for x in lengths)),
        "payload_max": max(payloads, default=0),
        "payload_sq": float(sum(x * x for x in payloads)),
        "first_payload_s": next((in_seconds(time - first_ns) for time, p in way if p.payload), float("inf")),
        "ttl_min": min((p.ttl for _, p in way), default=255),
        "ttl_max": max((p.ttl for _, p in way), default=0),
        "fragments": sum(p.fragment for _, p in way),
    }


def _tcp(way: list[tuple[int, Seen]]) -> Flow:
    segments = [packet for _, packet in way if packet.protocol == 6]
    windows = [packet.window for packet in segments if packet.window != NEVER]
    next_seq, again = None, 0
    for packet in segments:
        if packet.has("rst"):
            continue
        span = packet.payload + packet.has("syn") + packet.has("fin")
        end = (packet.seq + span) % 2**32
        if next_seq is None:
            next_seq = end
            continue
        again += span > 0 and _is_before(packet.seq, next_seq)
        next_seq = next_seq if _is_before(end, next_seq) else end
    return {
        "flags": [sum(packet.flags >> bit & 1 for packet in segments) for bit in range(8)],
        "window_first": (windows or [0])[0],
        "window_min": min(windows, default=65_535),
        "window_max": max(windows, default=0),
        "zero_windows": sum(packet.window == 0 and not packet.has("rst") for packet in segments),
        "next_seq": next_seq or 0,
        "retransmissions": again,
    }


def _is_before(a: int, b: int) -> bool:
    return (a - b) % 2**32 >= 2**31


def _handshake(flow: Live) -> Flow:
    syn_ns = syn_ack_ns = handshake_ns = NEVER
    for time, packet in flow.packets:
        way = flow.way(packet)
        if packet.has("syn", "ack"):
            syn_ack_ns = time if way == 1 and syn_ack_ns == NEVER else syn_ack_ns
        elif packet.has("syn"):
            syn_ns = time if way == 0 and syn_ns == NEVER else syn_ns
        elif packet.has("ack") and not packet.has("rst") and way == 0 and syn_ack_ns != NEVER == handshake_ns:
            handshake_ns = time
    seen_all = int(NEVER not in (syn_ns, syn_ack_ns, handshake_ns))
    return {"syn_ns": syn_ns, "syn_ack_ns": syn_ack_ns, "handshake_ns": handshake_ns, "established": seen_all}


def _first_packets(flow: Live) -> Flow:
    firsts = flow.packets[:FIRST_PACKETS]
    rest = [0] * (FIRST_PACKETS - len(firsts))
    gaps = [0, *_gaps([time for time, _ in firsts])]
    return {
        "first_backward": sum(flow.way(p) << at for at, (_, p) in enumerate(firsts)),
        "first_payload": [p.payload for _, p in firsts] + rest,
        "first_gap_s": [in_seconds(gap) for gap in gaps] + rest,
    }


def assert_same_flows(flows: np.ndarray, expected: Sequence[Flow]) -> None:
    """Compare FLOW rows with the oracle's in every field but the number of facts, whatever their order."""
    names = [name for name in flows.dtype.names or () if name != "facts"]
    rows = [{name: row[name].tolist() for name in names} for row in flows]
    assert len(rows) == len(expected)
    for row, right in zip(sorted(rows, key=_order), sorted(expected, key=_order), strict=True):
        assert row.keys() == right.keys()
        different = {name: (row[name], right[name]) for name in row if not _equal(row[name], right[name])}
        assert not different, (different, right)


def _order(row: Flow) -> list[object]:
    return [row[name] for name in ("first_ns", "last_ns", "protocol", "src_port", "dst_port", "src", "dst", "bytes")]


def _equal(value: Any, right: Any) -> bool:
    is_floating = isinstance(np.ravel(value)[0], np.floating)
    return bool(np.allclose(value, right, rtol=1e-12, atol=0)) if is_floating else value == right
