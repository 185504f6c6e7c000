"""Frames and where they lie: what the capture readers hand to the decoder, and what they know of a pcapng section."""

from typing import NamedTuple

import numpy as np

LARGEST_RECORD = 262_144  # libpcap's MAXIMUM_SNAPLEN: more means that the reader has lost its place
LARGEST_BLOCK = 2 * LARGEST_RECORD
"""A longer pcapng block is skipped as it streams by, its contents unread but for a packet's bytes."""
MOST_INTERFACES = 65_536
LATEST_NS = (1 << 32) * 1_000_000_000
"""The year 2106, where classic pcap's clock ends; a time beyond it is metered as if it were this."""

FRAME = np.dtype(
    [
        ("time_ns", "i8"),
        ("start", "i4"),  # first captured byte, an index into the block
        ("captured", "i4"),  # bytes in the block
        ("original", "i8"),  # bytes on the wire
        ("link_type", "i4"),  # LINKTYPE_ number of tcpdump.org
        ("vlan", "u4"),  # filled in by the decoder
    ],
    align=True,
)
"""Where one frame lies in its block."""

INTERFACE = np.dtype(
    [
        ("snap_bytes", "i8"),  # 0: frames are not cut
        ("offset_ns", "i8"),  # added to every time
        ("unit", "u8"),  # nanoseconds in a tick; ticks in a nanosecond; or the power of two of ticks in a second
        ("scale", "u1"),  # which of these three: MULTIPLY, DIVIDE or SHIFT
        ("link_type", "i4"),
    ],
    align=True,
)
"""One interface of a pcapng section."""
MULTIPLY, DIVIDE, SHIFT = 0, 1, 2

SECTION = np.dtype([("little", "u1"), ("interfaces", "i8"), ("time_ns", "i8")], align=True)
"""What holds for the pcapng section being read: byte order, number of interfaces, time of the latest packet."""


class Frames(NamedTuple):
    """Some frames of a block, valid until the next ones are asked for."""

    block: np.ndarray  # bytes, uint8
    rows: np.ndarray  # FRAME rows
