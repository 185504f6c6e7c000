"""The context kernel: flows in order of their end enter the windows around a moment, leave them, and are described.

A window is never looked through: every group of neighbours keeps its sums, which a flow that enters adds to and a flow
that leaves takes away again. They are integers, so that nothing is left over. How many different partners a group has
is how many groups of two things at a time there are in it. A group without flows stays in its table until the table is
full and is built anew. Every njit function that the kernels call lives in this file: numba's cache looks at one source
file only.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from features.kernel_types import NEVER, Int, Record, kernel, part
from features.prefetch import LINE_BYTES, prefetch

SHORT_S = 5
LONG_S = 60
SHORT_NS, LONG_NS = SHORT_S * 1_000_000_000, LONG_S * 1_000_000_000
GAP_TICK_NS = 100_000
GAP_TICK_S = GAP_TICK_NS * 1e-9
LOG_TICK = 1e-6
FIRST_SLOTS = 1 << 14
ROW_BITS, LARGEST_ROW = 32, (1 << 32) - 1
AHEAD = 8

NEIGHBOUR = np.dtype(
    [
        ("start_ns", "i8"),
        ("end_ns", "i8"),
        ("src", "u8"),  # hash: equal address, equal hash
        ("dst", "u8"),
        ("service", "u8"),  # protocol and destination port
        ("failed", "i8"),  # 0 or 1
        ("bytes", "i8"),
        ("request", "i8"),  # payload bytes forward
        ("response", "i8"),  # payload bytes backward
    ]
)
"""What a flow shows to its neighbours: 72 bytes, whatever its packets."""

SRC, ENDPOINT, PAIR, SAME = range(4)
SERVICES, SRC_REQUESTS, SRC_RESPONSES, SAME_REQUESTS, SAME_RESPONSES = range(5)

PLACE = np.dtype(
    [
        ("groups", "i4", (4,)),  # rows of its groups, in the order SRC, ENDPOINT, PAIR, SAME
        ("partners", "i4", (5,)),  # rows of what it adds to their variety, SERVICES to SAME_RESPONSES
        ("log_bytes", "i4"),  # in LOG_TICK
        ("gap_after", "i8"),  # GAP_TICKs from its start to that of the next of its SAME; 0 while there is none
    ],
    align=True,
)
"""What is known of a flow that is in the windows."""

GROUP = np.dtype(
    [
        ("key", "u8"),
        ("log_sum", "i8"),
        ("log_sq", "u8"),
        ("gap_sum", "i8"),
        ("gap_sq", "u8"),
        ("latest", "i8"),  # number of the flow that entered last
        ("flows", "i4"),  # within LONG_S, as all but the next two
        ("short_flows", "i4"),  # within SHORT_S
        ("short_failed", "i4"),
        ("failed", "i4"),
        ("hosts", "i4"),  # different ones, and so on
        ("services", "i4"),
        ("endpoints", "i4"),
        ("requests", "i4"),
        ("responses", "i4"),
        ("next", "i4"),  # chains the rows that are free
    ],
    align=True,
)
"""What the flows of a group that are in the windows come to; without any of them all is 0 but the key and latest."""

PARTNER = np.dtype([("key", "u8"), ("flows", "i4"), ("next", "i4")], align=True)
"""How many flows within LONG_S have two things in common, such as source and service."""

STATE = np.dtype(
    [
        ("origin", "i8"),  # number of the flow at index 0
        ("entered", "i8", (2,)),  # flows before this index have entered the short and the long window
        ("left", "i8", (2,)),  # flows before this index have left them again
        ("used", "i8", (2,)),  # slots in use of groups and of partners
        ("fresh", "i4", (2,)),  # first row that was never used
        ("free", "i4", (2,)),  # first of the chain of rows that are free, NEVER where there is none
    ]
)
SHORT, LONG = range(2)
OF_GROUPS, OF_PARTNERS = range(2)


class Windows(NamedTuple):
    """The two windows around the flow that is described, and what the flows in them come to."""

    state: np.ndarray  # one STATE row
    group_slots: np.ndarray  # uint64, a power of two of them, half of them free: upper half of a key, row + 1
    groups: np.ndarray  # GROUP rows, half as many
    partner_slots: np.ndarray
    partners: np.ndarray  # PARTNER rows


def new_windows() -> Windows:
    """Return windows without flows."""
    state = np.zeros(1, STATE)
    state["free"] = NEVER
    groups, partners = (np.zeros(FIRST_SLOTS // 2, rows) for rows in (GROUP, PARTNER))
    return Windows(state, np.zeros(FIRST_SLOTS, np.uint64), groups, np.zeros(FIRST_SLOTS, np.uint64), partners)


def with_room(windows: Windows) -> Windows:
    """Return the windows with their tables built anew without what no flow has any more, two thirds free."""
    state = windows.state[0]
    group_slots, groups = _rebuilt(windows.groups, state, OF_GROUPS)
    partner_slots, partners = _rebuilt(windows.partners, state, OF_PARTNERS)
    return Windows(windows.state, group_slots, groups, partner_slots, partners)


def _rebuilt(rows: npt.NDArray[np.void], state: np.void, which: int) -> tuple[np.ndarray, np.ndarray]:
    alive = np.count_nonzero(rows["flows"][: state["fresh"][which]])
    slots = np.zeros(max(FIRST_SLOTS, 1 << (3 * int(alive)).bit_length()), np.uint64)
    if len(slots) // 2 > len(rows):
        rows = np.concatenate([rows, np.zeros(len(slots) // 2 - len(rows), rows.dtype)])
    state["used"][which] = alive
    state["free"][which] = _refill(slots, rows, state["fresh"][which])
    return slots, rows


def _names() -> Iterator[str]:
    volumes = (
        "flows_5s",
        "flows_60s",
        "failed_share_5s",
        "failed_share_60s",
        "log_bytes_mean_60s",
        "log_bytes_std_60s",
    )
    variety = [f"{name}_{form}" for name in ("hosts", "services", "endpoints") for form in ("60s", "per_flow_60s")]
    sameness = ("request_sizes_per_flow_60s", "response_sizes_per_flow_60s")
    yield from (f"src_{name}" for name in (*volumes, *variety, *sameness))
    yield from (f"endpoint_{name}" for name in (*volumes[:2], *variety[:2]))
    yield from (f"pair_{name}" for name in (*volumes, *variety[2:4]))
    yield from (f"same_{name}" for name in (*volumes, *sameness, "gap_mean_s_60s", "gap_variation_60s"))
    yield from ("same_share_of_src_60s", "same_share_of_endpoint_60s")


CONTEXT_NAMES = tuple(_names())
"""The context columns in the order in which describe_flows writes them."""


@part
def _insert(slots: np.ndarray, key: np.uint64, row: Int) -> None:
    mask = np.uint64(len(slots) - 1)
    at = key & mask
    while slots[at]:
        at = at + np.uint64(1) & mask
    slots[at] = key >> np.uint64(32) << np.uint64(32) | np.uint64(row + 1)


@kernel
def _refill(slots: np.ndarray, rows: np.ndarray, used: Int) -> Int:
    """Put the rows that have flows into empty slots, chain the others, and return the first of these."""
    free = NEVER
    for row in range(used):
        if rows[row].flows:
            _insert(slots, rows[row].key, row)
        else:
            rows[row].next = free
            free = row
    return free


@part
def _key(first: np.uint64, second: np.uint64, kind: Int) -> np.uint64:
    """Return 64 well-spread bits of two values and what they are together."""
    value = (first + np.uint64(kind) * np.uint64(0xD6E8FEB86659FD93)) ^ second * np.uint64(0x9E3779B97F4A7C15)
    value = (value ^ value >> np.uint64(32)) * np.uint64(0xFF51AFD7ED558CCD)
    value = (value ^ value >> np.uint64(29)) * np.uint64(0xC4CEB9FE1A85EC53)
    return value ^ value >> np.uint64(32)


@part
def _row_of(slots: np.ndarray, rows: np.ndarray, state: Record, which: Int, key: np.uint64) -> Int:
    """Return the row with a key, a new one without flows where there is none; there is room for it."""
    shift = np.uint64(32)
    mask = np.uint64(len(slots) - 1)
    at = key & mask
    while slots[at]:
        row = np.int64(slots[at] & np.uint64(0xFFFFFFFF)) - 1
        if slots[at] >> shift == key >> shift and rows[row].key == key:
            return row
        at = at + np.uint64(1) & mask
    row = np.int64(state.free[which])
    if row == NEVER:
        row = np.int64(state.fresh[which])
        state.fresh[which] = row + 1
    else:
        state.free[which] = rows[row].next
    slots[at] = key >> shift << shift | np.uint64(row + 1)
    state.used[which] += 1
    rows[row].key = key
    return row


@part
def _find_places(windows: Windows, flow: Record, place: Record) -> None:
    """Look up the rows of everything that a flow adds to."""
    state, request, response = windows.state[0], np.uint64(flow.request), np.uint64(flow.response)
    endpoint = _key(flow.dst, flow.service, 1)
    same = _key(flow.src, endpoint, 2)
    keys = (_key(flow.src, np.uint64(0), 3), endpoint, _key(flow.src, flow.dst, 4), same)
    for which in range(4):
        prefetch(windows.group_slots, np.int64(keys[which] & np.uint64(len(windows.group_slots) - 1)), 0)
    for which in range(4):
        place.groups[which] = _row_of(windows.group_slots, windows.groups, state, OF_GROUPS, keys[which])
    shared = (
        _key(flow.src, flow.service, 5),
        _key(flow.src, request, 6),
        _key(flow.src, response, 7),
        _key(same, request, 8),
        _key(same, response, 9),
    )
    for which in range(5):
        prefetch(windows.partner_slots, np.int64(shared[which] & np.uint64(len(windows.partner_slots) - 1)), 0)
    for which in range(5):
        place.partners[which] = _row_of(windows.partner_slots, windows.partners, state, OF_PARTNERS, shared[which])


@part
def _add(windows: Windows, flow: Record, place: Record, step: Int) -> None:
    """Add a flow to the long window's sums, or take it away: step is 1 or -1."""
    groups, partners = windows.groups, windows.partners
    log_bytes = np.int64(place.log_bytes)
    for which in range(4):
        group = groups[place.groups[which]]
        group.flows += step
        group.failed += step * flow.failed
        group.log_sum += step * log_bytes
        group.log_sq += np.uint64(step * log_bytes * log_bytes)
    last = 1 if step == 1 else 0  # the flows that the first to come and the last to go leaves behind
    src, endpoint = groups[place.groups[SRC]], groups[place.groups[ENDPOINT]]
    pair, same = groups[place.groups[PAIR]], groups[place.groups[SAME]]
    if pair.flows == last:
        src.hosts += step
    if same.flows == last:
        src.endpoints += step
        endpoint.hosts += step
        pair.services += step
    for which in range(5):
        partners[place.partners[which]].flows += step
    src.services += step * (partners[place.partners[SERVICES]].flows == last)
    src.requests += step * (partners[place.partners[SRC_REQUESTS]].flows == last)
    src.responses += step * (partners[place.partners[SRC_RESPONSES]].flows == last)
    same.requests += step * (partners[place.partners[SAME_REQUESTS]].flows == last)
    same.responses += step * (partners[place.partners[SAME_RESPONSES]].flows == last)


