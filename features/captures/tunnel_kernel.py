"""The tunnel kernel: where the packet inside another one lies, and what it is.

A tunnel is known by the outer packet's protocol, or by its port and then by every fixed bit of the tunnel's header:
a port alone is often somebody's ephemeral one. Every njit function that the kernels call lives in this file: numba's
cache looks at one source file only.

Sources: RFC 2784, 2890 and 2637 (GRE, its keys, PPTP's), draft-foschiano-erspan, RFC 8086 (GRE in UDP), 7348 (VXLAN),
draft-ietf-nvo3-vxlan-gpe, 8926 (Geneve), 3GPP TS 29.281 (GTP-U), RFC 2003, 2473 and 4213 (IP in IP), 3378 (EtherIP),
4023 and 7510 (MPLS), 4380 (Teredo), 2661 (L2TP), 5415 (CAPWAP), draft-massar-v6ops-ayiya; Wireshark's TZSP.
"""

import numpy as np

from features.captures.link_kernel import AS_ETHERNET, AS_IP, AS_SERIAL, AS_SWAPPED_WIFI, AS_WIFI, ETHERTYPE_MPLS
from features.captures.packet_record import ETHERTYPE_IPV4, ETHERTYPE_IPV6, INSIDE, Tunnel, Tunnels
from features.kernel_types import Int, Record, kernel, part

ETHERTYPE_ETHERNET, ETHERTYPE_PPP = 0x6558, 0x880B
ETHERTYPE_ERSPAN, ETHERTYPE_ERSPAN_3, ETHERTYPE_WCCP = 0x88BE, 0x22EB, 0x883E
IPV4_IN_IP, IPV6_IN_IP, GRE, ETHER_IP, MPLS_IN_IP, UDP = 4, 41, 47, 97, 137, 17
NOTHING = (0, 0, 0, 0)
"""No tunnel; else the index of what is inside, its EtherType or framing, the Tunnel, and the network's id in it."""
Outer = tuple[Int, Int, Int, bool]
"""An IP packet's protocol, the index of its transport header, the index after its last byte, whether a fragment."""
Inside = tuple[Int, Int, Int, Int]


@part
def _u16(block: np.ndarray, at: Int) -> Int:
    return np.int64(block[at]) << 8 | np.int64(block[at + 1])


@part
def _u24(block: np.ndarray, at: Int) -> Int:
    return _u16(block, at) << 8 | np.int64(block[at + 2])


@part
def _outer_ipv4(block: np.ndarray, at: Int, end: Int, on_wire: Int) -> Outer:
    """Read an IPv4 header as far as tunnels need it; protocol 0 if the packet kernel would refuse it."""
    header = (np.int64(block[at]) & 15) * 4 if end - at >= 20 else 0
    if header < 20 or block[at] >> 4 != 4 or end - at < header:
        return 0, at, end, False
    length = _u16(block, at + 2)
    if length == 0 or length > on_wire:
        length = on_wire
    if length < header:
        return 0, at, end, False
    return np.int64(block[at + 9]), at + header, min(end, at + length), _u16(block, at + 6) & 0x3FFF != 0


@part
def _outer_ipv6(block: np.ndarray, at: Int, end: Int, on_wire: Int) -> Outer:
    """Read an IPv6 header and its extension headers likewise (RFC 8200, 4)."""
    if end - at < 40 or block[at] >> 4 != 6:
        return 0, at, end, False
    rest, kind, is_fragment = _u16(block, at + 4), np.int64(block[at + 6]), False
    if rest == 0 or rest > on_wire - 40:
        rest = max(on_wire - 40, 0)
    at += 40
    stop = min(end, at + rest)
    while kind in (0, 43, 44, 60) and not is_fragment:
        size = 8 if kind == 44 or end - at < 8 else (np.int64(block[at + 1]) + 1) * 8
        if size > min(rest, end - at):
            return 0, at, end, False
        is_fragment = kind == 44 and _u16(block, at + 2) & 0xFFF9 != 0
        kind = np.int64(block[at])
        at, rest = at + size, rest - size
    return kind, at, stop, is_fragment


