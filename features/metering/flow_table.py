"""The flow table's arrays: what the meter keeps of every live flow, and of itself.

An open-addressing hash table of 8-byte slots (hash tag and row) points to the rows of two arrays: ``live`` holds the
key, the clock and the list links, ``flows`` the FLOW row that is handed out. Two linked lists order the live flows: the
open ones by the time they were last put at the end, the closed TCP flows by the time they closed.
"""

from typing import NamedTuple

import numpy as np

from features.captures.packet_record import PACKET
from features.kernel_types import NEVER
from features.metering.flow_record import FLOW, EndReason

NEVER_AT_FIRST = (
    *("dir_first_ns", "dir_last_ns", "first_payload_ns", "syn_ns", "syn_ack_ns", "handshake_ns"),
    *("gap_min", "window_first", "window_min", "window_max", "icmp_type", "icmp_code"),
)
OPEN_LIST, CLOSED_LIST = 0, 1
HASH_WORDS = 10
"""The 32-bit words of a key: two for each half address, the ports and the protocol."""

LIVE = np.dtype(
    [
        ("low_high", "u8"),  # the key's two ends, the lower one first whoever sent
        ("low_low", "u8"),
        ("high_high", "u8"),
        ("high_low", "u8"),
        ("ports", "u4"),  # of the lower and the higher end
        ("tag", "u4"),  # hash of the key
        ("seen_ns", "i8"),  # clock at the latest packet
        ("linked_ns", "i8"),  # clock when last put at the end of its list
        ("previous", "i4"),  # rows, NEVER at an end of the list; next also chains the free rows
        ("next", "i4"),
        ("protocol", "u1"),
        ("from_low", "u1"),  # 1 when the forward direction is from the lower end
        ("fins", "u1"),  # a bit for each direction that sent one
        ("numbered", "u1"),  # a bit for each direction whose next_seq is known
        ("closed", "u1"),  # TCP end seen: linked in the closed list
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
        ("free", "i4"),  # first of the chain of free rows
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

    slots: np.ndarray  # uint64, a power of two of them, at least twice the rows: tag << 32 | row + 1, 0 when free
    live: np.ndarray  # LIVE rows
    flows: np.ndarray  # FLOW rows
    export: np.ndarray  # FLOW rows, finished
    state: np.ndarray  # one STATE row
    blank: np.ndarray  # one FLOW row as it is before its first packet
    hash_keys: np.ndarray  # uint64, random, HASH_WORDS + 1 of them
    key: np.ndarray  # one LIVE row, where the packet's key is made
    held: np.ndarray  # one PACKET row, the one that waits


def blank_flow() -> np.ndarray:
    """Return one FLOW row before its first packet: zeros, and NEVER where FLOW says so."""
    row = np.zeros(1, dtype=FLOW)
    for name in NEVER_AT_FIRST:
        row[name] = NEVER
    row["ttl_min"] = 255
    return row


def new_table(rows: int, export_rows: int, hash_keys: np.ndarray) -> Table:
    """Return an empty table with room for some flows; rows and export_rows are at least 1."""
    state = np.zeros(1, dtype=STATE)
    for name in ("head", "tail", "clock_ns", "swept_ns"):
        state[name] = NEVER
    live = np.zeros(rows, dtype=LIVE)
    chain_free_rows(live, 0)
    return Table(
        slots=new_slots(rows),
        live=live,
        flows=np.zeros(rows, dtype=FLOW),
        export=np.zeros(export_rows, dtype=FLOW),
        state=state,
        blank=blank_flow(),
        hash_keys=hash_keys,
        key=np.zeros(1, dtype=LIVE),
        held=np.zeros(1, dtype=PACKET),
    )


def new_slots(rows: int) -> np.ndarray:
    """Return free slots, at least twice as many as rows."""
    return np.zeros(1 << (2 * rows - 1).bit_length(), dtype=np.uint64)


def chain_free_rows(live: np.ndarray, start: int) -> None:
    """Chain the rows from start on as free ones."""
    live["next"][start:] = np.arange(start + 1, len(live) + 1)
    live["next"][-1] = NEVER
