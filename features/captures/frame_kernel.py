"""The capture kernels: one block of bytes in, FRAME rows out, for classic pcap and for pcapng.

Both stop at the first record that the block's end cuts, or that cannot be one, and say where. Every njit function that
they call lives in this file, because numba's cache on disk looks for changes in one source file only.

Sources: draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng (blocks 4.1 to 4.4 and A for the obsolete one; options of an
interface 4.2); libpcap's sf-pcap.c (the patched record header) and sf-pcapng.c (what it refuses).
"""

from typing import TypeAlias

import numpy as np

from features.captures.frames import (
    DIVIDE,
    LARGEST_BLOCK,
    LARGEST_RECORD,
    LATEST_NS,
    MOST_INTERFACES,
    MULTIPLY,
    SHIFT,
)
from features.kernel_types import Int, Record, kernel, part

OK, BAD_CAPTURED, BAD_LENGTH, BAD_TRAILER, BAD_BYTE_ORDER, BAD_VERSION, BAD_OPTION, UNKNOWN_INTERFACE, CROWDED = range(
    9
)
SECTION_HEADER, INTERFACE_DESCRIPTION, OBSOLETE_PACKET, SIMPLE_PACKET, ENHANCED_PACKET = 0x0A0D0D0A, 1, 2, 3, 6
RESOLUTION_OPTION, OFFSET_OPTION = 9, 14
NS_PER_S = 1_000_000_000
KEPT_FIRST, UNSURE, WIRE_FIRST = range(3)
Form: TypeAlias = tuple[bool, int, int, int, int]
"""How a classic pcap's records are written (see walk_records)."""
Head: TypeAlias = tuple[Int, Int, Int]
"""A pcapng block's index, its length and its type."""


@part
def _u16(block: np.ndarray, at: Int, little: bool) -> Int:
    a, b = np.int64(block[at]), np.int64(block[at + 1])
    return b << 8 | a if little else a << 8 | b


@part
def _u32(block: np.ndarray, at: Int, little: bool) -> Int:
    """Return the unsigned 32-bit number at an index."""
    a, b, c, d = np.int64(block[at]), np.int64(block[at + 1]), np.int64(block[at + 2]), np.int64(block[at + 3])
    if little:
        return d << 24 | c << 16 | b << 8 | a
    return a << 24 | b << 16 | c << 8 | d


@kernel
def walk_records(block: np.ndarray, at: Int, end: Int, form: Form, rows: np.ndarray) -> Record:
    """Find the complete records of a classic pcap's ``block[at:end]`` until the rows are full.

    Args:
        block: Bytes, uint8.
        at: Index of the first record.
        end: Index after the last byte.
        form: Little-endian, nanoseconds in one unit of the fraction, bytes of a record header, link type, and the order
            of a record's two lengths: KEPT_FIRST, WIRE_FIRST, or UNSURE, where the smaller one is what was captured.
        rows: FRAME rows to fill.

    Returns:
        Rows filled, index after the last record, and why it stopped there: OK or BAD_CAPTURED.
    """
    little, unit_ns, header, link_type, order = form
    count = 0
    while count < len(rows) and end - at >= header:
        captured, original = _u32(block, at + 8, little), _u32(block, at + 12, little)
        if order == WIRE_FIRST or (order == UNSURE and captured > original):
            captured, original = original, captured
        if captured > LARGEST_RECORD:
            return count, at, BAD_CAPTURED
        if end - at - header < captured:
            break
        row = rows[count]
        row.time_ns = _u32(block, at, little) * NS_PER_S + _u32(block, at + 4, little) * unit_ns
        row.start = at + header
        row.captured = captured
        row.original = original
        row.link_type = link_type
        at += header + captured
        count += 1
    return count, at, OK


