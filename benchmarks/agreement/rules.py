"""What each tool counts and leaves out, from its source, and the names of the ways in which that differs from ours.

Sources: nDPI's `example/reader_util.c`, nfstream's `engine/lib_engine.c` and `meter.py`, Zeek's `TCPSessionAdapter.cc`,
`scripts/base/init-bare.zeek` and `scripts/base/protocols/conn/main.zeek`.
"""

import enum
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.agreement.checksums import RIGHT, checksums_hold, ones_sum
from benchmarks.agreement.frames import TAGS, UDP, Frame, Key, Sighting
from features.captures.packet import SkipReason

TUNNEL_PROTOCOLS = {4: "IPv4 in IP", 41: "IPv6 in IP", 47: "GRE", 115: "L2TP"}
TUNNEL_PORTS = {2152: "GTP-U", 4789: "VXLAN", 8472: "VXLAN", 6081: "Geneve", 3544: "Teredo", 5072: "AYIYA"}
CAPWAP, WIFI_DATA = 5247, 8
FABRIC_PATH = "8903"
TUNNEL_PORTS |= {CAPWAP: "CAPWAP", 37008: "TZSP", 4754: "GRE in UDP", 1701: "L2TP"}


class Verdict(enum.Enum):
    """Whose choice a difference is, the lightest first."""

    THEIRS = "their rule"
    LAYER = "the layer metered"
    OURS = "our rule"
    MISSING = "not decoded by us"
    UNKNOWN = "unexplained"

    @property
    def weight(self) -> int:
        """Place in the list."""
        return list(Verdict).index(self)


class Cause(enum.Enum):
    """A class of disagreement: its name, whose choice it is, and both rules with their source."""

    TUNNEL = (
        "tunnel",
        Verdict.LAYER,
        (
            "nDPI and nfstream meter the packet inside (ndpiReader -t, decode_tunnels), Zeek the one outside and "
            "the one inside (tunnel_parents); we meter the one outside, or the one "
            "inside where meter.layer says so."
        ),
    )
    LINK = (
        "link header",
        Verdict.MISSING,
        "They look behind a link header that our decoder does not take; we count the frame as skipped, by reason.",
    )
    FABRIC = (
        "FabricPath",
        Verdict.THEIRS,
        (
            "nDPI and nfstream do not look behind a FabricPath header (EtherType 0x8903); to us the frame inside is a "
            "packet of the same flow as without the header."
        ),
    )
    VLAN = (
        "VLAN tag",
        Verdict.THEIRS,
        "The tag is part of their key (flow.vlan_id, get_flow_key); to us it is no part of a conversation.",
    )
    SNAPPED = (
        "snap length",
        Verdict.THEIRS,
        (
            "nDPI leaves out a datagram that was not captured to its end (get_ndpi_flow_info: ipsize < tot_len); to "
            "us lengths come from the headers."
        ),
    )
    TOO_LONG = (
        "IP length beyond the frame, added up",
        Verdict.OURS,
        (
            "The IP header claims more bytes than were on the wire. nDPI leaves the packet out; we add up what "
            "the header claims."
        ),
    )
    LYING = (
        "IP length beyond the frame",
        Verdict.THEIRS,
        (
            "The IP header claims more bytes than were on the wire. nDPI leaves the packet out; we count it with "
            "the bytes that there were."
        ),
    )
    TCP_END = (
        "TCP end",
        Verdict.THEIRS,
        (
            "A SYN after FIN from both sides or RST opens a new flow to us; nDPI goes on with the old one, Zeek "
            "waits for its timers."
        ),
    )
    TIMER = ("protocol timer", Verdict.THEIRS, "Zeek ends a connection by a timer of its own (init-bare.zeek).")
    CHECKSUM = (
        "wrong checksum",
        Verdict.THEIRS,
        "Zeek leaves out packets with a wrong checksum (ignore_checksums); we count what was on the wire.",
    )
    FRAGMENTS = (
        "fragments",
        Verdict.THEIRS,
        (
            "nDPI and nfstream leave out every fragment but the first; Zeek puts the datagram together and counts "
            "one packet; we count each fragment as a packet of its flow."
        ),
    )
    OFFLOAD = (
        "IP length 0",
        Verdict.THEIRS,
        "The sender left the length to its network card. Zeek adds up 0, we what was on the wire.",
    )
    HEADER = (
        "impossible header",
        Verdict.THEIRS,
        (
            "A header's own length is impossible, or the datagram has no room for the transport header. nDPI and "
            "nfstream count the packet, with ports 0 where there is no room for them; Zeek and we refuse it by "
            "name."
        ),
    )
    MISREAD = (
        "not IP",
        Verdict.THEIRS,
        "nfstream does not ask for the EtherType (packet_ether_type_checker): what begins with a 4 or a 6 is IP to it.",
    )
    FLIPPED = (
        "both ways as one",
        Verdict.THEIRS,
        "Zeek turned the direction round and counts the packets from before as the other side's.",
    )
    UNKNOWN = ("unexplained", Verdict.UNKNOWN, "No rule gives their numbers.")

    def __init__(self, title: str, verdict: Verdict, text: str) -> None:
        self.title, self.verdict, self.text = title, verdict, text


@dataclass(frozen=True)
class Reason:
    """A cause and what in particular."""

    cause: Cause
    detail: str = ""


LeaveOut = Callable[[Sighting, Frame], Reason | None]


