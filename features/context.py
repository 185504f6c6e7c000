"""Context columns: what the neighbours of a flow look like, in windows of packet time around its last packet.

A scan, a guessing run, a flood and a beacon are each made of flows that look harmless one at a time; what gives them
away is the company they keep. For four groups of neighbours (same source, same endpoint, same pair of hosts, same
source and endpoint) this module counts flows, distinct partners, failures and regularity among the flows that ended
within 5 or 60 seconds before or after. The idea goes back to the traffic features of Lee and Stolfo (1998) and KDD
Cup 99; here windows reach both ways, and shares stand beside counts because a share survives a change of pace.

What others do to the same destination is left out on purpose, but for their number: two attacks on one server at a time
would lend each other their looks, and a network would learn the day's schedule.

Flows may come in any order as long as the watermark says which ends are complete. The result does not depend on
how the flows were cut into batches.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

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

__all__ = ["LONG_S", "NEIGHBOUR", "SHORT_S", "ContextWindow", "Ready", "Values", "context_columns"]

PIECE_ROWS = 32_768
LINE_FLOATS = 16

NeighbourRows = npt.NDArray[np.void]
Values = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Ready:
    """Flows whose windows are complete, by end time: the rows as they were pushed, and one array a context column."""

    flows: npt.NDArray[np.void]
    columns: dict[str, Values]


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

    def put(self, shown: NeighbourRows, at: int) -> None:
        """Put flows in the place of those from an index on, which have not entered."""
        self.shown = np.concatenate([self.shown[:at], shown])
        self._places = np.concatenate([self._places[:at], np.zeros(len(shown), PLACE)])

    def columns(self, first: int, stop: int) -> dict[str, Values]:
        """Return the context columns of some flows, which come after those that this was asked for before."""
        lines = (stop - first) // LINE_FLOATS + 1 | 1  # an odd number: no two columns fight for the same cache lines
        out = np.empty((len(CONTEXT_NAMES), lines * LINE_FLOATS), np.float32)
        at = first
        while (at := describe_flows(self._windows, self.shown, self._places, (at, stop, at - first), out)) < stop:
            self._windows = with_room(self._windows)
        return dict(zip(CONTEXT_NAMES, out[:, : stop - first], strict=True))

    def forget(self, count: int) -> None:
        """Let go of the first flows; columns have been asked for of them, or of later ones."""
        let_out(self._windows, self.shown, self._places, count)
        self.shown, self._places = self.shown[count:].copy(), self._places[count:].copy()
        state = self._windows.state
        state["entered"] -= count
        state["left"] -= count
        state["origin"] += count


class ContextWindow:
    """Holds flows until all that may have ended within LONG_S of them is known, then hands out their context.

    Memory: the rows that ended within LONG_S and the meter's lateness, as much again, because a release waits until it
    is worth the sorting; for each of these, and for each that ended LONG_S before them, 120 bytes, and 1 KB at most for
    the groups that it is in. Both numbers of rows have a limit.
    """

    def __init__(self, rows: np.dtype[np.void], most_waiting: int = 300_000) -> None:
        """Start empty.

        Args:
            rows: Type of the rows that wait beside what they show to their neighbours.
            most_waiting: With more rows than this, the older half goes without its later neighbours; of those gone
                before, no more than this are seen. A flow that misses a neighbour for it is counted in cut_short.
        """
        self._near = _Neighbourhood(np.empty(0, NEIGHBOUR))
        self._gone = 0  # of its flows those that were handed out; the others wait
        self._waiting = np.empty(0, np.int64)  # of those that wait the numbers of their batch and row
        self._shown: list[NeighbourRows] = []  # of batches that came since, by end time
        self._numbers: list[npt.NDArray[np.int64]] = []  # beside them
        self._batches: dict[int, npt.NDArray[np.void]] = {}  # as they were pushed, by their number
        self._pushed = 0
        self._rows = rows
        self._most_waiting = most_waiting
        self._unseen_ns: int | None = None  # end of the latest flow of those gone before that was let go too early
        self.cut_short = 0

    def push(self, flows: npt.NDArray[np.void], neighbours: NeighbourRows, watermark_ns: int) -> Iterator[Ready]:
        """Take flows in any order and yield those whose context is complete, by end time, PIECE_ROWS at a time.

        Args:
            flows: The rows to hand back, shape (n,).
            neighbours: What they show, rows of NEIGHBOUR, shape (n,).
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
        return len(self._waiting) + sum(map(len, self._shown))

    @property
    def _past(self) -> NeighbourRows:
        """What is seen of the flows that were handed out."""
        return self._near.shown[: self._gone]

    def _take(self, flows: npt.NDArray[np.void], neighbours: NeighbourRows) -> None:
        order = np.argsort(neighbours["end_ns"], kind="stable")
        self._shown.append(neighbours[order])
        self._numbers.append(order | self._pushed << ROW_BITS)
        self._batches[self._pushed] = flows
        self._pushed += 1

    def _complete(self, watermark_ns: int) -> int:
        """Return how many of the flows that wait no later one can be a neighbour of."""
        shown = (self._near.shown[self._gone :], *self._shown)
        return sum(int(np.searchsorted(rows["end_ns"], watermark_ns - LONG_NS)) for rows in shown)

    def _release(self, count: int, short: int = 0) -> Iterator[Ready]:
        """Yield the flows that ended first, the last ones without their later neighbours, and keep what others see."""
        self._merge()
        if not count:
            return
        ends = self._near.shown["end_ns"][self._gone :]
        oldest_ns = ends[count] - LONG_NS if count < len(ends) else 0
        if self._unseen_ns is not None:
            short += int(np.searchsorted(ends[:count], self._unseen_ns + LONG_NS, side="right"))
        self.cut_short += min(short, count)
        for start in range(0, count, PIECE_ROWS):
            stop = min(start + PIECE_ROWS, count)
            columns = self._near.columns(self._gone + start, self._gone + stop)
            yield Ready(self._gathered(self._waiting[start:stop]), columns)
        self._gone += count
        self._waiting = self._waiting[count:].copy()
        self._remember(oldest_ns)
        self._forget()

    def _merge(self) -> None:
        """Sort the batches that came in among the flows that wait, behind those that a window has come to."""
        fixed = max(self._near.entered, self._gone)
        shown = np.concatenate([self._near.shown[fixed:], *self._shown])
        numbers = np.concatenate([self._waiting[fixed - self._gone :], *self._numbers])
        order = np.argsort(shown["end_ns"], kind="stable")
        self._near.put(shown[order], fixed)
        self._waiting = np.concatenate([self._waiting[: fixed - self._gone], numbers[order]])
        self._shown, self._numbers = [], []

    def _remember(self, oldest_ns: int) -> None:
        """Keep of the flows that are gone those that flows still waiting can see, as many as are allowed."""
        ends = self._past["end_ns"]
        first = int(np.searchsorted(ends, oldest_ns))
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
        self._near = _Neighbourhood(arrays["window.past"].view(NEIGHBOUR))
        self._gone = len(self._near.shown)
        self._take(arrays["window.flows"].view(self._rows), arrays["window.shown"].view(NEIGHBOUR))
        self._unseen_ns = next(iter(arrays["window.unseen"].view(np.int64).tolist()), None)


def _words(rows: npt.NDArray[np.void]) -> npt.NDArray[np.uint64]:
    """Return the memory of rows, shape (rows, words of a row)."""
    return rows.view(np.uint64).reshape(len(rows), -1)


def context_columns(flows: NeighbourRows) -> dict[str, Values]:
    """Return every context column of flows sorted by end time, NaN where a value does not exist.

    Args:
        flows: Rows of NEIGHBOUR by end time, shape (n,).
    """
    return _Neighbourhood(flows).columns(0, len(flows))
