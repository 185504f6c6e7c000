"""The UDP datagrams of a capture that hold export messages, told by what they hold and not by their port."""

from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from features.captures.capture import open_capture
from features.captures.link_kernel import strip_links
from features.captures.packet_record import ETHERTYPE_IPV4, ETHERTYPE_IPV6
from features.errors import CaptureError
from features.records.exports.messages import Message, Templates, parse_message

UDP = 17
IPV6_HEADER = 40
UDP_HEADER = 8
USUAL_PORTS = frozenset([2055, 2056, 4432, 4739, 9025, 9026, 9555, 9995, 9996])
"""Ports of collectors: what goes there and is no message is a damaged one; elsewhere it is other traffic."""
PROBED_FRAMES = 200


class Datagram(NamedTuple):
    """A datagram of an export stream.

    Attributes:
        number: Of its frame in the capture, from 1.
        exporter: The sender's address and port.
        message: What it holds; None for one to a collector's port that cannot be read.
    """

    number: int
    exporter: tuple[bytes, int]
    message: Message | None


def export_datagrams(path: Path) -> Iterator[Datagram | None]:
    """Yield a datagram for every frame of a capture, None for frames of other traffic.

    Raises:
        CaptureError: The capture cannot be read to its end.
    """
    number = 0
    with open_capture(path) as capture:
        for frames in capture:
            strip_links(frames.block, frames.rows)
            places = (frames.rows[name].tolist() for name in ("link_type", "start", "captured"))
            for kind, start, captured in zip(*places, strict=True):
                number += 1
                frame = frames.block[start : start + captured].tobytes() if captured > 0 else b""
                yield _datagram(kind, frame, number)


def carries_exports(path: Path) -> bool:
    """Return whether a capture is an export stream: most of its first frames are export messages."""
    seen = found = 0
    with suppress(CaptureError):  # what came before the damage tells enough
        for datagram in islice(export_datagrams(path), PROBED_FRAMES):
            seen += 1
            found += datagram is not None and datagram.message is not None
    return 2 * found > seen


def exported_names(path: Path) -> tuple[str, ...]:
    """Return the names of the fields that the templates of an export stream announce, wherever in the capture."""
    templates = Templates()
    for datagram in export_datagrams(path):
        if datagram is not None and datagram.message is not None:
            templates.learn(datagram.exporter, datagram.message)
    return tuple(sorted(templates.names))


def _datagram(kind: int, frame: bytes, number: int) -> Datagram | None:
    """Return what a frame carries; IPv6 with extension headers and fragments are other traffic."""
    if (
        kind == ETHERTYPE_IPV4
        and len(frame) > 20
        and frame[9] == UDP
        and not int.from_bytes(frame[6:8], "big") & 0x3FFF
    ):
        at, source = 4 * (frame[0] & 15), frame[12:16]
    elif kind == ETHERTYPE_IPV6 and len(frame) > IPV6_HEADER and frame[6] == UDP:
        at, source = IPV6_HEADER, frame[8:24]
    else:
        return None
    ports = [int.from_bytes(frame[at + of : at + of + 2], "big") for of in (0, 2)]
    length = int.from_bytes(frame[at + 4 : at + 6], "big")
    message = parse_message(frame[at + UDP_HEADER : at + length]) if len(frame) >= at + length else None
    if message is None and ports[1] not in USUAL_PORTS:
        return None
    return Datagram(number, (source, ports[0]), message)