@part
def _add_gap(group: Record, gap: Int, step: Int) -> None:
    group.gap_sum += step * gap
    group.gap_sq += np.uint64(step * gap * gap)


@part
def _enter(windows: Windows, shown: np.ndarray, places: np.ndarray, index: Int) -> None:
    """Let a flow into the long window."""
    state, flow, place = windows.state[0], shown[index], places[index]
    place.log_bytes = np.int32(np.rint(np.log1p(np.float64(flow.bytes)) / LOG_TICK))
    place.gap_after = 0
    _find_places(windows, flow, place)
    same = windows.groups[place.groups[SAME]]
    before = same.latest - state.origin
    if same.flows and before >= state.left[LONG]:
        gap = abs(flow.start_ns - shown[before].start_ns) // GAP_TICK_NS
        places[before].gap_after = gap
        _add_gap(same, gap, 1)
    same.latest = state.origin + index
    _add(windows, flow, place, 1)


@part
def _add_short(windows: Windows, flow: Record, place: Record, step: Int) -> None:
    """Add a flow to the short window's sums, or take it away: step is 1 or -1."""
    for which in range(4):
        group = windows.groups[place.groups[which]]
        group.short_flows += step
        group.short_failed += step * flow.failed


@part
def _leave_short(windows: Windows, shown: np.ndarray, places: np.ndarray) -> None:
    """Let the first flow out of the short window."""
    state = windows.state[0]
    _add_short(windows, shown[state.left[SHORT]], places[state.left[SHORT]], -1)
    state.left[SHORT] += 1


