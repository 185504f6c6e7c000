"""The link kernel: whatever lies around an IP datagram is taken off.

A frame is a pile of framings: each says what lies behind it, until that is IP or something else. Every njit function
that the kernel calls lives in this file: numba's cache looks at one source file only.

Sources: tcpdump.org's list of link types; IEEE 802.1Q (tags), 802.1ah (service instances), 802.2 and RFC 1042 (LLC,
SNAP), 802.11 and radiotap.org, RFC 1661 (PPP), 2516 (PPPoE), 3032 and 4448 (MPLS), 2427 (frame relay); Zeek's
Ethernet.cc (FabricPath); libnetfilter_log's attributes.
"""

import numpy as np

from features.captures.packet_record import ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, INSIDE, SkipReason
from features.kernel_types import Int, Record, kernel, part

ETHERTYPE_MPLS, ETHERTYPE_FABRIC_PATH, ETHERTYPE_SERVICE_INSTANCE = 0x8847, 0x8903, 0x88E7
LINK_ETHERNET, LINK_PKTAP = 1, 258

# Framings, told apart from EtherTypes, which begin at 0x600
AS_ETHERNET, AS_LLC, AS_IP, AS_TYPED, AS_COOKED_2, AS_PPP, AS_SERIAL, AS_FRAME_RELAY, AS_PACKET_FILTER = range(1, 10)
AS_WIFI, AS_RADIOTAP, AS_AVS, AS_PPI, AS_SWAPPED_WIFI, AS_NFLOG, AS_PKTAP = range(10, 17)
LINKS = {  # LINKTYPE_ number: (bytes to pass over, what lies behind them)
    0: (4, AS_IP),  # BSD loopback; the address family's numbers differ between systems
    1: (0, AS_ETHERNET),
    8: (16, AS_IP),  # SLIP
    9: (0, AS_SERIAL),  # PPP
    10: (13, AS_LLC),  # FDDI
    12: (0, AS_IP),  # DLT_RAW, written by programs that store the DLT_ value as it is
    14: (0, AS_IP),  # the same on OpenBSD
    50: (0, AS_SERIAL),  # PPP in HDLC framing
    51: (6, AS_PPP),  # PPPoE
    100: (0, AS_LLC),  # RFC 1483 over ATM
    101: (0, AS_IP),  # raw
    104: (4, AS_TYPED),  # Cisco HDLC
    105: (0, AS_WIFI),
    107: (0, AS_FRAME_RELAY),
    108: (4, AS_IP),  # OpenBSD loopback
    109: (12, AS_IP),  # OpenBSD enc
    113: (16, AS_TYPED),  # Linux cooked
    117: (0, AS_PACKET_FILTER),  # OpenBSD pflog
    119: (144, AS_WIFI),  # Prism
    122: (16, AS_LLC),  # IP over Fibre Channel
    127: (0, AS_RADIOTAP),
    138: (18, AS_TYPED),  # IP over IEEE 1394
    163: (0, AS_AVS),
    166: (2, AS_PPP),  # pppd, with a direction
    192: (0, AS_PPI),
    204: (1, AS_SERIAL),  # PPP with a direction
    226: (24, AS_IP),  # Solaris ipnet
    228: (0, AS_IP),
    229: (0, AS_IP),
    239: (0, AS_NFLOG),  # Linux netfilter
    240: (4, AS_ETHERNET),  # netANALYZER
    241: (12, AS_ETHERNET),
    258: (0, AS_PKTAP),  # macOS
    274: (8, AS_ETHERNET),  # IEEE 802.3br mPackets
    276: (20, AS_COOKED_2),
    281: (18, AS_TYPED),  # tags of switches, in place of the EtherType
    282: (4, AS_ETHERNET),
    284: (18, AS_TYPED),
    285: (22, AS_TYPED),
}
BUNDLE = 1000
"""Beyond every SkipReason: the negative kind of an A-MSDU, several frames in one."""
LONGEST_BUNDLE, PART_HEADER = 11_454, 14
MOST_PARTS = LONGEST_BUNDLE // PART_HEADER + 1
LINK_HEADERS, LINK_KINDS = (np.array([LINKS.get(n, (0, 0))[i] for n in range(max(LINKS) + 1)]) for i in (0, 1))