@part
def _time_ns(face: Record, high: Int, low: Int) -> Int:
    """Return the time of a packet block, 0 to LATEST_NS."""
    ticks = np.uint64(high) << np.uint64(32) | np.uint64(low)
    unit, second, word = np.uint64(face.unit), np.uint64(NS_PER_S), np.uint64(32)
    if face.scale == MULTIPLY:
        time_ns = min(ticks, np.uint64(LATEST_NS) // unit + np.uint64(1)) * unit
    elif face.scale == DIVIDE:
        time_ns = ticks // unit
    else:  # ticks * second >> unit in two halves, each of which fits
        top, bottom = np.uint64(high) * second, np.uint64(low) * second
        total = top + (bottom >> word)
        if unit >= word:
            down = unit - word
            time_ns = total >> down if down < np.uint64(64) else np.uint64(0)
        else:
            up = word - unit
            rest = (bottom & np.uint64(0xFFFFFFFF)) >> unit
            time_ns = total << up | rest if total < np.uint64(LATEST_NS) >> up else np.uint64(LATEST_NS)
    time_ns = min(time_ns, np.uint64(LATEST_NS))
    moved: Int = max(np.int64(time_ns) + np.int64(face.offset_ns), np.int64(0))
    return min(moved, np.int64(LATEST_NS))


@part
def _set_resolution(face: Record, code: Int) -> None:
    """Write what if_tsresol says: ten to the minus code seconds, or two to the minus with the highest bit set."""
    if code & 0x80:
        face.scale, face.unit = SHIFT, np.uint64(code & 0x7F)
        return
    power = np.uint64(1)
    steps: Int = abs(9 - np.int64(code))
    for _ in range(min(steps, np.int64(19))):
        power *= np.uint64(10)
    face.scale, face.unit = (MULTIPLY, power) if code <= 9 else (DIVIDE, power)


@part
def _offset_ns(block: np.ndarray, at: Int, little: bool) -> Int:
    """Return if_tsoffset, signed seconds, in nanoseconds within LATEST_NS of 0."""
    first, second = _u32(block, at, little), _u32(block, at + 4, little)
    high, low = (second, first) if little else (first, second)
    seconds = (high - (1 << 32) if high & 1 << 31 else high) << 32 | low
    limit = LATEST_NS // NS_PER_S
    return min(max(seconds, -limit), limit) * NS_PER_S


@part
def _add_interface(block: np.ndarray, at: Int, stop: Int, section: Record, face: Record) -> Int:
    """Fill an interface from its description block, whose options end at stop."""
    little = section.little == 1
    face.link_type, face.snap_bytes, face.offset_ns = _u16(block, at + 8, little), _u32(block, at + 12, little), 0
    _set_resolution(face, 6)
    at += 16
    while stop - at >= 4:
        option, size = _u16(block, at, little), _u16(block, at + 2, little)
        if option == 0:
            break
        at += 4
        if size > stop - at or (option == RESOLUTION_OPTION and size < 1) or (option == OFFSET_OPTION and size < 8):
            return BAD_OPTION
        if option == RESOLUTION_OPTION:
            _set_resolution(face, np.int64(block[at]))
        elif option == OFFSET_OPTION:
            face.offset_ns = _offset_ns(block, at, little)
        at += size + 3 & ~3
    section.interfaces += 1
    return OK


@part
def _add_packet(block: np.ndarray, head: Head, section: Record, interfaces: np.ndarray, row: Record) -> Int:
    """Fill a FRAME row from one of the three packet blocks."""
    at, total, kind = head
    little = section.little == 1
    header = 12 if kind == SIMPLE_PACKET else 28
    if total < header + 4:
        return BAD_LENGTH
    index = _u32(block, at + 8, little) if kind == ENHANCED_PACKET else _u16(block, at + 8, little)
    if kind == SIMPLE_PACKET:
        index = 0
    if index >= section.interfaces:
        return UNKNOWN_INTERFACE
    face = interfaces[index]
    original = _u32(block, at + header - 4, little)
    if kind == SIMPLE_PACKET:
        captured = min(original, total - 16)
        if face.snap_bytes:
            captured = min(captured, face.snap_bytes)
    else:
        captured = _u32(block, at + 20, little)
        section.time_ns = _time_ns(face, _u32(block, at + 12, little), _u32(block, at + 16, little))
    if captured > LARGEST_RECORD or captured > total - header - 4:
        return BAD_CAPTURED
    row.time_ns, row.start, row.captured = section.time_ns, at + header, captured
    row.original, row.link_type = original, face.link_type
    return OK


@part
def _begin_section(block: np.ndarray, at: Int, total: Int, little: bool, section: Record) -> Int:
    if total < 28:
        return BAD_LENGTH
    if _u16(block, at + 12, little) != 1:
        return BAD_VERSION
    section.little, section.interfaces, section.time_ns = little, 0, 0
    return OK


@part
def _take_block(block: np.ndarray, head: Head, section: Record, interfaces: np.ndarray, row: Record) -> Int:
    """Read a block that the reader knows, pass over one that it does not; the row is filled from a packet block."""
    at, total, kind = head
    if kind in (OBSOLETE_PACKET, SIMPLE_PACKET, ENHANCED_PACKET):
        return _add_packet(block, head, section, interfaces, row)
    if kind != INTERFACE_DESCRIPTION:
        return OK
    if section.interfaces == MOST_INTERFACES:
        return CROWDED
    if total < 20 or total > LARGEST_BLOCK:
        return BAD_LENGTH
    return _add_interface(block, at, at + total - 4, section, interfaces[section.interfaces])


@part
def _byte_order(block: np.ndarray, at: Int, section: Record) -> Int:
    """Return 1 if the block at an index is little-endian, 0 if big, 2 for a section header that says neither."""
    if _u32(block, at, True) != SECTION_HEADER:
        return np.int64(section.little)
    magic = _u32(block, at + 8, True)
    return 1 if magic == 0x1A2B3C4D else 0 if magic == 0x4D3C2B1A else 2


@kernel
def walk_blocks(
    block: np.ndarray, at: Int, end: Int, section: np.ndarray, interfaces: np.ndarray, rows: np.ndarray
) -> tuple[int, Int, Int]:
    """Find the complete blocks of a pcapng's ``block[at:end]`` until the rows are full.

    Args:
        block: Bytes, uint8.
        at: Index of the first block, beyond end while a long block streams by.
        end: Index after the last byte.
        section: One SECTION row, kept from call to call.
        interfaces: MOST_INTERFACES rows of INTERFACE, kept too.
        rows: FRAME rows to fill.

    Returns:
        Rows filled, index after the last block, beyond end if it is a long one, and OK or why it stopped there.
    """
    count, now = 0, section[0]
    while count < len(rows) and end - at >= 12:
        order = _byte_order(block, at, now)
        if order == 2:
            return count, at, BAD_BYTE_ORDER
        little = order == 1
        kind, total = _u32(block, at, little), _u32(block, at + 4, little)
        if total < 12 or total & 3:
            return count, at, BAD_LENGTH
        is_long = total > LARGEST_BLOCK
        if end - at < (LARGEST_RECORD + 32 if is_long else total):
            break
        if not is_long and _u32(block, at + total - 4, little) != total:
            return count, at, BAD_TRAILER
        if kind == SECTION_HEADER:
            stop = _begin_section(block, at, total, little, now)
        else:
            stop = _take_block(block, (at, total, kind), now, interfaces, rows[count])
        if stop != OK:
            return count, at, stop
        count += kind in (OBSOLETE_PACKET, SIMPLE_PACKET, ENHANCED_PACKET)
        at += total
    return count, at, OK