@part
def _erspan(block: np.ndarray, at: Int, end: Int, flags: Int, protocol: Int) -> Inside:
    """Return the mirrored frame: type I has no header of its own, and no sequence number in GRE; III may have two."""
    if protocol == ETHERTYPE_ERSPAN:
        return at + (8 if flags & 0x1000 else 0), AS_ETHERNET, Tunnel.ERSPAN.value, 0
    if end - at < 12:
        return NOTHING
    return at + (20 if block[at + 11] & 1 else 12), AS_ETHERNET, Tunnel.ERSPAN.value, 0


@part
def _gre(block: np.ndarray, at: Int, end: Int) -> Inside:  # noqa: PLR0911 (a switch)
    """Return what GRE carries: version 0 by its EtherType, version 1 PPP (RFC 2637, 4.1)."""
    if end - at < 4:
        return NOTHING
    flags, protocol = _u16(block, at), _u16(block, at + 2)
    size = 4 + 4 * ((flags >> 15 & 1) + (flags >> 13 & 1) + (flags >> 12 & 1))
    if flags & 7 == 1:
        if protocol != ETHERTYPE_PPP or not flags & 0x1000:  # an acknowledgement alone
            return NOTHING
        return at + size + (4 if flags & 0x80 else 0), AS_SERIAL, Tunnel.PPTP.value, 0
    if flags & 0x4007:  # RFC 1701's routing, or a later version
        return NOTHING
    at += size
    if protocol in (ETHERTYPE_ERSPAN, ETHERTYPE_ERSPAN_3):
        return _erspan(block, at, end, flags, protocol)
    if protocol == ETHERTYPE_ETHERNET:
        return at, AS_ETHERNET, Tunnel.GRE.value, 0
    if protocol == ETHERTYPE_WCCP:  # Cisco's redirection, in its second version with four bytes of its own
        return at + (4 if at < end and block[at] >> 4 != 4 else 0), AS_IP, Tunnel.GRE.value, 0
    return (at, protocol, Tunnel.GRE.value, 0) if protocol >= 0x600 else NOTHING


@part
def _vxlan(block: np.ndarray, at: Int, end: Int) -> Inside:
    """Return what VXLAN carries: Ethernet, or with the P bit of its generic extension what the fourth byte says."""
    if end - at < 8 or not block[at] & 8 or block[at + 7]:
        return NOTHING
    network, kind = _u24(block, at + 4), AS_ETHERNET
    if block[at] & 4:
        number = block[at + 3]
        kind = ETHERTYPE_IPV4 if number == 1 else ETHERTYPE_IPV6 if number == 2 else AS_ETHERNET
        if number not in (1, 2, 3):
            return NOTHING
    elif block[at] & 0x77 or (_u24(block, at + 1) and not block[at] & 0x80):  # 0x80: a group policy's id follows
        return NOTHING
    return at + 8, kind, Tunnel.VXLAN.value, network


@part
def _geneve(block: np.ndarray, at: Int, end: Int) -> Inside:
    if end - at < 8 or block[at] >> 6 or block[at + 7]:
        return NOTHING
    kind = _u16(block, at + 2)
    inside = at + 8 + (np.int64(block[at]) & 0x3F) * 4
    if kind not in (ETHERTYPE_ETHERNET, ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETHERTYPE_MPLS):
        return NOTHING
    return inside, AS_ETHERNET if kind == ETHERTYPE_ETHERNET else kind, Tunnel.GENEVE.value, _u24(block, at + 4)


@part
def _gtp(block: np.ndarray, at: Int, end: Int) -> Inside:
    """Return the user's packet in a G-PDU, behind its extension headers; their lengths are in units of four bytes."""
    if end - at < 8 or block[at] & 0xF0 != 0x30 or block[at + 1] != 0xFF:
        return NOTHING
    flags, at = np.int64(block[at]), at + 8
    if flags & 7:
        at += 4
        following = block[at - 1] if flags & 4 and at <= end else 0
        while following:
            if at >= end or block[at] == 0:
                return NOTHING
            at += np.int64(block[at]) * 4
            following = block[at - 1] if at <= end else 0
    return at, AS_IP, Tunnel.GTP_U.value, 0


