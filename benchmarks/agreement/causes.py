"""Why a flow of theirs is not one of ours, shown on the frames.

Every packet of their flow is looked for in the capture by its 5-tuple. A cause holds only if the packets that it leaves
over are exactly their flow: their packets and bytes, in both directions. What none explains stays unexplained.
"""

import enum
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks.agreement.checksums import checksums_hold
from benchmarks.agreement.flows import Flow
from benchmarks.agreement.frames import TAGS, Frame, Key, Sighting, locate
from benchmarks.agreement.joining import Pair, keys_of
from benchmarks.agreement.references import Reference
from features.flow_record import EndReason
from features.packet import SkipReason

SECOND = 1_000_000_000
TUNNEL_PROTOCOLS = {4: "IPv4 in IP", 41: "IPv6 in IP", 47: "GRE", 115: "L2TP"}
TUNNEL_PORTS = {2152: "GTP-U", 4789: "VXLAN", 6081: "Geneve", 3544: "Teredo", 5072: "AYIYA", 5247: "CAPWAP"}
TUNNEL_PORTS |= {37008: "TZSP", 4754: "GRE in UDP", 8472: "VXLAN", 1701: "L2TP"}


class Cause(enum.Enum):
    """A class of disagreement; the value is its name in the report."""

    TUNNEL = "tunnel: they meter the inner packet"
    LINK = "link header not decoded"
    VLAN = "VLAN tag in the key"
    SNAPPED = "packet not captured whole"
    TOO_LONG = "IP length beyond the frame's"
    TCP_END = "end of a TCP connection"
    TIMEOUT = "timeout of a protocol"
    CHECKSUM = "wrong checksum"
    FRAGMENTS = "fragments put together"
    OFFLOAD = "IP length 0"
    HEADER = "transport header cut or contradictory"
    WAY = "packets of both directions taken for one"
    UNKNOWN = "unexplained"


@dataclass(frozen=True)
class Reason:
    """A cause and what in particular."""

    cause: Cause
    detail: str = ""


@dataclass(frozen=True)
class Rules:
    """What a tool leaves out or keeps apart.

    Attributes:
        measure: "captured", "wire" or "ip": what a byte is.
        whole_only: A datagram that was not captured to its end is left out.
        checksums: A packet whose checksum is wrong is left out.
        vlans: The VLAN tag is part of the key.
        puts_together: Fragments are put together before they are counted.
    """

    measure: str
    whole_only: bool = False
    checksums: bool = False
    vlans: bool = False
    puts_together: bool = False

    def size(self, frame: Frame, seen: Sighting) -> int:
        """Return what a packet counts."""
        return {"captured": len(frame.data), "wire": frame.original, "ip": seen.length}[self.measure]


RULES = {
    "nDPI": Rules("captured", whole_only=True, vlans=True),
    "nfstream": Rules("wire", vlans=True),
    "Zeek": Rules("ip", checksums=True, puts_together=True),
}


@dataclass(frozen=True)
class Selection:
    """Packets that together are a flow of theirs, and what had to be left out to get them."""

    packets: tuple[Sighting, ...]
    reasons: frozenset[Reason] = frozenset()


def explain(pair: Pair, frames: Sequence[Frame], flows: Sequence[Flow], rules: Rules) -> frozenset[Reason]:
    """Return why a flow of theirs is not one of ours.

    Args:
        pair: The flow, joined with ours or not.
        frames: Of the capture.
        flows: Every flow of ours in the capture.
        rules: Of the other tool.
    """
    for key, sender, receiver in keys_of(pair.theirs):
        seen = locate(frames, key.protocol, sender, receiver)
        ours = [flow for flow in flows if flow.key == key]
        for chosen in _selections(pair.theirs, seen, frames, rules):
            if reasons := chosen.reasons | _ours(chosen, key, frames, ours):
                return reasons
    return frozenset({Reason(Cause.UNKNOWN)})


def _selections(
    theirs: Reference, seen: Sequence[Sighting], frames: Sequence[Frame], rules: Rules
) -> Iterator[Selection]:
    """Yield the ways to make their flow of the packets seen, the simplest first."""
    narrowed = list(_narrowed(seen, frames, rules))
    for chosen in narrowed:
        if is_flow(theirs, chosen.packets, frames, rules):
            yield chosen
        yield from _of_one_vlan(theirs, chosen, frames, rules)
    for chosen in narrowed if rules.timers else ():
        yield from _stretches(theirs, chosen, frames, rules)


def _narrowed(seen: Sequence[Sighting], frames: Sequence[Frame], rules: Rules) -> Iterator[Selection]:
    """Yield all packets, and then those that are left when one rule is followed, two rules, and so on."""
    left_out = [{at: reason for at, one in enumerate(seen) if (reason := rule(one, frames[one.index]))} for rule in rules.leave_out]
    for count in range(len(left_out) + 1):
        for chosen in combinations(left_out, count):
            out = {at: reason for rule in chosen for at, reason in rule.items()}
            if all(chosen) or not count:
                kept = tuple(one for at, one in enumerate(seen) if at not in out)
                yield Selection(kept, frozenset(reason for reason in out.values() if reason.cause is not Cause.NONE))


