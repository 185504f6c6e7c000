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

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain

import numpy as np
import numpy.typing as npt

from features.windows import Floats, Hashes, Integers, Windows, dense, grouped

SHORT_S = 5
LONG_S = 60
LONG_NS = LONG_S * 1_000_000_000
GAP_TICK_NS = 100_000
LOG_TICK = 1e-6
PIECE_ROWS = 32_768
PRIME = np.uint64(0x9E3779B97F4A7C15)

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

NeighbourRows = npt.NDArray[np.void]
Values = npt.NDArray[np.float32]
Named = Iterator[tuple[str, Values]]


@dataclass(frozen=True)
class Ready:
    """Flows whose windows are complete, by end time: the rows as they were pushed, and one array a context column."""

    flows: npt.NDArray[np.void]
    columns: dict[str, Values]


class ContextWindow:
    """Holds flows until all that may have ended within LONG_S of them is known, then hands out their context.

    Memory: the rows that ended within LONG_S and the meter's lateness, 72 bytes for each that ended LONG_S before them,
    and as much again, because a release waits until it is worth the sorting; while it lasts, 4 bytes a context column
    of each flow that it hands out. Both numbers of rows have a limit.
    """

    def __init__(self, rows: np.dtype[np.void], most_waiting: int = 300_000) -> None:
        """Start empty.

        Args:
            rows: Type of the rows that wait beside what they show to their neighbours.
            most_waiting: With more rows than this, the older half goes without its later neighbours; of those gone
                before, no more than this are seen. A flow that misses a neighbour for it is counted in cut_short.
        """
        self._past = np.empty(0, NEIGHBOUR)
        self._shown: list[NeighbourRows] = []  # a batch each, by end time
        self._flows: list[npt.NDArray[np.void]] = []  # the rows beside them
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
        order = np.argsort(neighbours["end_ns"], kind="stable")
        self._shown.append(neighbours[order])
        self._flows.append(flows[order])
        waiting = sum(map(len, self._shown))
        complete = sum(int(np.searchsorted(shown["end_ns"], watermark_ns - LONG_NS)) for shown in self._shown)
        if waiting - complete > self._most_waiting:
            short = (waiting - complete) // 2
            yield from self._release(complete + short, short)
        elif complete and 2 * complete >= waiting + len(self._past):
            yield from self._release(complete)

    def finish(self) -> Iterator[Ready]:
        """Yield every flow still held; nothing comes after."""
        yield from self._release(sum(map(len, self._shown)))

    def _release(self, count: int, short: int = 0) -> Iterator[Ready]:
        """Yield the flows that ended first, the last ones without their later neighbours, and keep what others see."""
        waiting = np.concatenate([np.empty(0, NEIGHBOUR), *self._shown])
        order = np.argsort(waiting["end_ns"], kind="stable")
        past, waiting = len(self._past), waiting[order]
        known = np.concatenate([self._past, waiting])
        columns = context_columns(known, slice(past, past + count)) if count else {}
        oldest_ns = waiting["end_ns"][count] - LONG_NS if count < len(waiting) else 0
        if self._unseen_ns is not None:
            short += int(np.searchsorted(waiting["end_ns"][:count], self._unseen_ns + LONG_NS, side="right"))
        self.cut_short += min(short, count)
        self._remember(known[: past + count], oldest_ns)
        del known, waiting
        for start in range(0, count, PIECE_ROWS):
            piece = slice(start, min(start + PIECE_ROWS, count))
            yield Ready(self._gathered(order[piece]), {name: values[piece] for name, values in columns.items()})
        self._forget(order[:count])

    def _remember(self, done: NeighbourRows, oldest_ns: int) -> None:
        """Keep of the flows that are gone those that flows still waiting can see, as many as are allowed."""
        first = int(np.searchsorted(done["end_ns"], oldest_ns))
        if len(done) - first > self._most_waiting:
            first = len(done) - self._most_waiting
            self._unseen_ns = int(done["end_ns"][first - 1])
        self._past = done[first:].copy()

    def complete(self, watermark_ns: int) -> Iterator[Ready]:
        """Yield every flow whose context is complete by a watermark, however few they are."""
        count = sum(int(np.searchsorted(shown["end_ns"], watermark_ns - LONG_NS)) for shown in self._shown)
        if count:
            yield from self._release(count)

    @property
    def waiting(self) -> int:
        """How many flows wait for their neighbours."""
        return sum(map(len, self._shown))

    def kept(self) -> dict[str, npt.NDArray[np.generic]]:
        """Return by name what the next pass over the same capture needs."""
        shown = np.concatenate([np.empty(0, NEIGHBOUR), *self._shown])
        order = np.argsort(shown["end_ns"], kind="stable")
        flows = np.concatenate([np.empty(0, self._rows), *self._flows])
        unseen = np.array([] if self._unseen_ns is None else [self._unseen_ns], np.int64)
        parts = {"past": self._past, "shown": shown[order], "flows": flows[order], "unseen": unseen}
        return {f"window.{name}": array for name, array in parts.items()}

    def go_on(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Take up what an earlier pass kept, as bytes."""
        self._past = arrays["window.past"].view(NEIGHBOUR)
        self._shown, self._flows = [arrays["window.shown"].view(NEIGHBOUR)], [arrays["window.flows"].view(self._rows)]
        self._unseen_ns = next(iter(arrays["window.unseen"].view(np.int64).tolist()), None)

    def _bounds(self) -> npt.NDArray[np.int64]:
        """Return where each batch begins among the waiting rows, and the end of the last."""
        return np.cumsum([0, *map(len, self._flows)])

    def _gathered(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.void]:
        """Return waiting rows by their numbers."""
        bounds = self._bounds()
        batches = np.searchsorted(bounds, rows, side="right") - 1
        gathered = np.empty(len(rows), self._rows)
        for batch in np.unique(batches):
            here = batches == batch
            gathered[here] = self._flows[batch][rows[here] - bounds[batch]]
        return gathered

    def _forget(self, rows: npt.NDArray[np.int64]) -> None:
        """Take rows off the batches: of each the ones that ended first, since batches are in order of end."""
        taken = np.bincount(np.searchsorted(self._bounds(), rows, side="right") - 1, minlength=len(self._flows))
        for batches in (self._shown, self._flows):
            rest = [batch[count:].copy() for batch, count in zip(batches, taken, strict=True) if count < len(batch)]
            batches[:] = rest


def context_columns(flows: NeighbourRows, rows: slice = slice(None)) -> dict[str, Values]:
    """Return every context column of some rows among flows sorted by end time; NaN where a value does not exist.

    Args:
        flows: Rows of NEIGHBOUR by end time, shape (n,).
        rows: Which of them to return; the others are there to be seen.
    """
    shown = {name: np.ascontiguousarray(flows[name]) for name in NEIGHBOUR.names or ()}
    shown["log_bytes"] = np.rint(np.log1p(shown["bytes"].astype(np.float64)) / LOG_TICK).astype(np.int64)
    src, dst = shown["src"], shown["dst"]
    endpoint = _joined(dst, shown["service"])
    src_ids, dst_ids, service_ids, endpoint_ids = map(dense, (src, dst, shown["service"], endpoint))
    sizes = {f"{way}_sizes": dense(shown[way]) for way in ("request", "response")}
    partners = {"hosts": dst_ids, "services": service_ids, "endpoints": endpoint_ids}
    groups: dict[str, tuple[Integers, Callable[[_Group], Named]]] = {
        "src": (src_ids, lambda g: chain(g.volumes(), g.variety(partners), g.sameness(sizes))),
        "endpoint": (endpoint_ids, lambda g: chain(g.counts(), g.variety({"hosts": src_ids}))),
        "pair": (dense(_joined(src, dst)), lambda g: chain(g.volumes(), g.variety({"services": service_ids}))),
        "same": (dense(_joined(src, endpoint)), lambda g: chain(g.volumes(), g.regularity(), g.sameness(sizes))),
    }
    columns = {
        f"{name}_{key}": values[rows] for name, (by, of) in groups.items() for key, values in of(_Group(shown, by))
    }
    for whole in ("src", "endpoint"):
        columns[f"same_share_of_{whole}_60s"] = columns["same_flows_60s"] / columns[f"{whole}_flows_60s"]
    return columns


class _Group:
    """The flows that share a key, each with its two windows among them."""

    def __init__(self, shown: dict[str, Integers], key: Integers) -> None:
        self._order = grouped(key)
        self._shown = shown
        self._key = key[self._order]
        ends = self._of("end_ns")
        self._short = Windows.around(self._key, ends, SHORT_S * 1_000_000_000)
        self._long = Windows.around(self._key, ends, LONG_NS)

    def _of(self, name: str) -> Integers:
        return self._shown[name][self._order]

    def variety(self, partners: dict[str, Integers]) -> Named:
        """Yield the number of different partners, and their share of the flows."""
        for name, ids in partners.items():
            distinct = self._long.distinct(self._key, ids[self._order])
            yield f"{name}_60s", self._back(distinct)
            yield f"{name}_per_flow_60s", self._back(distinct / self._long.count())

    def sameness(self, sizes: dict[str, Integers]) -> Named:
        """Yield the number of different sizes as a share of the flows: near 0 for a tool that repeats one request."""
        for name, ids in sizes.items():
            yield (
                f"{name}_per_flow_60s",
                self._back(self._long.distinct(self._key, ids[self._order]) / self._long.count()),
            )

    def regularity(self) -> Named:
        """Yield mean and variation of the gaps between starts."""
        starts = self._of("start_ns")
        gaps = np.abs(np.diff(starts, prepend=starts[:1])) // GAP_TICK_NS
        mean, deviation = self._long.without_first().moments(gaps)
        yield "gap_mean_s_60s", self._back(mean * (GAP_TICK_NS * 1e-9))
        yield (
            "gap_variation_60s",
            self._back(np.divide(deviation, mean, out=np.full_like(mean, np.nan), where=mean > 0)),
        )

    def counts(self) -> Named:
        """Yield how many flows there are."""
        for name, window in (("5s", self._short), ("60s", self._long)):
            yield f"flows_{name}", self._back(window.count())

    def volumes(self) -> Named:
        """Yield how many flows there are, how many failed, and how large they are."""
        yield from self.counts()
        failures = self._of("failed")
        for name, window in (("5s", self._short), ("60s", self._long)):
            yield f"failed_share_{name}", self._back(window.total(failures) / window.count())
        mean, deviation = self._long.moments(self._of("log_bytes"))
        yield "log_bytes_mean_60s", self._back(mean * LOG_TICK)
        yield "log_bytes_std_60s", self._back(deviation * LOG_TICK)

    def _back(self, values: Floats) -> Values:
        """Return values of the group's order in the order of the flows given."""
        out = np.empty(len(values), np.float32)
        out[self._order] = values
        return out


def _joined(first: Hashes, second: Hashes) -> Hashes:
    """Return one hash for two: different for (a, b) and (b, a)."""
    mixed = (first ^ (second >> np.uint64(29))) * PRIME + second
    return mixed ^ (mixed >> np.uint64(32))
