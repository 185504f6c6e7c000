"""The packet kernel: IP datagrams in, packets out; network and transport headers decoded in one pass.

Lengths come from the headers, never from the captured bytes: a snap length that keeps the headers changes nothing.
Every njit function that the kernel calls lives in this file: numba's cache looks at one source file only.

Sources: RFC 791 (IPv4), RFC 8200 (IPv6 and its extension headers), RFC 9293 (TCP), RFC 768 (UDP), RFC 9260 (SCTP),
RFC 792 and 4443 (ICMP).
"""

import numpy as np

from features.captures.packet_record import ETHERTYPE_IPV4, LATER_FRAGMENT, SkipReason
from features.kernel_types import NEVER, Int, Record, kernel, part

PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP, PROTOCOL_ICMPV6, PROTOCOL_SCTP = 1, 6, 17, 58, 132


@part
def _u16(block: np.ndarray, at: Int) -> Int:
    return np.int64(block[at]) << 8 | np.int64(block[at + 1])


@part
def _u32(block: np.ndarray, at: Int) -> Int:
    return _u16(block, at) << 16 | _u16(block, at + 2)


@part
def _u64(block: np.ndarray, at: Int) -> Int:
    return np.uint64(_u32(block, at)) << np.uint64(32) | np.uint64(_u32(block, at + 4))


@part
def _ipv4(block: np.ndarray, at: Int, end: Int, on_wire: Int, packet: Record) -> tuple[Int, Int, Int]:
    """Fill the packet's network fields.

    Returns:
        Reason, index of the transport header, bytes of the datagram from there on.
    """
    if end - at < 20:
        return SkipReason.TRUNCATED_IP.value, at, 0
    header = (np.int64(block[at]) & 15) * 4
    length = _u16(block, at + 2)
    if length == 0 or length > on_wire:  # left to the network card (segmentation offload), or not to be believed
        length = on_wire
    if block[at] >> 4 != 4 or header < 20 or length < header:
        return SkipReason.BAD_IP_HEADER.value, at, 0
    if end - at < header:
        return SkipReason.TRUNCATED_IP.value, at, 0
    fragment = _u16(block, at + 6)
    mapped = np.uint64(0xFFFF00000000)
    packet.src_high = np.uint64(0)
    packet.src_low = mapped | np.uint64(_u32(block, at + 12))
    packet.dst_high = np.uint64(0)
    packet.dst_low = mapped | np.uint64(_u32(block, at + 16))
    packet.ip_version = 4
    packet.ttl = block[at + 8]
    packet.protocol = block[at + 9]
    packet.fragment = LATER_FRAGMENT if fragment & 0x1FFF else fragment >> 13 & 1
    packet.ip_id = _u16(block, at + 4)
    packet.length = length
    return SkipReason.NONE.value, at + header, length - header


@part
def _extension_bytes(kind: Int, units: Int) -> Int:
    """Return the length of an IPv6 extension header, 0 if the kind is none (RFC 8200, 4; RFC 4302 for AH)."""
    if kind in (0, 43, 60, 135, 139, 140):
        return (units + 1) * 8
    if kind == 44:
        return 8
    if kind == 51:
        return (units + 2) * 4
    return 0


@part
def _ipv6(block: np.ndarray, at: Int, end: Int, on_wire: Int, packet: Record) -> tuple[Int, Int, Int]:
    """Fill the packet's network fields, walking the extension headers; returns as _ipv4."""
    if end - at < 40:
        return SkipReason.TRUNCATED_IP.value, at, 0
    rest = _u16(block, at + 4)
    if rest == 0 or rest > on_wire - 40:  # a jumbogram, left to the network card, or not to be believed
        rest = max(on_wire - 40, 0)
    if block[at] >> 4 != 6:
        return SkipReason.BAD_IP_HEADER.value, at, 0
    packet.src_high = _u64(block, at + 8)
    packet.src_low = _u64(block, at + 16)
    packet.dst_high = _u64(block, at + 24)
    packet.dst_low = _u64(block, at + 32)
    packet.ip_version = 6
    packet.ttl = block[at + 7]
    packet.length = rest + 40
    packet.fragment = 0
    kind = np.int64(block[at + 6])
    at += 40
    while _extension_bytes(kind, 0):
        if end - at < 8:
            return SkipReason.TRUNCATED_IP.value, at, 0
        size = _extension_bytes(kind, np.int64(block[at + 1]))
        if size > rest:
            return SkipReason.BAD_IP_HEADER.value, at, 0
        fragment = _u16(block, at + 2) if kind == 44 else 0
        if kind == 44:
            packet.fragment = LATER_FRAGMENT if fragment & 0xFFF8 else fragment & 1
            packet.ip_id = _u32(block, at + 4)
        kind = np.int64(block[at])
        at += size
        rest -= size
        if fragment & 0xFFF8:  # what follows is the middle of something
            break
    packet.protocol = kind
    return SkipReason.NONE.value, at, rest