@part
def _leave(windows: Windows, shown: np.ndarray, places: np.ndarray) -> None:
    """Let the first flow out of the long window."""
    state = windows.state[0]
    _look_ahead(windows, places, state.left[LONG], state.left[SHORT])
    place = places[state.left[LONG]]
    _add_gap(windows.groups[place.groups[SAME]], place.gap_after, -1)
    _add(windows, shown[state.left[LONG]], place, -1)
    state.left[LONG] += 1


@part
def _look_ahead(windows: Windows, places: np.ndarray, index: Int, stop: Int) -> None:
    """Ask for the memory of the groups of a flow that is AHEAD of an index, and before stop."""
    if index + AHEAD < stop:
        place = places[index + AHEAD]
        for which in range(4):
            prefetch(windows.groups, np.int64(place.groups[which]), 0)
            prefetch(windows.groups, np.int64(place.groups[which]), LINE_BYTES)


@part
def _has_room(windows: Windows) -> bool:
    used = windows.state[0].used
    groups, partners = len(windows.group_slots), len(windows.partner_slots)
    return 2 * (used[OF_GROUPS] + 4) <= groups and 2 * (used[OF_PARTNERS] + 5) <= partners


@part
def _move(windows: Windows, shown: np.ndarray, places: np.ndarray, index: Int) -> bool:
    """Move both windows on to a flow; False when the tables must be built anew first."""
    state, end_ns = windows.state[0], shown[index].end_ns
    while state.entered[LONG] < len(shown):
        following = state.entered[LONG]
        if following > index and shown[following].end_ns - end_ns > LONG_NS:
            break
        if not _has_room(windows):
            return False
        _enter(windows, shown, places, following)
        state.entered[LONG] += 1
    while state.entered[SHORT] < state.entered[LONG]:
        following = state.entered[SHORT]
        if following > index and shown[following].end_ns - end_ns > SHORT_NS:
            break
        _look_ahead(windows, places, following, state.entered[LONG])
        _add_short(windows, shown[following], places[following], 1)
        state.entered[SHORT] += 1
    _look_ahead(windows, places, index, state.entered[LONG])
    while state.left[SHORT] < index and end_ns - shown[state.left[SHORT]].end_ns > SHORT_NS:
        _leave_short(windows, shown, places)
    while state.left[LONG] < state.left[SHORT] and end_ns - shown[state.left[LONG]].end_ns > LONG_NS:
        _leave(windows, shown, places)
    return True


