"""Frames to packets: link, network and transport headers decoded into one row a packet, or a reason why not.

Lengths come from the headers, never from the captured bytes: a snap length that keeps the headers changes nothing.
Every njit function that the kernels here call lives in this file: numba's cache looks at one source file only.

Sources: IEEE 802.1Q (tags), RFC 791 (IPv4), RFC 8200 (IPv6 and its extension headers), RFC 9293 (TCP), RFC 768 (UDP),
RFC 792 and 4443 (ICMP), tcpdump.org's list of link types.
"""

import enum

import numpy as np
from numba import njit

from features.capture import FRAME
from features.flow_record import NEVER
from features.flow_table import Int, Record

ETHERTYPE_IPV4, ETHERTYPE_IPV6 = 0x0800, 0x86DD
PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP, PROTOCOL_ICMPV6 = 1, 6, 17, 58
LINK_NULL, LINK_ETHERNET, LINK_RAW, LINK_LOOP = 0, 1, 101, 108
LINK_SLL, LINK_IPV4, LINK_IPV6, LINK_SLL2 = 113, 228, 229, 276
DLT_RAW, DLT_RAW_OPENBSD = 12, 14  # written by programs that store the DLT_ value as it is


class SkipReason(enum.IntEnum):
    """Why a packet has no place in a flow; the lower-case name is the count's."""

    NONE = 0
    LINK_TYPE = 1  # a link type that is not decoded
    TRUNCATED_LINK = 2  # the captured bytes end before the network header
    NOT_IP = 3  # ARP, LLDP, spanning tree ...
    TRUNCATED_IP = 4  # the captured bytes end inside the IP header or IPv6's extension headers
    BAD_IP_HEADER = 5  # version or lengths contradict each other
    FRAGMENT = 6  # not the first fragment: it carries no ports
    TRUNCATED_TRANSPORT = 7  # ports, TCP flags or ICMP type were not captured
    BAD_TRANSPORT_HEADER = 8  # the datagram is too short for the header it claims
    TORN_RECORD = 9  # the capture ends inside the record


PACKET = np.dtype(
    [
        ("time_ns", "i8"),
        ("src_high", "u8"),  # the address's first and last eight bytes as numbers; IPv4 as ::ffff:a.b.c.d
        ("src_low", "u8"),
        ("dst_high", "u8"),
        ("dst_low", "u8"),
        ("length", "i8"),  # of the IP datagram
        ("payload", "i8"),  # bytes of transport payload
        ("seq", "u4"),
        ("window", "i4"),  # NEVER where not TCP or not captured
        ("src_port", "u2"),  # 0 where the protocol has none
        ("dst_port", "u2"),
        ("icmp_type", "i2"),  # NEVER for other protocols
        ("icmp_code", "i2"),
        ("protocol", "u1"),
        ("ip_version", "u1"),
        ("flags", "u1"),  # TCP flags, 0 for other protocols
        ("ttl", "u1"),
        ("fragment", "u1"),  # 1 for the first fragment of several
    ],
    align=True,
)
"""One decoded packet."""


@njit(nogil=True)
def _u16(block: np.ndarray, at: Int) -> Int:
    return np.int64(block[at]) << 8 | np.int64(block[at + 1])


@njit(nogil=True)
def _u32(block: np.ndarray, at: Int) -> Int:
    return _u16(block, at) << 16 | _u16(block, at + 2)


@njit(nogil=True)
def _u64(block: np.ndarray, at: Int) -> Int:
    return np.uint64(_u32(block, at)) << np.uint64(32) | np.uint64(_u32(block, at + 4))


@njit(nogil=True)
def _ip_by_version(block: np.ndarray, at: Int, end: Int) -> Int:
    """Return the EtherType that the first nibble of a bare datagram stands for, 0 if none."""
    if at >= end:
        return 0
    version = block[at] >> 4
    return ETHERTYPE_IPV4 if version == 4 else ETHERTYPE_IPV6 if version == 6 else 0


@njit(nogil=True)
def _ethernet(block: np.ndarray, at: Int, end: Int) -> tuple[Int, Int]:
    """Return the index of the network header behind any number of VLAN tags, and its EtherType."""
    at += 14
    while at <= end:
        ethertype = _u16(block, at - 2)
        if ethertype not in (0x8100, 0x88A8, 0x9100):
            return at, ethertype
        at += 4
    return at, 0


@njit(nogil=True)
def _link(block: np.ndarray, at: Int, end: Int, link_type: Int) -> tuple[Int, Int]:
    """Return the index of the network header, beyond end if cut, and its EtherType (NEVER: unknown link type)."""
    if link_type == LINK_ETHERNET:
        return _ethernet(block, at, end)
    if link_type == LINK_SLL:
        return at + 16, _u16(block, at + 14) if at + 16 <= end else 0
    if link_type == LINK_SLL2:
        return at + 20, _u16(block, at) if at + 20 <= end else 0
    if link_type in (LINK_NULL, LINK_LOOP):
        return at + 4, _ip_by_version(block, at + 4, end)  # the family's numbers differ between systems
    if link_type in (LINK_RAW, LINK_IPV4, LINK_IPV6, DLT_RAW, DLT_RAW_OPENBSD):
        return at, _ip_by_version(block, at, end)
    return at, NEVER