def cut(seen: Sighting, frame: Frame) -> Reason | None:
    """Tell whether the captured bytes end inside the datagram, and whether the header lies or the capture was cut."""
    if seen.held >= seen.length:
        return None
    on_wire = frame.original - seen.at
    if seen.length <= on_wire:
        return Reason(Cause.SNAPPED)
    return Reason(Cause.TOO_LONG if frame.length > on_wire else Cause.LYING)


def damaged(seen: Sighting, frame: Frame) -> Reason | None:
    """Tell whether a checksum is wrong."""
    return None if checksums_hold(frame.data, seen) else Reason(Cause.CHECKSUM)


def inside(seen: Sighting, frame: Frame) -> Reason | None:
    """Tell whether the packet carries an IPv4 header with a right checksum, or an IPv6 one that reaches to its end."""
    data = frame.data
    if frame.key is None:
        return None
    if CAPWAP in (frame.key.low.port, frame.key.high.port):
        at = seen.transport + 8
        at += (data[at + 1] & 0xF8) >> 1 if at + 1 < len(data) and not data[at] & 15 else len(data)
        return Reason(Cause.TUNNEL, "CAPWAP") if at + 32 < len(data) and data[at + 1] == WIFI_DATA else None
    for at in range(seen.transport + 4, min(seen.transport + 100, len(data) - 20)):
        size = (data[at] & 15) * 4
        if data[at] >> 4 == 4 and size >= 20 and ones_sum(data[at : at + size]) == RIGHT:
            return Reason(Cause.TUNNEL, tunnel_of(frame.key))
        if data[at] >> 4 == 6 and 0 <= len(data) - at - 40 - int.from_bytes(data[at + 4 : at + 6]) <= 4:
            return Reason(Cause.TUNNEL, tunnel_of(frame.key))
    return None


def unknown_link(_seen: Sighting, frame: Frame) -> Reason | None:
    """Tell whether our decoder does not take the frame either."""
    return Reason(Cause.LINK) if frame.reason in (SkipReason.NOT_IP, SkipReason.BAD_IP_HEADER) else None


def fabric_path(_seen: Sighting, frame: Frame) -> Reason | None:
    """Tell whether the frame has a FabricPath header."""
    return Reason(Cause.FABRIC) if ethertype(frame.data) == FABRIC_PATH else None


@dataclass(frozen=True)
class Rules:
    """What a tool counts.

    Attributes:
        size: Bytes of a packet, given its frame and IP header.
        leave_out: What may be left out of a flow.
        vlans: The VLAN tag is part of the key.
        timers: Timers of its own may end a flow.
        puts_together: Fragments are put together before they are counted.
    """

    size: Callable[[Frame, Sighting], int]
    leave_out: tuple[LeaveOut, ...] = ()
    vlans: bool = False
    timers: bool = False
    puts_together: bool = False


RULES = {
    "nDPI": Rules(lambda frame, _: len(frame.data), (unknown_link, fabric_path, cut, inside), vlans=True),
    "nfstream": Rules(lambda frame, _: max(frame.original, len(frame.data)), (unknown_link, fabric_path), vlans=True),
    "Zeek": Rules(lambda _, seen: seen.length, (unknown_link, damaged), timers=True, puts_together=True),
}


def otherwise(frame: Frame) -> Reason:
    """Say why a packet of theirs is none of ours of the same key."""
    if frame.key is not None:
        return Reason(Cause.TUNNEL, tunnel_of(frame.key))
    if frame.reason in (SkipReason.BAD_IP_HEADER, SkipReason.BAD_TRANSPORT_HEADER, SkipReason.TRUNCATED_TRANSPORT):
        return Reason(Cause.HEADER, frame.reason.name.lower())
    if frame.reason is SkipReason.LINK_TYPE:
        return Reason(Cause.LINK, f"link type {frame.link_type}")
    if frame.reason is SkipReason.NOT_IP:
        return Reason(Cause.LINK, f"EtherType 0x{ethertype(frame.data)}")
    return Reason(Cause.LINK, frame.reason.name.lower())


def misread_offsets(frame: Frame) -> list[int]:
    """Return where nfstream takes a frame for IP without asking for its type: behind Ethernet, and in CAPWAP."""
    offsets = []
    if frame.reason is SkipReason.NOT_IP or ethertype(frame.data) == FABRIC_PATH:
        offsets.append(12 + frame.data[12:].find(bytes.fromhex(ethertype(frame.data))) + 2)
    if frame.key is not None and CAPWAP in (frame.key.low.port, frame.key.high.port):
        header = 14 + 20 + 8
        offsets.append(header + ((frame.data[header + 1] & 0xF8) >> 1) + 24 + 8)
    return [at for at in offsets if at + 20 <= len(frame.data) and frame.data[at] >> 4 in (4, 6)]


def tunnel_of(outer: Key) -> str:
    """Name the tunnel that an outer packet is."""
    for end in (outer.low, outer.high):
        if outer.protocol == UDP and end.port in TUNNEL_PORTS:
            return TUNNEL_PORTS[end.port]
    return TUNNEL_PROTOCOLS.get(outer.protocol, "UDP" if outer.protocol == UDP else f"protocol {outer.protocol}")


def ethertype(frame: bytes) -> str:
    """Return the EtherType of an Ethernet frame behind its VLAN tags, four hexadecimal digits."""
    place = 12
    while frame[place : place + 2] in TAGS:
        place += 4
    return frame[place : place + 2].hex()