@part
def _u16(block: np.ndarray, at: Int) -> Int:
    return np.int64(block[at]) << 8 | np.int64(block[at + 1])


@part
def _u32(block: np.ndarray, at: Int) -> Int:
    return _u16(block, at) << 16 | _u16(block, at + 2)


@part
def _u16_little(block: np.ndarray, at: Int) -> Int:
    return np.int64(block[at]) | np.int64(block[at + 1]) << 8


@part
def _ip_by_version(block: np.ndarray, at: Int, end: Int) -> Int:
    """Return the EtherType that the first nibble of a bare datagram stands for, 0 if none."""
    if at >= end:
        return 0
    version = block[at] >> 4
    return ETHERTYPE_IPV4 if version == 4 else ETHERTYPE_IPV6 if version == 6 else 0


@part
def _llc(block: np.ndarray, at: Int, end: Int) -> tuple[Int, Int]:
    """Return what lies behind an IEEE 802.2 header: IP by its own SAP, or an EtherType in SNAP."""
    if end - at < 3:
        return end + 1, 0
    saps, control = _u16(block, at), block[at + 2]
    if control == 3 and saps == 0x0606:
        return at + 3, ETHERTYPE_IPV4
    if control != 3 or saps != 0xAAAA:
        return at, 0
    if end - at < 8:
        return end + 1, 0
    organisation = _u16(block, at + 3) << 8 | np.int64(block[at + 5])
    return at + 8, _u16(block, at + 6) if organisation in (0, 0xF8) else 0  # 0xF8: IEEE 802.1H bridges


@part
def _ppp(block: np.ndarray, at: Int, end: Int) -> tuple[Int, Int]:
    """Return what lies behind a PPP protocol field, of one byte where it is compressed (RFC 1661, 2 and 6.5)."""
    if end - at < 2:
        return end + 1, 0
    protocol, size = (np.int64(block[at]), 1) if block[at] & 1 else (_u16(block, at), 2)
    if protocol == 0x21:
        return at + size, ETHERTYPE_IPV4
    if protocol == 0x57:
        return at + size, ETHERTYPE_IPV6
    return at + size, ETHERTYPE_MPLS if protocol in (0x281, 0x283) else 0


@part
def _mpls(block: np.ndarray, at: Int, end: Int) -> tuple[Int, Int]:
    """Return what lies behind a stack of labels: IP by its version, or Ethernet behind a control word (RFC 4448)."""
    while end - at >= 4:
        at += 4
        if block[at - 2] & 1:  # the stack's last
            if end - at >= 4 and block[at] >> 4 == 0:
                return at + 4, AS_ETHERNET
            return at, _ip_by_version(block, at, end)
    return end + 1, 0


@part
def _ethernet(block: np.ndarray, at: Int, end: Int) -> tuple[Int, Int]:
    """Return the index behind an Ethernet header, and its EtherType or AS_LLC for a length."""
    if end - at < 14:
        return end + 1, 0
    ethertype = _u16(block, at + 12)
    return at + 14, ethertype if ethertype >= 0x600 else AS_LLC


@part
def _wifi(block: np.ndarray, at: Int, end: Int, unit: Int, is_swapped: bool) -> tuple[Int, Int]:
    """Return what lies behind an IEEE 802.11 header (9.3.2) filled up to a multiple of unit, or a negative reason.

    Access points that hand frames on in CAPWAP may swap the two bytes of frame control.
    """
    if end - at < 2:
        return end + 1, 0
    kind, control = np.int64(block[at]), np.int64(block[at + 1])
    if is_swapped and kind & 0x0C != 0x08:
        kind, control = control, kind
    if kind & 0x0C != 0x08 or kind & 0x40:  # no data frame, or one without data
        return at, 0
    header = 24 + (6 if control & 3 == 3 else 0)
    is_quality = kind & 0x80 != 0
    if is_quality:
        header += 6 if control & 0x80 else 2
    if end - at < header:
        return end + 1, 0
    has_several = is_quality and block[at + (30 if control & 3 == 3 else 24)] & 0x80
    if control & 0x40:
        return at, -SkipReason.ENCRYPTED_LINK.value
    if block[at + 22] & 15:
        return at, -SkipReason.FRAGMENT.value
    return at + (header + unit - 1) // unit * unit, -BUNDLE if has_several else AS_LLC