@njit(nogil=True)
def _ipv4(block: np.ndarray, at: Int, end: Int, on_wire: Int, packet: Record) -> tuple[Int, Int, Int]:
    """Fill the packet's network fields.

    Returns:
        Reason, index of the transport header, bytes of the datagram from there on.
    """
    if end - at < 20:
        return SkipReason.TRUNCATED_IP.value, at, 0
    header = (np.int64(block[at]) & 15) * 4
    length = _u16(block, at + 2)
    if length == 0:  # left to the network card (segmentation offload)
        length = on_wire
    if block[at] >> 4 != 4 or header < 20 or length < header:
        return SkipReason.BAD_IP_HEADER.value, at, 0
    if end - at < header:
        return SkipReason.TRUNCATED_IP.value, at, 0
    fragment = _u16(block, at + 6)
    if fragment & 0x1FFF:
        return SkipReason.FRAGMENT.value, at, 0
    mapped = np.uint64(0xFFFF00000000)
    packet.src_high = np.uint64(0)
    packet.src_low = mapped | np.uint64(_u32(block, at + 12))
    packet.dst_high = np.uint64(0)
    packet.dst_low = mapped | np.uint64(_u32(block, at + 16))
    packet.ip_version = 4
    packet.ttl = block[at + 8]
    packet.protocol = block[at + 9]
    packet.fragment = fragment >> 13 & 1
    packet.length = length
    return SkipReason.NONE.value, at + header, length - header


@njit(nogil=True)
def _extension_bytes(kind: Int, units: Int) -> Int:
    """Return the length of an IPv6 extension header, 0 if the kind is none (RFC 8200, 4; RFC 4302 for AH)."""
    if kind in (0, 43, 60, 135, 139, 140):
        return (units + 1) * 8
    if kind == 44:
        return 8
    if kind == 51:
        return (units + 2) * 4
    return 0


@njit(nogil=True)
def _ipv6(block: np.ndarray, at: Int, end: Int, on_wire: Int, packet: Record) -> tuple[Int, Int, Int]:
    """Fill the packet's network fields, walking the extension headers; returns as _ipv4."""
    if end - at < 40:
        return SkipReason.TRUNCATED_IP.value, at, 0
    rest = _u16(block, at + 4)
    if rest == 0:  # a jumbogram, or left to the network card
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
        if kind == 44:
            if _u16(block, at + 2) & 0xFFF8:
                return SkipReason.FRAGMENT.value, at, 0
            packet.fragment = block[at + 3] & 1
        kind = np.int64(block[at])
        at += size
        rest -= size
    packet.protocol = kind
    return SkipReason.NONE.value, at, rest


@njit(nogil=True)
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
    return SkipReason.NONE.value


@njit(nogil=True)
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
    if packet.protocol == PROTOCOL_TCP:
        return _tcp(block, at, end, rest, packet)
    is_udp = packet.protocol == PROTOCOL_UDP
    if not is_udp and packet.protocol not in (PROTOCOL_ICMP, PROTOCOL_ICMPV6):
        return SkipReason.NONE.value
    if rest < (8 if is_udp else 4):
        return SkipReason.BAD_TRANSPORT_HEADER.value
    if end - at < 4:
        return SkipReason.TRUNCATED_TRANSPORT.value
    packet.payload = max(rest - 8, 0)
    if is_udp:
        packet.src_port = _u16(block, at)
        packet.dst_port = _u16(block, at + 2)
    else:
        packet.icmp_type = block[at]
        packet.icmp_code = block[at + 1]
    return SkipReason.NONE.value


@njit(nogil=True)
def decode_frame(block: np.ndarray, frame: Record, packet: Record) -> Int:
    """Decode one frame into a PACKET row and return its SkipReason; the row holds no packet unless that is NONE."""
    start = np.int64(frame.start)
    end = start + frame.captured
    at, ethertype = _link(block, start, end, frame.link_type)
    if ethertype == NEVER:
        return SkipReason.LINK_TYPE.value
    if at > end:
        return SkipReason.TRUNCATED_LINK.value
    on_wire = frame.original - (at - start)
    if ethertype == ETHERTYPE_IPV4:
        reason, at, rest = _ipv4(block, at, end, on_wire, packet)
    elif ethertype == ETHERTYPE_IPV6:
        reason, at, rest = _ipv6(block, at, end, on_wire, packet)
    else:
        return SkipReason.NOT_IP.value
    if reason:
        return reason
    packet.time_ns = frame.time_ns
    return _transport(block, at, end, rest, packet)


@njit(cache=True, nogil=True)
def decode_frames(block: np.ndarray, rows: np.ndarray, packets: np.ndarray, skipped: np.ndarray) -> Int:
    """Decode the frames of a block.

    Args:
        block: Bytes, uint8.
        rows: FRAME rows into it.
        packets: PACKET rows to fill, as many as frames at least.
        skipped: Count a SkipReason, shape (len(SkipReason),), added to.

    Returns:
        Number of packets filled in.
    """
    kept = 0
    for row in rows:
        reason = decode_frame(block, row, packets[kept])
        skipped[reason] += 1
        kept += reason == 0
    return kept


def decode_bytes(
    frame: bytes, link_type: int = LINK_ETHERNET, original: int | None = None
) -> tuple[SkipReason, np.void]:
    """Decode one frame given as bytes: the reason, and the PACKET row (all zero unless the reason is NONE)."""
    rows = np.zeros(1, dtype=FRAME)
    rows["captured"], rows["original"], rows["link_type"] = len(frame), original or len(frame), link_type
    packets = np.zeros(1, dtype=PACKET)
    skipped = np.zeros(len(SkipReason), dtype=np.int64)
    kept = decode_frames(np.frombuffer(frame, dtype=np.uint8), rows, packets, skipped)
    return SkipReason(int(skipped.argmax())), packets[0] if kept else np.zeros(1, dtype=PACKET)[0]
