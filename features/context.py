"""Context columns: what the neighbours of a flow look like, in windows of packet time around its last packet.

A scan, a guessing run, a flood and a beacon are each made of flows that look harmless one at a time; what gives them
away is the company they keep. For four groups of neighbours (same source, same endpoint, same pair of hosts, same
source and endpoint) this module counts flows, distinct partners, failures and regularity among the flows that ended
within 5 or 60 seconds before or after. The idea goes back to the traffic features of Lee and Stolfo (1998) and KDD
Cup 99; here windows reach both ways, and shares stand beside counts because a share survives a change of pace.

What others do to the same destination is left out on purpose, but for their number: two attacks on one server at a time
would lend each other their looks, and a network would learn the day's schedule.

Flows may come in any order as long as the watermark says which ends are complete. The result does not depend on
how the flows were cut into batches, unless more flows wait than may.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from features.columns import Columns, column_block
from features.context_kernel import (
    CONTEXT_NAMES,
    LARGEST_ROW,
    LONG_NS,
    LONG_S,
    NEIGHBOUR,
    PLACE,
    ROW_BITS,
    SHORT_S,
    describe_flows,
    gather_rows,
    let_out,
    new_windows,
    with_room,
)

__all__ = ["END", "LONG_S", "NEIGHBOUR", "SHORT_S", "ContextWindow", "Ready", "context_columns"]

PIECE_ROWS = 16_384
BEFORE_ALL = -(1 << 63)
END = np.dtype([("end_ns", "i8")])
"""All that is held of a flow where no context is asked for."""

NeighbourRows = npt.NDArray[np.void]


@dataclass(frozen=True)
class Ready:
    """Flows whose windows are complete, by end time: the rows as they were pushed, and one array a context column."""

    flows: npt.NDArray[np.void]
    columns: Columns


class _Neighbourhood:
    """Flows by end time, those that may be seen and those that may see, and the windows that move over them.

    Attributes:
        shown: Rows of NEIGHBOUR, shape (n,); those that have entered the windows keep their place.
    """

    def __init__(self, shown: NeighbourRows) -> None:
        self.shown = shown
        self._places = np.zeros(len(shown), PLACE)
        self._windows = new_windows()

    @property
    def entered(self) -> int:
        """How many flows have entered a window."""
        return int(self._windows.state["entered"].max())

    def put(self, shown: NeighbourRows, fixed: int) -> None:
        """Take other flows; the first ones, all that have entered among them, are as they were."""
        places = np.zeros(len(shown), PLACE)
        _words(places)[:fixed] = _words(self._places)[:fixed]
        self.shown, self._places = shown, places

    def columns(self, first: int, stop: int) -> Columns:
        """Return the context columns of some flows, which come after those that this was asked for before."""
        out = column_block(len(CONTEXT_NAMES), stop - first)
        at = first
        while (at := describe_flows(self._windows, self.shown, self._places, (at, stop, at - first), out)) < stop:
            self._windows = with_room(self._windows)
        return dict(zip(CONTEXT_NAMES, out[:, : stop - first], strict=True))

    def forget(self, count: int) -> None:
        """Let go of the first flows; columns have been asked for of them, or of later ones."""
        let_out(self._windows, self.shown, self._places, count)
        self.shown, self._places = _behind(self.shown, count), _behind(self._places, count)
        state = self._windows.state
        state["entered"] -= count
        state["left"] -= count
        state["origin"] += count


class _Strangers:
    """Flows by end time that see nothing of each other; as _Neighbourhood otherwise."""

    entered = 0

    def __init__(self, shown: NeighbourRows) -> None:
        self.shown = shown

    def put(self, shown: NeighbourRows, _fixed: int) -> None:
        """Take other flows."""
        self.shown = shown

    def columns(self, _first: int, _stop: int) -> Columns:
        """Return no columns."""
        return {}

    def forget(self, count: int) -> None:
        """Let go of the first flows."""
        self.shown = _behind(self.shown, count)


class _Came(NamedTuple):
    """Flows by end time: what they show, the numbers of their batch and row, and which of them came late."""

    shown: NeighbourRows
    numbers: npt.NDArray[np.int64]
    late: npt.NDArray[np.bool_]


class ContextWindow:
    """Holds flows until all that may have ended within LONG_S of them is known, then hands out their context.

    Without context it holds them until all that may have ended before them is known, and hands them out alone.
    Memory: the rows that ended within LONG_S and the meter's lateness, as much again, because a release waits until it
    is worth the sorting; for each of these, and for each that ended LONG_S before them, 120 bytes, and 1 KB at most for
    the groups that it is in. Both numbers of rows have a limit.

    Attributes:
        cut_short: Flows whose context lacks a neighbour that did not fit, or is that of a later moment than their end.
    """

    def __init__(self, rows: np.dtype[np.void], most_waiting: int = 300_000, context: bool = True) -> None:
        """Start empty.

        Args:
            rows: Type of the rows that wait beside what they show to their neighbours.
            most_waiting: With more rows than this, the older half goes without its later neighbours; of those gone
                before, no more than this are seen. A flow that ended before one that the windows have come to by then
                follows it, with a context as if both had ended together.
            context: Whether flows see each other: what is pushed with them is then rows of NEIGHBOUR, else of END.
        """
        self._context = context
        self._reach_ns = LONG_NS if context else 0
        self._near = self._beginning(np.empty(0, NEIGHBOUR if context else END))
        self._gone = 0  # of its flows those that were handed out; the others wait
        self._waiting = np.empty(0, np.int64)  # of those that wait the numbers of their batch and row
        self._late = np.empty(0, np.bool_)  # beside them, whether their end had passed when they came
        self._came: list[_Came] = []  # since then
        self._batches: dict[int, npt.NDArray[np.void]] = {}  # as they were pushed, by their number
        self._pushed = 0
        self._rows = rows
        self._most_waiting = most_waiting
        self._reached_ns = BEFORE_ALL  # end of the latest flow that keeps its place
        self._unseen_ns: int | None = None  # end of the latest flow of those gone before that was let go too early
        self.cut_short = 0

    def push(self, flows: npt.NDArray[np.void], neighbours: NeighbourRows, watermark_ns: int) -> Iterator[Ready]:
        """Take flows in any order and yield those whose context is complete, by end time, PIECE_ROWS at a time.

        Args:
            flows: The rows to hand back, shape (n,).
            neighbours: What they show, rows of NEIGHBOUR, or of END without context, shape (n,).
            watermark_ns: No later push holds a flow that ended before this time.
        """
        self._take(flows, neighbours)
        waiting, complete = self.waiting, self._complete(watermark_ns)
        if waiting - complete > self._most_waiting:
            short = (waiting - complete) // 2
            yield from self._release(complete + short, short)
        elif complete and 2 * complete >= waiting + self._gone:
            yield from self._release(complete)

    def finish(self) -> Iterator[Ready]:
        """Yield every flow still held; nothing comes after."""
        yield from self._release(self.waiting)

    def complete(self, watermark_ns: int) -> Iterator[Ready]:
        """Yield every flow whose context is complete by a watermark, however few they are."""
        yield from self._release(self._complete(watermark_ns))

    @property
    def waiting(self) -> int:
        """How many flows wait for their neighbours."""
        return len(self._waiting) + sum(len(came.shown) for came in self._came)

    @property
    def _past(self) -> NeighbourRows:
        """What is seen of the flows that were handed out."""
        return self._near.shown[: self._gone]

    def _beginning(self, shown: NeighbourRows) -> "_Neighbourhood | _Strangers":
        return _Neighbourhood(shown) if self._context else _Strangers(shown)

    def _fixed(self) -> int:
        """Return how many flows keep their place: those that were handed out or that a window has come to."""
        return max(self._near.entered, self._gone)

    def _take(self, flows: npt.NDArray[np.void], neighbours: NeighbourRows) -> None:
        order = np.argsort(neighbours["end_ns"], kind="stable")
        shown = _taken(neighbours, order)
        late = shown["end_ns"] < self._reached_ns
        shown["end_ns"][late] = self._reached_ns
        self._came.append(_Came(shown, order | self._pushed << ROW_BITS, late))
        self._batches[self._pushed] = flows
        self._pushed += 1

    def _complete(self, watermark_ns: int) -> int:
        """Return how many of the flows that wait no later one can be a neighbour of."""
        shown = (self._near.shown[self._gone :], *(came.shown for came in self._came))
        return sum(int(np.searchsorted(rows["end_ns"], watermark_ns - self._reach_ns)) for rows in shown)

    def _release(self, count: int, short: int = 0) -> Iterator[Ready]:
        """Yield the flows that ended first, the last ones without their later neighbours, and keep what others see."""
        self._merge()
        if not count:
            return
        ends = self._near.shown["end_ns"][self._gone :]
        oldest_ns = ends[count] - self._reach_ns if count < len(ends) else 0
        self.cut_short += self._count_short(ends[:count], short)
        for start in range(0, count, PIECE_ROWS):
            stop = min(start + PIECE_ROWS, count)
            columns = self._near.columns(self._gone + start, self._gone + stop)
            yield Ready(self._gathered(self._waiting[start:stop]), columns)
        self._gone += count
        self._reached_ns = int(self._near.shown["end_ns"][self._fixed() - 1])
        self._waiting, self._late = self._waiting[count:].copy(), self._late[count:].copy()
        self._remember(oldest_ns)
        self._forget()

    def _count_short(self, ends: npt.NDArray[np.int64], short: int) -> int:
        """Return how many of the flows that go lack a neighbour: the last ones, late ones, those behind the unseen."""
        lacking = self._late[: len(ends)].copy()
        lacking[len(ends) - short :] = True
        if self._unseen_ns is not None:
            lacking[: np.searchsorted(ends, self._unseen_ns + self._reach_ns, side="right")] = True
        return int(np.count_nonzero(lacking)) if self._context else 0

    def _merge(self) -> None:
        """Sort the batches that came in among the flows that wait, behind those that keep their place."""
        fixed = self._fixed()
        kept = fixed - self._gone
        waited = _Came(self._near.shown[fixed:], self._waiting[kept:], self._late[kept:])
        shown, numbers, late = zip(waited, *self._came, strict=True)
        order = np.argsort(np.concatenate([rows["end_ns"] for rows in shown]), kind="stable")
        self._near.put(_merged(self._near.shown[:fixed], shown, order), fixed)
        self._waiting = np.concatenate([self._waiting[:kept], np.concatenate(numbers)[order]])
        self._late = np.concatenate([self._late[:kept], np.concatenate(late)[order]])
        self._came = []

    def _remember(self, oldest_ns: int) -> None:
        """Keep of the flows that are gone those that flows still waiting can see, as many as are allowed."""
        ends = self._past["end_ns"]
        first = int(np.searchsorted(ends, oldest_ns)) if self._context else self._gone
        if self._gone - first > self._most_waiting:
            first = self._gone - self._most_waiting
            self._unseen_ns = int(ends[first - 1])
        self._near.forget(first)
        self._gone -= first

    def _gathered(self, numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.void]:
        """Return waiting rows by their numbers."""
        gathered = np.empty(len(numbers), self._rows)
        for batch in np.unique(numbers >> ROW_BITS).tolist():
            gather_rows(_words(self._batches[batch]), numbers, batch, _words(gathered))
        return gathered

    def _forget(self) -> None:
        """Let go of the batches that no flow waits in, and of what takes more than half the room of the others."""
        batches, rows = self._waiting >> ROW_BITS, self._waiting & LARGEST_ROW
        for number, flows in list(self._batches.items()):
            here = np.flatnonzero(batches == number)
            if not len(here):
                del self._batches[number]
            elif 2 * len(here) < len(flows):
                self._batches[number] = flows[rows[here]]
                self._waiting[here] = np.arange(len(here)) | number << ROW_BITS

    def kept(self) -> dict[str, npt.NDArray[np.generic]]:
        """Return by name what the next pass over the same capture needs."""
        self._merge()
        unseen = np.array([] if self._unseen_ns is None else [self._unseen_ns], np.int64)
        shown, flows = self._near.shown[self._gone :], self._gathered(self._waiting)
        parts = {"past": self._past, "shown": shown, "flows": flows, "unseen": unseen}
        return {f"window.{name}": array for name, array in parts.items()}

    def go_on(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Take up what an earlier pass kept, as bytes."""
        past, shown = (arrays[f"window.{name}"].view(self._near.shown.dtype) for name in ("past", "shown"))
        self._near = self._beginning(past)
        self._gone = len(past)
        self._reached_ns = int(past["end_ns"].max(initial=BEFORE_ALL))
        self._take(arrays["window.flows"].view(self._rows), shown)
        self._unseen_ns = next(iter(arrays["window.unseen"].view(np.int64).tolist()), None)