@part
def _passed(at: Int, end: Int, length: Int) -> Int:
    """Return the index behind a header that gives its own length, eight bytes at least; just beyond end if cut."""
    return at + max(np.int64(length), np.int64(8)) if length <= end - at else end + 1


@part
def _radiotap(block: np.ndarray, at: Int, end: Int) -> tuple[Int, Int]:
    """Return the index of the 802.11 header behind a radiotap one, and of what its length is said to be a multiple."""
    if end - at < 8:
        return end + 1, 1
    length = _u16_little(block, at + 2)
    fields = at + 8
    while fields + 4 <= end and block[fields - 1] & 0x80:  # more words of the bit map
        fields += 4
    if block[at + 4] & 1:  # TSFT, eight bytes aligned to eight
        fields = at + (fields - at + 7 & ~7) + 8
    is_padded = block[at + 4] & 2 and fields < end and fields < at + length and block[fields] & 0x20
    return _passed(at, end, length), 4 if is_padded else 1


@part
def _radio(block: np.ndarray, at: Int, end: Int, kind: Int) -> tuple[Int, Int]:
    """Return what lies behind the headers that drivers of IEEE 802.11 put before it."""
    unit: Int = 1
    if end - at < 8:
        return end + 1, 0
    if kind == AS_RADIOTAP:
        at, unit = _radiotap(block, at, end)
    elif kind == AS_AVS:
        at = _passed(at, end, _u32(block, at + 4))
    return _wifi(block, at, end, unit, kind == AS_SWAPPED_WIFI)


@part
def _of_link(at: Int, link_type: Int) -> tuple[Int, Int]:
    """Return where the framing of a link type begins and its kind, or a negative reason if it is not decoded."""
    if link_type >= len(LINK_KINDS) or link_type < 0 or LINK_KINDS[link_type] == 0:
        return at, -SkipReason.LINK_TYPE.value
    return at + LINK_HEADERS[link_type], np.int64(LINK_KINDS[link_type])


@part
def _per_packet(block: np.ndarray, at: Int, end: Int, kind: Int) -> tuple[Int, Int]:
    """Return what lies behind a header that names the link type of each packet: PPI's, or macOS's pktap."""
    least = 8 if kind == AS_PPI else 12
    if end - at < least:
        return end + 1, 0
    length, number = _u16_little(block, at + 2), at + 4
    if kind == AS_PKTAP:
        length, number = _u16_little(block, at) | _u16_little(block, at + 2) << 16, at + 8
    link_type = _u16_little(block, number) | _u16_little(block, number + 2) << 16
    return _of_link(_passed(at, end, length), link_type)


@part
def _netfilter(block: np.ndarray, at: Int, end: Int) -> tuple[Int, Int]:
    """Return where the packet lies among the attributes of netfilter's log, each of a length, a type and a value."""
    at += 4
    while end - at >= 4:
        length = _u16_little(block, at)
        if _u16_little(block, at + 2) == 9:  # NFULA_PAYLOAD
            return at + 4, AS_IP
        if length < 4:
            return at, 0
        at += length + 3 & ~3
    return end + 1, 0


@part
def _frame_relay(block: np.ndarray, at: Int, end: Int) -> tuple[Int, Int]:
    """Return what lies behind a frame relay address of two bytes: RFC 2427's NLPID, or Cisco's EtherType."""
    if end - at < 10:
        return end + 1, 0
    at += 2
    if block[at] != 3:
        return at + 2, _u16(block, at)
    at += 2 if block[at + 1] == 0 else 1
    if block[at] == 0x80:
        return at + 6, _u16(block, at + 4)
    return at + 1, ETHERTYPE_IPV4 if block[at] == 0xCC else ETHERTYPE_IPV6 if block[at] == 0x8E else 0