@part
def _teredo(block: np.ndarray, at: Int, end: Int) -> Inside:
    """Return the IPv6 packet behind an authentication and an origin indication, if it fills what UDP says there is.

    Source: RFC 4380, 5.1.1.
    """
    stop = at - 8 + _u16(block, at - 4)
    if end - at >= 13 and _u16(block, at) == 1:
        at += 13 + np.int64(block[at + 2]) + np.int64(block[at + 3])
    if end - at >= 8 and _u16(block, at) == 0:
        at += 8
    if end - at < 40 or block[at] >> 4 != 6 or at + 40 + _u16(block, at + 4) != stop:
        return NOTHING
    return at, ETHERTYPE_IPV6, Tunnel.TEREDO.value, 0


@part
def _l2tp(block: np.ndarray, at: Int, end: Int) -> Inside:
    """Return the PPP frame of a data message (RFC 2661, 3.1)."""
    if end - at < 6 or _u16(block, at) & 0x800F != 2:
        return NOTHING
    flags = _u16(block, at)
    at += 6 + (2 if flags & 0x4000 else 0) + (4 if flags & 0x800 else 0)
    if flags & 0x200:
        at += 2 + (_u16(block, at) if end - at >= 2 else 0)
    return at, AS_SERIAL, Tunnel.L2TP.value, 0


@part
def _capwap(block: np.ndarray, at: Int, end: Int) -> Inside:
    """Return the station's frame: of IEEE 802.11 or of Ethernet; not that of a fragment, of DTLS or to keep alive."""
    if end - at < 8 or block[at] or block[at + 3] & 0x88:
        return NOTHING
    kind = AS_SWAPPED_WIFI if block[at + 2] & 1 else AS_ETHERNET
    return at + (np.int64(block[at + 1]) >> 3) * 4, kind, Tunnel.CAPWAP.value, 0


@part
def _ayiya(block: np.ndarray, at: Int, end: Int) -> Inside:
    """Return what is behind an identity of two to the power of its length, and a signature in units of four bytes."""
    if end - at < 8 or block[at + 2] & 15 != 1 or block[at + 3] not in (IPV4_IN_IP, IPV6_IN_IP):
        return NOTHING
    kind = ETHERTYPE_IPV4 if block[at + 3] == IPV4_IN_IP else ETHERTYPE_IPV6
    size = (1 << np.int64(block[at] >> 4)) + np.int64(block[at + 1] >> 4) * 4
    return at + 8 + size, kind, Tunnel.AYIYA.value, 0


@part
def _tzsp(block: np.ndarray, at: Int, end: Int) -> Inside:
    """Return the frame of a remote sniffer, behind fields that end with one of type 1; type 0 has no length."""
    if end - at < 5 or block[at] != 1 or block[at + 1] > 1 or _u16(block, at + 2) not in (1, 18):
        return NOTHING
    kind = AS_ETHERNET if _u16(block, at + 2) == 1 else AS_WIFI
    at += 4
    while end - at >= 2:
        if block[at] == 1:
            return at + 1, kind, Tunnel.TZSP.value, 0
        at += 1 if block[at] == 0 else 2 + np.int64(block[at + 1])
    return NOTHING


@part
def _by_port(block: np.ndarray, at: Int, end: Int, port: Int) -> Inside:  # noqa: PLR0911 (a switch)
    """Return what a UDP payload at an index carries if the port and its header are a tunnel's."""
    if port in (4789, 4790, 8472):
        return _vxlan(block, at, end)
    if port == 2152:
        return _gtp(block, at, end)
    if port == 6081:
        return _geneve(block, at, end)
    if port == 3544:
        return _teredo(block, at, end)
    if port == 5247:
        return _capwap(block, at, end)
    if port == 1701:
        return _l2tp(block, at, end)
    if port == 4754:
        return _gre(block, at, end)
    if port == 5072:
        return _ayiya(block, at, end)
    if port == 37008:
        return _tzsp(block, at, end)
    return (at, ETHERTYPE_MPLS, Tunnel.MPLS.value, 0) if port == 6635 else NOTHING