def _taken(rows: NeighbourRows, order: npt.NDArray[np.int64]) -> NeighbourRows:
    """Return rows in another order: as words, which NumPy copies several times faster than structures."""
    taken: NeighbourRows = np.take(_words(rows), order, axis=0).view(rows.dtype)[:, 0]
    return taken


def _behind(rows: npt.NDArray[np.void], count: int) -> npt.NDArray[np.void]:
    """Return a copy of rows without the first ones, as words likewise."""
    kept: npt.NDArray[np.void] = _words(rows)[count:].copy().view(rows.dtype)[:, 0]
    return kept


def _merged(fixed: NeighbourRows, rows: Sequence[NeighbourRows], order: npt.NDArray[np.int64]) -> NeighbourRows:
    """Return some rows, and behind them others in the order given, without a copy of them between."""
    merged = np.empty(len(fixed) + len(order), fixed.dtype)
    words, places = _words(merged), np.empty_like(order)
    words[: len(fixed)] = _words(fixed)
    places[order] = np.arange(len(fixed), len(merged))
    at = 0
    for some in rows:
        words[places[at : at + len(some)]] = _words(some)
        at += len(some)
    return merged


def _words(rows: npt.NDArray[np.void]) -> npt.NDArray[np.uint64]:
    """Return the memory of rows, shape (rows, words of a row)."""
    return rows.view(np.uint64).reshape(len(rows), rows.dtype.itemsize // 8)


def context_columns(flows: NeighbourRows) -> Columns:
    """Return every context column of flows sorted by end time, NaN where a value does not exist.

    Args:
        flows: Rows of NEIGHBOUR by end time, shape (n,).
    """
    return _Neighbourhood(flows).columns(0, len(flows))