@part
def _point_to_point(block: np.ndarray, at: Int, end: Int) -> tuple[Int, Int]:
    """Return what lies behind the framings of serial lines: PPP with or without its address, or Cisco's HDLC."""
    if end - at < 4:
        return end + 1, 0
    if block[at] in (0x0F, 0x8F):
        return at + 4, _u16(block, at + 2)
    return _ppp(block, at + 2 if _u16(block, at) == 0xFF03 else at, end)


@part
def _typed(block: np.ndarray, at: Int, end: Int, kind: Int) -> tuple[Int, Int]:
    """Return the EtherType before an index, or two bytes into the header of SLL2; LLC where cooked frames say so."""
    if at > end:
        return at, 0
    ethertype = _u16(block, at - 20 if kind == AS_COOKED_2 else at - 2)
    return at, ethertype if ethertype >= 0x600 else AS_LLC if ethertype == 4 else 0


@part
def _framing(block: np.ndarray, at: Int, end: Int, kind: Int) -> tuple[Int, Int]:  # noqa: PLR0911 (a switch)
    """Take one framing off: the index and the kind of what lies behind it."""
    if kind == AS_ETHERNET:
        return _ethernet(block, at, end)
    if kind == AS_LLC:
        return _llc(block, at, end)
    if kind in (AS_TYPED, AS_COOKED_2):
        return _typed(block, at, end, kind)
    if kind == AS_PPP:
        return _ppp(block, at, end)
    if kind == AS_SERIAL:
        return _point_to_point(block, at, end)
    if kind == AS_FRAME_RELAY:
        return _frame_relay(block, at, end)
    if kind == AS_PACKET_FILTER:  # its first byte is its length, filled up to four
        return at + (np.int64(block[at]) + 3 & ~3 if at < end else 1), AS_IP
    if kind == AS_NFLOG:
        return _netfilter(block, at, end)
    if kind in (AS_PPI, AS_PKTAP):
        return _per_packet(block, at, end, kind)
    return _radio(block, at, end, kind)


@part
def _tag(block: np.ndarray, at: Int, end: Int, vlan: Int) -> tuple[Int, Int, Int]:
    """Take an 802.1Q tag off: what lies behind it, and the tags so far with this one; an id of 0 is none."""
    if end - at < 4:
        return end + 1, 0, vlan
    kind, number = _u16(block, at + 2), _u16(block, at) & 0xFFF
    return at + 4, AS_LLC if 0 < kind < 0x600 else kind, vlan << 12 | number if number else vlan


@part
def _unwrapped(block: np.ndarray, at: Int, end: Int, kind: Int, vlan: Int) -> tuple[Int, Int, Int]:
    """Take off framings, tags and labels until an EtherType that is none of them: its header's index, itself, the tags.

    Every round moves the index on, so hostile nesting ends with the frame. Beyond end: the frame is cut.
    """
    while at <= end:
        if kind in (0x8100, 0x88A8, 0x9100):
            at, kind, vlan = _tag(block, at, end, vlan)
        elif kind in (ETHERTYPE_MPLS, 0x8848):
            at, kind = _mpls(block, at, end)
        elif kind == 0x8864:  # PPPoE session
            at, kind = at + 6, AS_PPP
        elif kind == ETHERTYPE_FABRIC_PATH:  # a forwarding tag and a hop count
            at, kind = at + 2, AS_ETHERNET
        elif kind == ETHERTYPE_SERVICE_INSTANCE:
            at, kind = at + 4, AS_ETHERNET
        elif kind == AS_IP:
            return at, _ip_by_version(block, at, end), vlan
        elif 0 < kind < 0x600:
            at, kind = _framing(block, at, end, kind)
        else:
            break
    return at, kind, vlan


