"""Captures to rows of the feature table: the one way features come about, for training and for scoring."""

import secrets
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from features.addresses import address_hashes, address_text, mixed
from features.arrow import numbers, texts
from features.columns import failed, flow_columns, has_ports, nothing, nullable
from features.community_id import community_ids
from features.context import END, NEIGHBOUR, ContextWindow, Ready
from features.kept import Kept
from features.kernel_types import NEVER
from features.metering.flow_record import FLOW, EndReason, Fields
from features.metering.meter import CaptureMeter, MeterSettings, Paused
from features.metering.zeek_state import conn_states, histories
from features.payload.waiting import Waiting
from features.schema import FEATURE_NAMES, OWN_FEATURE_NAMES, arrow_schema

END_REASONS = texts(["", *(reason.name.lower() for reason in EndReason)])


class Extraction:
    """Batches of feature rows in schema order, by end time; `counts` is complete once they have all been taken.

    `counts` holds the meter's counts, and `context_cut_short`: flows that miss a neighbour which did not fit in memory.
    """

    def __init__(
        self, paths: Sequence[Path], settings: MeterSettings, capture: str, kept: Kept | None, context: bool
    ) -> None:
        self._paths = paths
        self._kept = kept
        self._context = context
        self._meter = CaptureMeter(settings)
        self._capture = capture
        self._schema = arrow_schema()
        self._payloads = Waiting()
        self.counts: dict[str, int] = {}

    def columns_given(self) -> tuple[str, ...]:
        """Return the feature columns that may hold a value."""
        return FEATURE_NAMES if self._context else OWN_FEATURE_NAMES

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        """Read the captures and yield their flows; every iteration reads them anew, or what has come since."""
        self._payloads = Waiting()
        if self._kept is not None:
            yield from self._further(self._kept)
            return
        window = ContextWindow(FLOW, context=self._context)
        rows = 0
        for ready in self._in_context(window):
            yield self._rows(ready, rows)
            rows += len(ready.flows)
        self.counts = {**self._meter.counts, "context_cut_short": window.cut_short}

    def _in_context(self, window: ContextWindow) -> Iterator[Ready]:
        seed = secrets.randbits(63)
        for batch in self._meter.meter(self._paths):
            self._payloads.add(batch.facts)
            yield from window.push(batch.flows, self._shown(batch.flows, seed), batch.watermark_ns)
        yield from window.finish()

    def _further(self, kept: Kept) -> Iterator[pa.RecordBatch]:
        """Yield the flows that are complete by now, and keep the others for the next pass."""
        window = ContextWindow(FLOW, context=self._context)
        if kept.arrays:
            window.go_on(kept.arrays)
            self._payloads.go_on(kept.arrays)
        kept.seed = kept.seed or secrets.randbits(63)
        known = {path: kept.read_before(path) for path in self._paths}
        paused = Paused(dict(kept.arrays), {path: one.records for path, one in known.items() if one})
        sizes = {path: path.stat().st_size for path in self._paths}
        changed = [path for path in self._paths if kept.has_news_of(path)]
        first, waited = kept.rows, window.waiting
        for batch in self._meter.meter(changed, paused):
            self._payloads.add(batch.facts)
            shown = self._shown(batch.flows, kept.seed)
            pushed = window.push(batch.flows, shown, batch.watermark_ns)
            for ready in chain(pushed, window.complete(batch.watermark_ns)):
                yield self._rows(ready, kept.rows)
                kept.rows += len(ready.flows)
        for path in changed:
            kept.note(path, sizes[path], paused.records[path])
        kept.arrays = {**paused.arrays, **window.kept(), **self._payloads.kept()}
        self.counts = {
            **self._meter.counts,
            "context_cut_short": window.cut_short,
            "flows_waiting_before": waited,
            "flows_waiting": window.waiting,
            "flows_out": kept.rows - first,
        }

    def _shown(self, flows: npt.NDArray[np.void], seed: int) -> npt.NDArray[np.void]:
        return neighbours(flows, seed) if self._context else flows["last_ns"].astype(END)

    def _rows(self, ready: Ready, first_id: int) -> pa.RecordBatch:
        rows = len(ready.flows)
        columns = {**flow_columns(ready.flows), **ready.columns}
        made = {**_identity(ready.flows, self._capture, first_id), **_course(ready.flows)}
        made |= self._payloads.take(ready.flows["facts"])
        made |= {name: nullable(values) for name, values in columns.items()}
        arrays = [made[name] if name in made else nothing(rows) for name in self._schema.names]
        return pa.RecordBatch.from_arrays(arrays, schema=self._schema)


