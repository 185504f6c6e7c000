"""Our flows of a capture, metered with the other tool's timeouts, and the frames that each consists of."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from benchmarks.agreement.frames import TCP, UDP, End, Frame, Key, short
from features.kernel_types import NEVER
from features.metering.flow_record import EndReason
from features.metering.meter import CaptureMeter, MeterSettings
from features.payload.facts import Facts

NEVER_S = 1e9
ALL = frozenset(range(256))


@dataclass(frozen=True)
class Round:
    """One pass of the meter, and the protocols that it is for."""

    protocols: frozenset[int]
    settings: MeterSettings


ROUNDS = {
    "nDPI": (Round(ALL, MeterSettings(NEVER_S, NEVER_S, NEVER_S)),),
    "nfstream": (Round(ALL, MeterSettings(120.0, 1800.0, 120.0)),),
    "Zeek": (
        Round(frozenset({TCP}), MeterSettings(300.0, NEVER_S, 5.0)),
        Round(ALL - {TCP}, MeterSettings(60.0, NEVER_S, 5.0)),
    ),
}
"""Settings that come closest to each tool's, in seconds: idle, active, grace after a TCP end.

ndpiReader expires nothing while it reads a file; nfstream's defaults are 120 and 1800; Zeek has tcp_inactivity_timeout
5 min, udp_inactivity_timeout 1 min, tcp_close_delay 5 s and no active timeout.
"""


@dataclass(frozen=True)
class Flow:
    """One of our flows.

    Attributes:
        key: Its 5-tuple.
        src: End that the meter holds for the sender.
        row: The FLOW row.
        frames: Indices of its frames; empty if they are not as many as its packets.
        forward: For each frame whether src sent it.
        facts: What its first payload says, by column.
    """

    key: Key
    src: End
    row: np.void
    frames: tuple[int, ...]
    forward: tuple[bool, ...]
    facts: Facts = field(default_factory=dict)

    @property
    def end_reason(self) -> EndReason:
        """Why it ended."""
        return EndReason(int(self.row["end_reason"]))

    def side(self, sender: End) -> tuple[int, int]:
        """Return the indices of the two directions, the one from a sender first."""
        return (0, 1) if sender == self.src else (1, 0)

    def packets(self, sender: End) -> tuple[int, int]:
        """Return the packets from and to a sender."""
        ours, theirs = self.side(sender)
        return int(self.row["packets"][ours]), int(self.row["packets"][theirs])

    def bytes(self, sender: End, sizes: Sequence[int], lengths: Sequence[int]) -> tuple[int, int]:
        """Return the bytes from and to a sender in another measure.

        Args:
            sender: The first direction's sender.
            sizes: Of every frame in that measure.
            lengths: IP length of every frame, which is our measure.
        """
        totals = [int(self.row["bytes"][0]), int(self.row["bytes"][1])]
        for index, forward in zip(self.frames, self.forward, strict=True):
            totals[not forward] += sizes[index] - lengths[index]
        ours, theirs = self.side(sender)
        return totals[ours], totals[theirs]


def meter(path: Path, tool: str, frames: Sequence[Frame], layer: str = "outer") -> list[Flow]:
    """Return our flows of a capture in order of their beginning, metered as the tool would.

    Raises:
        CaptureError: The capture cannot be read.
    """
    waiting: dict[Key, list[int]] = defaultdict(list)
    for index, frame in enumerate(frames):
        if frame.key:
            waiting[frame.key].append(index)
    rows = [row for one in ROUNDS[tool] for row in _rows(path, one, layer)]
    rows.sort(key=lambda row: int(row[0]["first_ns"]))
    return [replace(_flow(row, frames, waiting), facts=facts) for row, facts in rows]


def _rows(path: Path, one: Round, layer: str) -> Iterable[tuple[np.void, Facts]]:
    for batch in CaptureMeter(replace(one.settings, layer=layer)).meter([path]):
        said = [{name: value for name, value in row.items() if value is not None} for row in batch.facts.to_pylist()]
        told = np.cumsum(batch.flows["facts"] != NEVER) - 1
        for row, at in zip(batch.flows, told.tolist(), strict=True):
            if int(row["protocol"]) in one.protocols:
                yield row, said[at] if row["facts"] != NEVER else {}


def _flow(row: np.void, frames: Sequence[Frame], waiting: dict[Key, list[int]]) -> Flow:
    """Give a flow the next frames of its key: flows of one key follow each other."""
    src, dst = (End(short(row[side].tobytes()), int(row[f"{side}_port"])) for side in ("src", "dst"))
    key = Key.of(int(row["protocol"]), src, dst)
    count = int(row["packets"].sum())
    taken, waiting[key] = waiting[key][:count], waiting[key][count:]
    if len(taken) < count:
        taken = []
    return Flow(key, src, row, tuple(taken), tuple(frames[index].sender == src for index in taken))


def is_tcp_or_udp(flow: Flow) -> bool:
    """Tell whether the flow is one of those compared."""
    return flow.key.protocol in (TCP, UDP)