@part
def _deviation(squares: float, count: Int, mean: float) -> float:
    return np.sqrt(max(squares / count - mean * mean, 0.0))


@part
def _write_volumes(group: Record, out: np.ndarray, column: Int, row: Int) -> Int:
    """Write how many flows there are, how many failed, and how large they are; returns the next column."""
    mean = group.log_sum / group.flows
    out[column, row], out[column + 1, row] = group.short_flows, group.flows
    out[column + 2, row] = group.short_failed / group.short_flows
    out[column + 3, row] = group.failed / group.flows
    out[column + 4, row] = mean * LOG_TICK
    out[column + 5, row] = _deviation(np.float64(group.log_sq), group.flows, mean) * LOG_TICK
    return column + 6


@part
def _write_variety(different: Int, flows: Int, out: np.ndarray, column: Int, row: Int) -> Int:
    """Write how many different partners there are, and their share of the flows; returns the next column."""
    out[column, row], out[column + 1, row] = different, different / flows
    return column + 2


@part
def _write_gaps(group: Record, out: np.ndarray, column: Int, row: Int) -> None:
    """Write mean and variation of the gaps between starts."""
    gaps = group.flows - 1
    mean = group.gap_sum / gaps if gaps > 0 else np.nan
    out[column, row] = mean * GAP_TICK_S
    out[column + 1, row] = _deviation(np.float64(group.gap_sq), gaps, mean) / mean if mean > 0 else np.nan


