"""Frames of a capture as our decoder takes them, and every IP header of a wanted 5-tuple in them, however deep it lies.

A header is found by its addresses, which stand side by side in both versions of IP, and by the protocol and ports that
follow. So a flow of another tool is found inside any tunnel and behind any link header without decoding either.
"""

import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np

from features.captures.capture import open_capture
from features.captures.frames import Frames
from features.captures.packet import PACKET, Fragments, SkipReason, Tunnels, decode_frames, new_fragments, new_tunnels

TCP, UDP = 6, 17
DATAGRAMS = 4096  # first fragments remembered
ICMP, ICMPV6 = 1, 58
ICMP_ERRORS, ICMPV6_ERRORS = (3, 4, 5, 11, 12), (1, 2, 3, 4)
TAGS = (b"\x81\x00", b"\x88\xa8", b"\x91\x00")
EXTENSIONS = (
    0,
    43,
    44,
    60,
    135,
)  # IPv6 headers before the transport's; all but 44 have their length in the second byte


class End(NamedTuple):
    """An address of 4 or 16 bytes in network order, and a port."""

    address: bytes
    port: int


class Key(NamedTuple):
    """A 5-tuple whichever side sent: the lower end comes first."""

    protocol: int
    low: End
    high: End

    @classmethod
    def of(cls, protocol: int, one: End, other: End) -> "Key":
        """Return the key of packets between two ends."""
        return cls(protocol, *sorted((one, other)))


@dataclass(frozen=True)
class Frame:
    """One frame and what our decoder says of it.

    Attributes:
        time_ns: Time of capture.
        data: Captured bytes.
        original: Bytes on the wire.
        link_type: LINKTYPE_ number.
        reason: Why it has no place in a flow.
        key: Key of the packet, None without one.
        sender: End that sent it.
        length: IP length that the meter adds up.
        flags: TCP flags.
    """

    time_ns: int
    data: bytes
    original: int
    link_type: int
    reason: SkipReason
    key: Key | None = None
    sender: End | None = None
    length: int = 0
    flags: int = 0


@dataclass(frozen=True)
class Sighting:
    """An IP header of the wanted 5-tuple.

    Attributes:
        index: Of the frame.
        way: 0 when sent by the first end asked for, 1 by the second.
        at: Offset of the IP header in the frame.
        length: Of the datagram, as its header says; 0 when left to the network card.
        held: Captured bytes of the frame from the header on.
        transport: Offset of the transport header.
        later_fragment: True for a fragment other than the first, which has no ports.
        vlan: Tag nearest to the header, None without one.
    """

    index: int
    way: int
    at: int
    length: int
    held: int
    transport: int
    later_fragment: bool
    vlan: int | None


def read_frames(path: Path, layer: str = "outer") -> list[Frame]:
    """Read a capture.

    Raises:
        CaptureError: It cannot be read.
    """
    fragments = new_fragments(DATAGRAMS, np.zeros(6, dtype=np.uint64))
    tunnels = new_tunnels(1) if layer == "inner" else None
    with open_capture(path) as capture:
        return [
            _frame(frames, frames.rows[place : place + 1], fragments, tunnels)
            for frames in capture
            for place in range(len(frames.rows))
        ]


def _frame(frames: Frames, row: np.ndarray, fragments: Fragments, tunnels: Tunnels | None) -> Frame:
    packets, skipped = np.zeros(1, dtype=PACKET), np.zeros(len(SkipReason), dtype=np.int64)
    decode_frames(frames.block, row.copy(), packets, skipped, fragments, tunnels)
    start, captured = int(row["start"][0]), int(row["captured"][0])
    data = frames.block[start : start + captured].tobytes()
    seen = Frame(
        int(row["time_ns"][0]),
        data,
        int(row["original"][0]),
        int(row["link_type"][0]),
        SkipReason(int(skipped.argmax())),
    )
    if seen.reason is not SkipReason.NONE:
        return seen
    packet = packets[0]
    ends = [
        End(short(int(packet[f"{side}_high"]).to_bytes(8) + int(packet[f"{side}_low"]).to_bytes(8)), int(packet[port]))
        for side, port in (("src", "src_port"), ("dst", "dst_port"))
    ]
    key = Key.of(int(packet["protocol"]), *ends)
    return replace(seen, key=key, sender=ends[0], length=int(packet["length"]), flags=int(packet["flags"]))


def short(address: bytes) -> bytes:
    """Return an IPv4-mapped address as its four bytes, any other as it is."""
    return address[12:] if address.startswith(bytes(10) + b"\xff\xff") else address


