"""The flow table's arrays: what the meter keeps of every live flow, and of itself.

An open-addressing hash table of 8-byte slots (hash tag and row) points to the rows of two arrays: ``flows`` holds the
FLOW row that is handed out, whose addresses and ports are the key, ``live`` the clock and the list links. Two linked
lists order the live flows: the open ones by the time they were last put at the end, the closed TCP flows by the time
they closed.

Both arrays have their full length from the beginning. The system gives a page when it is first written to, and rows are
taken into use one after the other: memory grows with the most flows that were live at a time, without a copy.
"""

from typing import NamedTuple

import numpy as np

from features.captures.packet_record import PACKET
from features.errors import ConfigError
from features.kernel_types import NEVER
from features.metering.flow_record import FLOW, EndReason
from features.payload.snippets import Snippets, new_snippets

AT_FIRST = {
    **dict.fromkeys(("dir_first_ns", "dir_last_ns", "syn_ns", "syn_ack_ns", "handshake_ns"), NEVER),
    **dict.fromkeys(("gap_min_s", "first_payload_s"), np.inf),
    "ttl_min": 255,
    "window_min": 65_535,
}
"""What a FLOW row holds before its first packet, where that is not 0."""
OPEN_LIST, CLOSED_LIST = 0, 1
FIRST_ROWS = 4096
"""The live flows that the first slots are for."""
LOOK_AHEAD = 16
"""Packets whose flows are asked of the memory before the first of them is metered."""
HASH_WORDS = 11
"""The 32-bit words of a key: two for each half address, the ports, the protocol and the VLAN."""

LIVE = np.dtype(
    [
        ("seen_ns", "i8"),  # clock at the latest packet
        ("linked_ns", "i8"),  # clock when last put at the end of its list
        ("tag", "u4"),  # hash of the key
        ("previous", "i4"),  # rows, NEVER at an end of the list; next also chains the free rows
        ("next", "i4"),
        ("fins", "u1"),  # a bit for each direction that sent one
        ("numbered", "u1"),  # a bit for each direction whose next_seq is known
        ("closed", "u1"),  # TCP end seen: linked in the closed list
        ("wanted", "u1"),  # a bit for each direction whose snippet takes more
        ("snippets", "i4", (2,)),  # the first chunk of each direction's snippet, NEVER where there is none
    ],
    align=True,
)
"""What the table keeps of a live flow beside its FLOW row."""

STATE = np.dtype(
    [
        ("clock_ns", "i8"),  # largest packet time so far
        ("swept_ns", "i8"),  # the clock of the latest complete sweep
        ("head", "i4", (2,)),  # of OPEN_LIST and CLOSED_LIST
        ("tail", "i4", (2,)),
        ("free", "i4"),  # first of the chain of rows that were given back, NEVER where there is none
        ("fresh", "i4"),  # first of the rows that were never used
        ("live", "i8"),
        ("exported", "i8"),  # rows of the export buffer in use
        ("out_of_order", "i8"),  # packets whose time is before the clock
        ("astray", "i8"),  # packets whose time was not believed
        ("holding", "i8"),  # 1 while a packet waits for the next one to be believed
        ("ended", "i8", (len(EndReason) + 1,)),
    ]
)
"""The table's scalars."""


class Limits(NamedTuple):
    """The meter's settings in the kernel's units."""

    idle_ns: int
    active_ns: int
    grace_ns: int
    activity_gap_ns: int
    max_flows: int


class Table(NamedTuple):
    """The flow table's arrays."""

    slots: np.ndarray  # uint64, a power of two of them, at least twice the live flows: tag << 32 | row + 1, 0 when free
    live: np.ndarray  # LIVE rows
    flows: np.ndarray  # FLOW rows
    words: np.ndarray  # uint64, the same memory, shape (rows, words of a row): the first four are the addresses
    export: np.ndarray  # FLOW rows, finished
    state: np.ndarray  # one STATE row
    blank: np.ndarray  # one FLOW row as it is before its first packet
    hash_keys: np.ndarray  # uint64, random, HASH_WORDS + 1 of them
    held: np.ndarray  # one PACKET row, the one that waits
    tags: np.ndarray  # uint32, LOOK_AHEAD of them: hashes of the packets that are next
    snippets: Snippets  # the first payload bytes of the live flows and of those in export


def blank_flow() -> np.ndarray:
    """Return one FLOW row before its first packet."""
    row = np.zeros(1, dtype=FLOW)
    for name, value in AT_FIRST.items():
        row[name] = value
    return row


def new_table(rows: int, export_rows: int, hash_keys: np.ndarray) -> Table:
    """Return an empty table for at most so many flows; rows and export_rows are at least 1.

    Raises:
        ConfigError: This machine has not the memory for so many.
    """
    state = np.zeros(1, dtype=STATE)
    for name in ("head", "tail", "clock_ns", "swept_ns", "free"):
        state[name] = NEVER
    try:
        live, flows = np.empty(rows, dtype=LIVE), np.empty(rows, dtype=FLOW)
    except MemoryError as error:
        size = rows * (LIVE.itemsize + FLOW.itemsize)
        expected, received = "a table that fits in memory", f"{rows:,} flows, {size / 1e9:,.0f} GB"
        raise ConfigError("the flow table is too large", "max_flows", expected, received) from error
    return Table(
        slots=new_slots(min(rows, FIRST_ROWS)),
        live=live,
        flows=flows,
        words=flows.view(np.uint64).reshape(rows, -1),
        export=np.zeros(export_rows, dtype=FLOW),
        state=state,
        blank=blank_flow(),
        hash_keys=hash_keys,
        held=np.zeros(1, dtype=PACKET),
        tags=np.zeros(LOOK_AHEAD, dtype=np.uint32),
        snippets=new_snippets(export_rows),
    )


def new_slots(rows: int) -> np.ndarray:
    """Return free slots, at least twice as many as rows."""
    return np.zeros(1 << (2 * rows - 1).bit_length(), dtype=np.uint64)