@part
def _inside(block: np.ndarray, at: Int, end: Int, protocol: Int) -> Inside:  # noqa: PLR0911 (a switch)
    """Return what an IP payload at an index carries."""
    if protocol == UDP:
        if end - at < 8:
            return NOTHING
        found = _by_port(block, at + 8, end, _u16(block, at + 2))
        return found if found[2] else _by_port(block, at + 8, end, _u16(block, at))
    if protocol == GRE:
        return _gre(block, at, end)
    if protocol == IPV4_IN_IP:
        return at, ETHERTYPE_IPV4, Tunnel.IP_IN_IP.value, 0
    if protocol == IPV6_IN_IP:
        return at, ETHERTYPE_IPV6, Tunnel.IP_IN_IP.value, 0
    if protocol == ETHER_IP and end - at >= 2 and block[at] >> 4 == 3:
        return at + 2, AS_ETHERNET, Tunnel.ETHER_IP.value, 0
    return (at, ETHERTYPE_MPLS, Tunnel.MPLS.value, 0) if protocol == MPLS_IN_IP else NOTHING


@part
def _enter(block: np.ndarray, row: Record, inner: Record, counts: np.ndarray) -> Int:
    """Fill a FRAME row with what the packet of another one carries; returns the tunnel, 0 if there is none to enter."""
    start = np.int64(row.start)
    end = start + row.captured
    if row.link_type == ETHERTYPE_IPV4:
        protocol, at, stop, is_fragment = _outer_ipv4(block, start, end, row.original)
    else:
        protocol, at, stop, is_fragment = _outer_ipv6(block, start, end, row.original)
    if protocol not in (UDP, GRE, IPV4_IN_IP, IPV6_IN_IP, ETHER_IP, MPLS_IN_IP):
        return 0
    if is_fragment and protocol != UDP:  # a later one begins with anything
        counts[Tunnel.FRAGMENTED] += 1
        return 0
    at, kind, tunnel, network = _inside(block, at, stop, protocol)
    if is_fragment and tunnel:
        counts[Tunnel.FRAGMENTED] += 1
        return 0
    if tunnel:
        inner.time_ns, inner.start, inner.captured = row.time_ns, min(at, stop), max(stop - at, 0)
        inner.original = max(row.original - (end - stop) - (at - start), 0)
        inner.link_type, inner.vlan = INSIDE + kind, network
    return tunnel


@kernel
def enter_tunnels(block: np.ndarray, rows: np.ndarray, candidates: np.ndarray, tunnels: Tunnels) -> int:
    """Find the tunnels among packets.

    Args:
        block: Bytes, uint8.
        rows: FRAME rows into it, stripped.
        candidates: Indices of the rows to look at.
        tunnels: rows, places and kinds are filled: what the tunnels carry as frames, whose they are, and which kind.

    Returns:
        Number of tunnels found.
    """
    found = 0
    for place in candidates:
        if rows[place].link_type > 0:
            kind = _enter(block, rows[place], tunnels.rows[found], tunnels.counts)
            if kind:
                tunnels.places[found], tunnels.kinds[found] = place, kind
                found += 1
    return found


@kernel
def keep_inner(rows: np.ndarray, found: int, reasons: np.ndarray, tunnels: Tunnels) -> int:
    """Put the packet inside in the place of the one outside wherever it can be decoded, and count.

    Args:
        rows: FRAME rows, of which some are replaced.
        found: Number of tunnels found.
        reasons: Of each packet inside a SkipReason, 0 where it can be decoded.
        tunnels: As enter_tunnels left them; places come to hold those replaced.

    Returns:
        Number of rows replaced.
    """
    kept = 0
    for i in range(found):
        if reasons[i]:
            tunnels.counts[Tunnel.UNDECODED] += 1
            continue
        place = tunnels.places[i]
        rows[place] = tunnels.rows[i]
        tunnels.places[kept] = place
        tunnels.counts[tunnels.kinds[i]] += 1
        kept += 1
    return kept
