"""What each tool counts and leaves out, from its source, and the names of the ways in which that differs from ours.

Sources: nDPI 4.11 `example/reader_util.c`, nfstream 6.5 `engine/lib_engine.c` and `meter.py`, Zeek 7
`TCPSessionAdapter.cc`, `init-bare.zeek` and `base/protocols/conn/main.zeek`.
"""

import enum
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.agreement.checksums import RIGHT, checksums_hold, ones_sum
from benchmarks.agreement.frames import TAGS, UDP, Frame, Key, Sighting
from features.packet import SkipReason

TUNNEL_PROTOCOLS = {4: "IPv4 in IP", 41: "IPv6 in IP", 47: "GRE", 115: "L2TP"}
TUNNEL_PORTS = {2152: "GTP-U", 4789: "VXLAN", 8472: "VXLAN", 6081: "Geneve", 3544: "Teredo", 5072: "AYIYA"}
TUNNEL_PORTS |= {5247: "CAPWAP", 37008: "TZSP", 4754: "GRE in UDP", 1701: "L2TP"}


class Verdict(enum.Enum):
    """Whose choice a difference is."""

    THEIRS = "their rule"
    OURS = "our rule"
    LAYER = "layer metered"
    MISSING = "not decoded by us"
    UNKNOWN = "unexplained"


class Cause(enum.Enum):
    """A class of disagreement: its name, whose choice it is, and the two rules."""

    TUNNEL = ("tunnel", Verdict.LAYER, "They meter the packet inside, we the one outside (Zeek: both).")
    LINK = ("link header", Verdict.MISSING, "Our decoder does not take the frame; they look behind its link header.")
    VLAN = ("VLAN tag", Verdict.THEIRS, "The tag is part of their key; to us it is no part of a conversation.")
    SNAPPED = ("snap length", Verdict.THEIRS, "They leave out a datagram that was not captured whole; lengths come from headers to us.")
    TOO_LONG = ("IP length beyond the frame", Verdict.OURS, "The header claims more than was on the wire. They leave the packet out; we add up what the header says.")
    TCP_END = ("TCP end", Verdict.THEIRS, "A SYN after the end opens a new flow to us; to them it goes on with the old one.")
    TIMER = ("protocol timer", Verdict.THEIRS, "Zeek ends a connection early by a timer of its own.")
    CHECKSUM = ("wrong checksum", Verdict.THEIRS, "Zeek leaves out packets with a wrong checksum; most are the sender's own, from before the network card.")
    FRAGMENTS = ("fragments", Verdict.MISSING, "Zeek puts fragments together before it counts; we count the first ones alone.")
    OFFLOAD = ("IP length 0", Verdict.THEIRS, "The length was left to the network card. They add up 0, we what was on the wire.")
    HEADER = ("transport header", Verdict.THEIRS, "TCP's header length contradicts the datagram's. They count the packet, we refuse it by name.")
    FLIPPED = ("both ways as one", Verdict.THEIRS, "Zeek turned the direction round and counts the packets from before as the other side's.")
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
    return Reason(Cause.TOO_LONG if seen.at + seen.length > frame.original else Cause.SNAPPED)


def damaged(seen: Sighting, frame: Frame) -> Reason | None:
    """Tell whether a checksum is wrong."""
    return None if checksums_hold(frame.data, seen) else Reason(Cause.CHECKSUM)


def inside(seen: Sighting, frame: Frame) -> Reason | None:
    """Tell whether the packet carries another one: an IPv4 header whose checksum is right, or an IPv6 one to its end."""
    data = frame.data
    if frame.key is None:
        return None
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
    "nDPI": Rules(lambda frame, _: len(frame.data), (unknown_link, cut, inside), vlans=True),
    "nfstream": Rules(lambda frame, _: frame.original, (unknown_link,), vlans=True),
    "Zeek": Rules(lambda _, seen: seen.length, (unknown_link, damaged), timers=True, puts_together=True),
}


def otherwise(frame: Frame) -> Reason:
    """Say why a packet of theirs is none of ours of the same key."""
    if frame.key is not None:
        return Reason(Cause.TUNNEL, tunnel_of(frame.key))
    if frame.reason in (SkipReason.BAD_TRANSPORT_HEADER, SkipReason.TRUNCATED_TRANSPORT):
        return Reason(Cause.HEADER)
    if frame.reason is SkipReason.LINK_TYPE:
        return Reason(Cause.LINK, f"link type {frame.link_type}")
    if frame.reason is SkipReason.NOT_IP:
        return Reason(Cause.LINK, f"EtherType 0x{ethertype(frame.data)}")
    return Reason(Cause.LINK, frame.reason.name.lower())


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