def _of_one_vlan(
    theirs: Reference, chosen: Selection, frames: Sequence[Frame], rules: Rules
) -> Iterator[Selection]:
    tags = {one.vlan for one in chosen.packets}
    if rules.vlans and len(tags) > 1:
        for tag in tags if theirs.vlan is None else {theirs.vlan}:
            packets = tuple(one for one in chosen.packets if one.vlan == tag)
            if is_flow(theirs, packets, frames, rules):
                yield Selection(packets, chosen.reasons | {Reason(Cause.VLAN)})


def _stretches(
    theirs: Reference, chosen: Selection, frames: Sequence[Frame], rules: Rules
) -> Iterator[Selection]:
    """Yield the runs of packets without a gap that are their flow."""
    count = sum(theirs.packets)
    for start in range(len(chosen.packets) - count + 1 if 0 < count < len(chosen.packets) else 0):
        packets = chosen.packets[start : start + count]
        if is_flow(theirs, packets, frames, rules):
            yield Selection(packets, chosen.reasons | _ends_of(chosen.packets, start, start + count, frames))


def _ends_of(packets: Sequence[Sighting], start: int, stop: int, frames: Sequence[Frame]) -> set[Reason]:
    """Say by which of Zeek's timers a stretch begins or ends, as far as the packets show it."""
    times = [frames[one.index].time_ns for one in packets]
    reasons = set()
    for at in (start, stop):
        if 0 < at < len(times):
            gap_ns, unanswered = times[at] - times[at - 1], len({one.way for one in packets[:at]}) == 1
            port = frames[packets[0].index].data[packets[0].transport :][:4]
            if (53).to_bytes(2) in (port[:2], port[2:]) and gap_ns >= 9 * SECOND:
                reasons.add(Reason(Cause.TIMEOUT, "dns_session_timeout, 10 s"))
            elif unanswered and times[at] - times[0] >= 5 * SECOND:
                reasons.add(Reason(Cause.TIMEOUT, "tcp_attempt_delay, 5 s"))
    return reasons


def is_flow(
    theirs: Reference, packets: Sequence[Sighting], frames: Sequence[Frame], rules: Rules
) -> bool:
    """Tell whether packets are their flow: packets and bytes, a direction each or, if only that is told, in total."""
    count, size = [0, 0], [0, 0]
    for one in packets:
        count[one.way] += 1
        size[one.way] += rules.size(frames[one.index], one)
    if len(theirs.packets) == 1:
        return (sum(count), sum(size)) == (theirs.packets[0], theirs.bytes[0])
    return tuple(count) == theirs.packets and tuple(size) == theirs.bytes


def _ours(chosen: Selection, key: Key, frames: Sequence[Frame], flows: Sequence[Flow]) -> set[Reason]:
    """Say what our meter did with the packets of their flow instead."""
    reasons = {_otherwise(frames[one.index], one) for one in chosen.packets if frames[one.index].key != key}
    if any(one.length == 0 and frames[one.index].key == key for one in chosen.packets):
        reasons.add(Reason(Cause.OFFLOAD))
    if not reasons and len(flows) > 1:
        reasons.add(Reason(Cause.TCP_END) if any(f.end_reason is EndReason.TCP_END for f in flows) else Reason(Cause.TIMEOUT))
    return reasons


def _otherwise(frame: Frame, seen: Sighting) -> Reason:
    """Say why a packet of theirs is not a packet of ours."""
    if frame.key is not None:
        return Reason(Cause.TUNNEL, tunnel_of(frame.key))
    if frame.reason is SkipReason.LINK_TYPE:
        return Reason(Cause.LINK, f"link type {frame.link_type}")
    if frame.reason in (SkipReason.BAD_TRANSPORT_HEADER, SkipReason.TRUNCATED_TRANSPORT):
        return Reason(Cause.HEADER, frame.reason.name.lower())
    if frame.reason is SkipReason.NOT_IP:
        return Reason(Cause.LINK, ethertype(frame))
    return Reason(Cause.LINK, frame.reason.name.lower())


def tunnel_of(outer: Key) -> str:
    """Name the tunnel that an outer packet is."""
    for end in (outer.low, outer.high):
        if outer.protocol == 17 and end.port in TUNNEL_PORTS:
            return TUNNEL_PORTS[end.port]
    return TUNNEL_PROTOCOLS.get(outer.protocol, f"protocol {outer.protocol}, port {outer.high.port}")


def ethertype(frame: Frame) -> str:
    """Return the EtherType of an Ethernet frame behind its VLAN tags."""
    place = 12
    while frame.data[place : place + 2] in TAGS:
        place += 4
    return f"EtherType 0x{frame.data[place : place + 2].hex()}"