def extract(
    paths: Sequence[Path],
    settings: MeterSettings,
    capture: str = "",
    kept: Kept | None = None,
    context: bool = True,
) -> Extraction:
    """Return the feature rows of one capture, which may lie in several files, in the order given.

    Args:
        paths: Capture files in order of time.
        settings: Timeouts and limits of the flow meter.
        capture: What the `capture` column says; the first file's name when empty.
        kept: Where an earlier pass over these files paused. This one reads what has come since, and brings it up to
            date instead of ending the flows that are live; `flows` of the counts, and `flows_waiting_before` for their
            neighbours, are then `flows_out` and `flows_waiting`.
        context: Whether the context columns are computed; they are null otherwise.
    """
    return Extraction(paths, settings, capture or paths[0].name, kept, context)


def neighbours(flows: Fields | npt.NDArray[np.void], seed: int) -> npt.NDArray[np.void]:
    """Return what each flow shows to the flows around it, rows of NEIGHBOUR, shape (n,)."""
    shown = np.empty(len(flows["src"]), NEIGHBOUR)
    shown["start_ns"], shown["end_ns"] = flows["first_ns"], flows["last_ns"]
    shown["src"], shown["dst"] = (address_hashes(flows[side], seed) for side in ("src", "dst"))
    shown["service"] = mixed(
        (flows["protocol"].astype(np.uint64) << np.uint64(16))
        | flows["dst_port"].astype(np.uint64)
        | np.uint64(1 << 32)
    )
    shown["failed"] = failed(flows)
    shown["bytes"] = flows["bytes"][:, 0] + flows["bytes"][:, 1]
    shown["request"], shown["response"] = flows["payload_bytes"].T
    return shown


def _identity(flows: npt.NDArray[np.void], capture: str, first_id: int) -> dict[str, pa.Array]:
    moment = pa.timestamp("ns", tz="UTC")
    ported, is_icmp = has_ports(flows), flows["icmp_type"] != NEVER
    return {
        "capture": texts([capture]).take(numbers(np.zeros(len(flows), np.int32))),
        "flow_id": numbers(np.arange(first_id, first_id + len(flows))),
        "community_id": community_ids(flows),
        "start": numbers(flows["first_ns"]).cast(moment),
        "end": numbers(flows["last_ns"]).cast(moment),
        "src_ip": address_text(flows["src"]),
        "src_port": numbers(flows["src_port"].astype(np.int32), ported),
        "dst_ip": address_text(flows["dst"]),
        "dst_port": numbers(flows["dst_port"].astype(np.int32), ported),
        "protocol": numbers(flows["protocol"].astype(np.int32)),
        "vlan": numbers(flows["vlan"].astype(np.int64), flows["vlan"] != 0),
        "end_reason": END_REASONS.take(numbers(flows["end_reason"])),
        "icmp_type": numbers(flows["icmp_type"].astype(np.int32), is_icmp),
        "icmp_code": numbers(flows["icmp_code"].astype(np.int32), is_icmp),
    }


def _course(flows: npt.NDArray[np.void]) -> dict[str, pa.Array]:
    told = histories(flows)
    unsaid = dict.fromkeys(("uid", "source_label"), pa.nulls(len(flows), pa.string()))
    return {"conn_state": conn_states(flows, told), "history": told, **unsaid}