def address_bytes(text: str) -> list[bytes]:
    """Return every address that a text can stand for; none for an empty one.

    nDPI writes ``::`` for every ``:0:``, so that a text of it may hold several and one may stand for either.
    """
    if ":" not in text:
        return [socket.inet_aton(text)] if text else []
    parts = text.strip("[]").split("::")
    found = []
    for joints in product((":0:", "::"), repeat=len(parts) - 1):
        whole = parts[0] + "".join(joint + part for joint, part in zip(joints, parts[1:], strict=True))
        try:
            found.append(socket.inet_pton(socket.AF_INET6, whole))
        except OSError:
            continue
    return found


def locate(frames: Sequence[Frame], protocol: int, one: End, other: End) -> list[Sighting]:
    """Return the headers of packets between two ends, in order of capture."""
    patterns = (one.address + other.address, other.address + one.address)
    before = 12 if len(one.address) == 4 else 8
    ports = [end.port.to_bytes(2) for end in (one, other)]
    seen = []
    for index, frame in enumerate(frames):
        for way, pattern in enumerate(patterns[: 1 if one == other else 2]):
            for at in _occurrences(frame.data, pattern):
                sighting = _sighting(frame, index, way, at - before)
                if sighting and _is_of(frame.data, sighting, protocol, (ports[way], ports[1 - way])):
                    seen.append(sighting)
    return seen


def _occurrences(data: bytes, pattern: bytes) -> Iterator[int]:
    at = data.find(pattern)
    while at >= 0:
        yield at
        at = data.find(pattern, at + 1)


def _sighting(frame: Frame, index: int, way: int, at: int) -> Sighting | None:
    """Return what the header at an offset says; None if none can start there."""
    data = frame.data
    if at < 0 or _is_quoted(data, at):
        return None
    if data[at] >> 4 == 4:
        transport, length = at + (data[at] & 15) * 4, int.from_bytes(data[at + 2 : at + 4])
        later = int.from_bytes(data[at + 6 : at + 8]) & 0x1FFF > 0
    elif data[at] >> 4 == 6:
        length = int.from_bytes(data[at + 4 : at + 6]) + 40
        _, transport, later = ipv6_transport(data, at)
    else:
        return None
    return Sighting(index, way, at, length, len(data) - at, transport, later, _vlan(frame, at))


def _is_quoted(data: bytes, at: int) -> bool:
    """Tell whether the header is the one that an ICMP error quotes: eight bytes behind an IP header that says so."""
    outer4, outer6, kind = at - 28, at - 48, data[at - 8]
    if outer4 >= 0 and data[outer4] == 0x45 and data[outer4 + 9] == ICMP and kind in ICMP_ERRORS:
        return True
    return outer6 >= 0 and data[outer6] >> 4 == 6 and data[outer6 + 6] == ICMPV6 and kind in ICMPV6_ERRORS


def ipv6_transport(data: bytes, at: int) -> tuple[int, int, bool]:
    """Return the upper-layer protocol, the offset of its header, and whether the packet is a later fragment."""
    kind, at, later = data[at + 6], at + 40, False
    while kind in EXTENSIONS and at + 8 <= len(data):
        later = later or (kind == 44 and int.from_bytes(data[at + 2 : at + 4]) & 0xFFF8 > 0)
        kind, at = data[at], at + (8 if kind == 44 else (data[at + 1] + 1) * 8)
    return kind, at, later


def _is_of(data: bytes, seen: Sighting, protocol: int, ports: tuple[bytes, bytes]) -> bool:
    kind = data[seen.at + 9] if data[seen.at] >> 4 == 4 else ipv6_transport(data, seen.at)[0]
    if kind != protocol or seen.later_fragment or protocol not in (TCP, UDP):
        return kind == protocol
    if (seen.length or seen.held) - (seen.transport - seen.at) < (20 if protocol == TCP else 8):
        return ports == (b"\0\0", b"\0\0")  # no room for the header: both ports are said to be 0
    return data[seen.transport : seen.transport + 4] == b"".join(ports)


def _vlan(frame: Frame, at: int) -> int | None:
    """Return the tag right before the header, or else the last one of the frame's own."""
    tag = None
    place = 12 if frame.link_type == 1 else len(frame.data)
    while frame.data[place : place + 2] in TAGS:
        tag = int.from_bytes(frame.data[place + 2 : place + 4]) & 0xFFF
        place += 4
    if at >= 6 and frame.data[at - 6 : at - 4] in TAGS:
        tag = int.from_bytes(frame.data[at - 4 : at - 2]) & 0xFFF
    return tag