@part
def _tcp(block: np.ndarray, at: Int, end: Int, rest: Int, packet: Record) -> Int:
    if rest < 20:
        return SkipReason.BAD_TRANSPORT_HEADER.value
    if end - at < 14:
        return SkipReason.TRUNCATED_TRANSPORT.value
    header = np.int64(block[at + 12] >> 4) * 4
    if header < 20 or header > rest:
        return SkipReason.BAD_TRANSPORT_HEADER.value
    packet.src_port = _u16(block, at)
    packet.dst_port = _u16(block, at + 2)
    packet.seq = _u32(block, at + 4)
    packet.flags = block[at + 13]
    if end - at >= 16:
        packet.window = _u16(block, at + 14)
    packet.payload = rest - header
    packet.payload_start = at + header
    packet.payload_captured = max(min(end - at, rest) - header, 0)
    return SkipReason.NONE.value


@part
def _transport(block: np.ndarray, at: Int, end: Int, rest: Int, packet: Record) -> Int:
    """Fill the packet's transport fields and return the reason."""
    packet.src_port = 0
    packet.dst_port = 0
    packet.seq = 0
    packet.flags = 0
    packet.window = NEVER
    packet.icmp_type = NEVER
    packet.icmp_code = NEVER
    packet.payload = rest
    packet.payload_start = at
    packet.payload_captured = 0
    if packet.fragment == LATER_FRAGMENT:
        return SkipReason.NONE.value
    if packet.protocol == PROTOCOL_TCP:
        return _tcp(block, at, end, rest, packet)
    protocol = packet.protocol
    if protocol not in (PROTOCOL_UDP, PROTOCOL_SCTP, PROTOCOL_ICMP, PROTOCOL_ICMPV6):
        return SkipReason.NONE.value
    header = 12 if protocol == PROTOCOL_SCTP else 8
    if rest < (header if protocol in (PROTOCOL_UDP, PROTOCOL_SCTP) else 4):
        return SkipReason.BAD_TRANSPORT_HEADER.value
    if end - at < 4:
        return SkipReason.TRUNCATED_TRANSPORT.value
    packet.payload = max(rest - header, 0)
    if protocol == PROTOCOL_UDP:
        packet.payload_start = at + header
        packet.payload_captured = max(min(end - at, rest) - header, 0)
    if protocol in (PROTOCOL_UDP, PROTOCOL_SCTP):
        packet.src_port = _u16(block, at)
        packet.dst_port = _u16(block, at + 2)
    else:
        packet.icmp_type = block[at]
        packet.icmp_code = block[at + 1]
    return SkipReason.NONE.value


@part
def _decode_packet(block: np.ndarray, row: Record, packet: Record) -> Int:
    """Decode one datagram into a PACKET row and return its SkipReason; the row holds no packet unless that is NONE."""
    if row.link_type < 0:
        return -row.link_type
    at: Int = np.int64(row.start)
    end: Int = at + row.captured
    if row.link_type == ETHERTYPE_IPV4:
        reason, at, rest = _ipv4(block, at, end, row.original, packet)
    else:
        reason, at, rest = _ipv6(block, at, end, row.original, packet)
    if reason:
        return reason
    packet.time_ns = row.time_ns
    packet.vlan = row.vlan
    return _transport(block, at, end, rest, packet)


@kernel
def try_packets(block: np.ndarray, rows: np.ndarray, scratch: np.ndarray, reasons: np.ndarray) -> None:
    """Write the SkipReason that each of some stripped FRAME rows would have, uint8; scratch is one PACKET row."""
    for i in range(len(rows)):
        reasons[i] = _decode_packet(block, rows[i], scratch[0])


@kernel
def decode_packets(block: np.ndarray, rows: np.ndarray, packets: np.ndarray, skipped: np.ndarray) -> tuple[int, bool]:
    """Decode what strip_links made of frames.

    Args:
        block: Bytes, uint8.
        rows: FRAME rows into it, stripped.
        packets: PACKET rows to fill, as many as frames at least.
        skipped: Count a SkipReason, shape (len(SkipReason),), added to.

    Returns:
        Number of packets filled in, and whether there are fragments among them.
    """
    kept, has_fragments = 0, False
    for row in rows:
        packet = packets[kept]
        reason = _decode_packet(block, row, packet)
        skipped[reason] += 1
        if reason == 0:
            kept += 1
            has_fragments |= packet.fragment != 0
    return kept, has_fragments
