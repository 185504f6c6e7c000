"""The two capture formats, as the reader drives them: where records start, how they are walked, what their faults say.

Source: draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng; libpcap's sf-pcap.c (magics).
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np

from features.captures import frame_kernel as kernel
from features.captures.frames import INTERFACE, LARGEST_RECORD, MOST_INTERFACES, SECTION
from features.errors import CaptureError
from features.kernel_types import Int

FILE_HEADER_BYTES = 24
NOT_A_CAPTURE = "the file is not a capture"
PCAPNG_MAGIC = b"\x0a\x0d\x0d\x0a"
WIRE_FIRST_VERSIONS, UNSURE_VERSION = ((2, 0), (2, 1), (2, 2), (543, 0)), (2, 3)
BYTE_ORDER_MAGICS = (b"\x1a\x2b\x3c\x4d", b"\x4d\x3c\x2b\x1a")  # from the ninth byte
MAGICS = {  # first four bytes: (little-endian, nanoseconds in one unit of the record's fraction, record header bytes)
    b"\xd4\xc3\xb2\xa1": (True, 1000, 16),
    b"\xa1\xb2\xc3\xd4": (False, 1000, 16),
    b"\x4d\x3c\xb2\xa1": (True, 1, 16),
    b"\xa1\xb2\x3c\x4d": (False, 1, 16),
    b"\x34\xcd\xb2\xa1": (True, 1000, 24),  # Kuznetzov's patched tcpdump: interface, protocol and kind of packet follow
    b"\xa1\xb2\xcd\x34": (False, 1000, 24),
}


BLOCK_FAULTS = {
    kernel.BAD_CAPTURED: f"captured bytes that fit in their block, at most {LARGEST_RECORD}",
    kernel.BAD_LENGTH: "a length that is a multiple of 4 and holds the block's fields",
    kernel.BAD_TRAILER: "the same length at both ends of the block",
    kernel.BAD_BYTE_ORDER: "a section header with the byte-order magic 1a2b3c4d",
    kernel.BAD_VERSION: "a section of version 1",
    kernel.BAD_OPTION: "options that end within their interface description",
    kernel.UNKNOWN_INTERFACE: "a packet of an interface that its section describes",
    kernel.CROWDED: f"at most {MOST_INTERFACES} interfaces in a section",
}
"""What each fault of a pcapng block misses."""


class Fault(NamedTuple):
    """Why a record or block cannot be one; the fields of a CaptureError."""

    what: str
    expected: str
    received: str


class CaptureFormat(Protocol):
    """How frames are found in a capture of one format."""

    start: int
    """Offset of the first record."""

    def walk(self, block: np.ndarray, at: Int, end: Int, rows: np.ndarray) -> tuple[int, Int, Int]:
        """Find complete records: rows filled, index after the last (beyond end if its end is), OK or a fault's code."""

    def fault(self, code: Int, numbers: Callable[[int], int]) -> Fault:
        """Say what is wrong with a record, of which numbers gives the 32-bit one at an offset, little-endian."""


class Pcap:
    """Classic pcap, of either byte order, in micro- or nanoseconds."""

    start = FILE_HEADER_BYTES

    def __init__(self, header: bytes) -> None:
        self._little, unit_ns, record_header_bytes = MAGICS[header[:4]]
        # the upper half of the field holds the length of a frame check sequence
        link_type = int.from_bytes(header[20:24], "little" if self._little else "big") & 0xFFFF
        self._order = _order_of_lengths(header, self._little)
        self._form = (self._little, unit_ns, record_header_bytes, link_type, self._order)

    def walk(self, block: np.ndarray, at: Int, end: Int, rows: np.ndarray) -> tuple[int, Int, Int]:
        """Find complete records."""
        return kernel.walk_records(block, at, end, self._form, rows)

    def fault(self, code: Int, numbers: Callable[[int], int]) -> Fault:  # noqa: ARG002 (there is one only)
        """Say what is wrong with a record."""
        lengths = [_swapped(numbers(at), self._little) for at in (8, 12)]
        captured = {kernel.KEPT_FIRST: lengths[0], kernel.WIRE_FIRST: lengths[1]}.get(self._order, min(lengths))
        return Fault(
            "a record of the capture cannot be one: the file is damaged there",
            f"a captured length of at most {LARGEST_RECORD} bytes",
            f"{captured} bytes",
        )


class Pcapng:
    """The sections of a pcapng file, each with its byte order, its interfaces and their clocks."""

    start = 0

    def __init__(self) -> None:
        self._section = np.zeros(1, dtype=SECTION)
        self._interfaces = np.zeros(MOST_INTERFACES, dtype=INTERFACE)

    def walk(self, block: np.ndarray, at: Int, end: Int, rows: np.ndarray) -> tuple[int, Int, Int]:
        """Find complete blocks."""
        return kernel.walk_blocks(block, at, end, self._section, self._interfaces, rows)

    def fault(self, code: Int, numbers: Callable[[int], int]) -> Fault:
        """Say what is wrong with a block."""
        little = bool(self._section["little"][0])
        kind, length = (_swapped(numbers(at), little) for at in (0, 4))
        return Fault(
            "a block of the capture cannot be one: the file is damaged there",
            BLOCK_FAULTS[int(code)],
            f"a block of type {kind:#x} and length {length}, {int(self._section['interfaces'][0])} interfaces so far",
        )


def _order_of_lengths(header: bytes, little: bool) -> int:
    """Return in which order a pcap's version writes captured length and length on the wire (libpcap's sf-pcap.c).

    Before 2.3 the wire's came first, and in DEC's 543.0 too; programs that wrote 2.3 did not agree.
    """
    version = tuple(int.from_bytes(header[at : at + 2], "little" if little else "big") for at in (4, 6))
    if version == UNSURE_VERSION:
        return kernel.UNSURE
    return kernel.WIRE_FIRST if version in WIRE_FIRST_VERSIONS else kernel.KEPT_FIRST


def _swapped(number: int, little: bool) -> int:
    return number if little else int.from_bytes(number.to_bytes(4, "little"), "big")


def format_of(header: bytes, where: str) -> CaptureFormat:
    """Return the format of a file that begins with these FILE_HEADER_BYTES.

    Raises:
        CaptureError: They are no capture's, or too few.
    """
    is_pcapng = header.startswith(PCAPNG_MAGIC) and header[8:12] in BYTE_ORDER_MAGICS
    if not is_pcapng and header[:4] not in MAGICS:
        expected = "a pcap or pcapng file, plain or compressed with gzip, zstd, lz4 or xz"
        raise CaptureError(NOT_A_CAPTURE, where, expected, _described(header))
    if len(header) < FILE_HEADER_BYTES:
        raise CaptureError(
            "the capture ends inside its file header", where, "at least 24 bytes", f"{len(header)} bytes"
        )
    return Pcapng() if is_pcapng else Pcap(header)


def _described(header: bytes) -> str:
    """Say in a few words what the first bytes of a file look like."""
    if not header:
        return "nothing"
    text = header.decode("latin-1")
    return f"text: {text!r}" if "".join(text.split()).isprintable() else f"bytes {header[:8].hex(' ')}"