@part
def _link(block: np.ndarray, at: Int, end: Int, row: Record) -> tuple[Int, Int, Int]:
    """Return the network header's index, beyond end if cut; its EtherType, or a reason's negative; the VLAN tags."""
    link_type = row.link_type
    if link_type == LINK_ETHERNET and end - at >= 14:
        kind = _u16(block, at + 12)
        if kind in (ETHERTYPE_IPV4, ETHERTYPE_IPV6):
            return at + 14, kind, 0
    if link_type >= INSIDE:
        return _unwrapped(block, at, end, np.int64(link_type) - INSIDE, np.int64(row.vlan))
    at, kind = _of_link(at, link_type)
    return _unwrapped(block, at, end, kind, 0)


@part
def _parts(block: np.ndarray, at: Int, end: Int, row: Record, out: np.ndarray, filled: Int) -> Int:
    """Fill in the frames of a bundle (IEEE 802.11, 9.3.2.2.2), each behind two addresses and its length.

    Args:
        block: Bytes, uint8.
        at: Index of the first part.
        end: Index behind the captured bytes.
        row: The whole frame's.
        out: FRAME rows; what they carry begins with LLC.
        filled: Index of the first one to fill, with MOST_PARTS behind it.

    Returns:
        Rows filled, what was not captured as one row without a byte; 0 if the parts do not fit into the frame.
    """
    count: Int = 0
    wire_end = np.int64(row.start) + np.int64(row.original)
    if wire_end - at > LONGEST_BUNDLE:
        return 0
    while wire_end - at >= PART_HEADER:  # fewer bytes are what fills up the last part, and the frame check sequence
        is_cut = at + PART_HEADER > end
        length: Int = wire_end - at - PART_HEADER if is_cut else _u16(block, at + 12)
        if length > wire_end - at - PART_HEADER:
            return 0
        inner: Record = out[filled + count]
        inner.time_ns, inner.link_type, inner.vlan = row.time_ns, INSIDE + AS_LLC, 0
        inner.start = min(at + PART_HEADER, end)
        inner.captured = min(length, end - inner.start)
        inner.original = length
        count += 1
        at += PART_HEADER + length + 3 & ~3
    return count


@kernel
def take_apart(block: np.ndarray, rows: np.ndarray, taken: Int, out: np.ndarray) -> tuple[Int, Int]:
    """Copy frames, those of a bundle in its place, as long as there is room for a bundle.

    Args:
        block: Bytes, uint8.
        rows: FRAME rows into it.
        taken: Rows to leave out at the beginning.
        out: FRAME rows to fill, more than MOST_PARTS.

    Returns:
        Rows taken by then, and rows filled.
    """
    filled: Int = 0
    while taken < len(rows) and len(out) - filled >= MOST_PARTS:
        row: Record = rows[taken]
        end = np.int64(row.start) + row.captured
        at, kind, _ = _link(block, np.int64(row.start), end, row)
        count = _parts(block, at, end, row, out, filled) if kind == -BUNDLE and at <= end else 0
        if count == 0:
            out[filled] = row
            count = 1
        filled += count
        taken += 1
    return taken, filled


@kernel
def strip_links(block: np.ndarray, rows: np.ndarray) -> None:
    """Turn frames into what they carry.

    Args:
        block: Bytes, uint8.
        rows: FRAME rows into it. start, captured and original come to be those of the network packet, link_type its
            EtherType, or the negative of the SkipReason of a frame that has none, vlan the tags passed.
    """
    for row in rows:
        start = np.int64(row.start)
        end = start + row.captured
        at, kind, vlan = _link(block, start, end, row)
        if at > end:
            kind = -SkipReason.TRUNCATED_LINK.value
        elif kind == ETHERTYPE_ARP:
            kind = -SkipReason.ARP.value
        elif kind == -BUNDLE:
            kind = -SkipReason.LINK_TYPE.value
        elif kind >= 0 and kind not in (ETHERTYPE_IPV4, ETHERTYPE_IPV6):
            kind = -SkipReason.NOT_IP.value
        row.link_type = kind
        row.start = at
        row.captured = end - at
        row.original -= at - start
        row.vlan = vlan & 0xFFFFFFFF