@part
def _write(windows: Windows, place: Record, out: np.ndarray, row: Int) -> None:
    """Write a flow's columns, in the order of CONTEXT_NAMES."""
    groups = windows.groups
    src, endpoint = groups[place.groups[SRC]], groups[place.groups[ENDPOINT]]
    pair, same = groups[place.groups[PAIR]], groups[place.groups[SAME]]
    at = _write_volumes(src, out, 0, row)
    at = _write_variety(src.hosts, src.flows, out, at, row)
    at = _write_variety(src.services, src.flows, out, at, row)
    at = _write_variety(src.endpoints, src.flows, out, at, row)
    out[at, row], out[at + 1, row] = src.requests / src.flows, src.responses / src.flows
    out[at + 2, row], out[at + 3, row] = endpoint.short_flows, endpoint.flows
    at = _write_variety(endpoint.hosts, endpoint.flows, out, at + 4, row)
    at = _write_volumes(pair, out, at, row)
    at = _write_variety(pair.services, pair.flows, out, at, row)
    at = _write_volumes(same, out, at, row)
    out[at, row], out[at + 1, row] = same.requests / same.flows, same.responses / same.flows
    _write_gaps(same, out, at + 2, row)
    out[at + 4, row], out[at + 5, row] = same.flows / src.flows, same.flows / endpoint.flows


@kernel
def describe_flows(
    windows: Windows, shown: np.ndarray, places: np.ndarray, span: tuple[int, int, int], out: np.ndarray
) -> Int:
    """Write the context of flows.

    Args:
        windows: Moved on from flow to flow, and never back.
        shown: NEIGHBOUR rows by end time: the flows that are in the windows, and those that may come into them.
        places: As many PLACE rows.
        span: The first flow to describe, the one behind the last, and the row of out for the first.
        out: Columns in the order of CONTEXT_NAMES, float32, shape (len(CONTEXT_NAMES), rows).

    Returns:
        Index of the first flow not described: less than asked for when the windows must have more room.
    """
    first, stop, row = span
    for index in range(first, stop):
        if not _move(windows, shown, places, index):
            return index
        _write(windows, places[index], out, row + index - first)
    return stop


@kernel
def let_out(windows: Windows, shown: np.ndarray, places: np.ndarray, stop: Int) -> None:
    """Let the flows before an index out of both windows; they have entered them."""
    state = windows.state[0]
    while state.left[SHORT] < stop:
        _leave_short(windows, shown, places)
    while state.left[LONG] < stop:
        _leave(windows, shown, places)


@kernel
def gather_rows(batch: np.ndarray, numbers: np.ndarray, wanted: Int, out: np.ndarray) -> None:
    """Copy rows of one batch to their places.

    Args:
        batch: Rows as words, uint64, shape (rows, words of a row).
        numbers: Of each place the number of a batch in the upper half and of its row in the lower one.
        wanted: The number of the batch; places of others are passed over.
        out: As many rows as numbers, in the form of batch.
    """
    for place in range(len(numbers)):
        if numbers[place] >> ROW_BITS == wanted:
            row = numbers[place] & LARGEST_ROW
            for word in range(out.shape[1]):
                out[place, word] = batch[row, word]
