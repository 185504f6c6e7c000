"""Flow records to rows of the feature table: the way of features.extract for sources that have no packets."""

import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from features.columns import has_ports
from features.community_id import community_ids
from features.context import ContextWindow
from features.errors import RecordError
from features.extract import neighbours
from features.flow_record import FLOW, NEVER
from features.records.adapter import ADDRESSES, TEXTS, TIMES, Floats
from features.records.cells import OTHER_PROTOCOL
from features.records.derive import feature_columns
from features.records.detect import detect
from features.records.layout import Layout
from features.records.ordering import by_end
from features.records.rejects import Reject, Rejects
from features.records.rows import has_addresses, has_times, read_rows, row_schema
from features.records.settings import RecordSettings
from features.schema import COLUMNS, arrow_schema

CHUNK_ROWS = 32_768
RESERVED_PROTOCOL = 255
SHOWN = np.dtype(
    [
        (name, FLOW[name])
        for name in (
            *("src", "dst", "src_port", "dst_port", "protocol", "ip_version", "icmp_type", "icmp_code"),
            *("first_ns", "last_ns", "packets", "bytes", "payload_bytes", "established", "syn_ns"),
        )
    ]
)
"""What of FLOW the neighbours and the Community ID need."""
ROW = np.dtype([("row", "i8")])
CONTEXT_NEEDS = {
    "failed_share": ("bwd_packets",),
    "log_bytes": ("fwd_bytes",),
    "request_sizes": ("fwd_payload_bytes",),
    "response_sizes": ("bwd_payload_bytes",),
}
"""Context columns by a part of their name, and the targets without which they would say nothing."""


def records_schema() -> pa.Schema:
    """Return the feature table's schema with every column nullable: no source of records gives them all."""
    schema = arrow_schema()
    return pa.schema([field.with_nullable(True) for field in schema], schema.metadata)


class RecordExtraction:
    """Batches of feature rows in schema order, by end time where the source has times, else in the file's order.

    Attributes:
        counts: Complete once all batches were taken: rows_read, rows_out, "rejected.REASON" each (rows_read is rows_out
            and all that were rejected), columns_present, context_cut_short.
        rejects: The first malformed rows with file, line and reason.
        columns_present: Names of the columns that hold at least one value.
    """

    def __init__(self, paths: Sequence[Path], settings: RecordSettings, capture: str) -> None:
        self._paths = paths
        self._settings = settings
        self._capture = capture
        self.counts: dict[str, int] = {}
        self.rejects: list[Reject] = []
        self.columns_present: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        """Read the files and yield their flows; every iteration reads them anew.

        Raises:
            RecordError: A file is of no known kind, damaged or malformed, or the files are of different kinds.
        """
        layouts = [detect(path, self._settings) for path in self._paths]
        _check_alike(self._paths, layouts)
        targets = set().union(*(layout.targets() for layout in layouts))
        rejects = Rejects(self._settings.rejects_kept, self._settings.max_reject_share)
        self.rejects = rejects.kept
        made = _Features(targets, self._capture)
        rows = self._rows(layouts, row_schema(targets), rejects)
        for ready, context in _in_context(rows, targets, self._settings.run_rows, made):
            yield made.rows(ready, context)
        present = tuple(column.name for column in COLUMNS if column.name in made.present)
        self.columns_present = present
        self.counts = {
            "rows_read": rejects.rows,
            "rows_out": made.count,
            **{f"rejected.{reason}": count for reason, count in sorted(rejects.counts.items())},
            "columns_present": len(present),
            "context_cut_short": made.cut_short,
        }

    def _rows(self, layouts: list[Layout], schema: pa.Schema, rejects: Rejects) -> Iterator[pa.RecordBatch]:
        for path, layout in zip(self._paths, layouts, strict=True):
            for batch in read_rows(path, layout, self._settings.time_zone, rejects):
                yield batch if batch.schema == schema else _widened(batch, schema)


def extract_records(
    paths: Sequence[Path], settings: RecordSettings = RecordSettings(), capture: str = ""
) -> RecordExtraction:
    """Return the feature rows of record files of one kind, taken as one source whatever their order.

    Args:
        paths: Record files, plain or compressed.
        settings: Limits, time zone and mapping file.
        capture: What the `capture` column says; the first file's name when empty.
    """
    return RecordExtraction(paths, settings, capture or paths[0].name)


def _check_alike(paths: Sequence[Path], layouts: list[Layout]) -> None:
    for path, layout in zip(paths, layouts, strict=True):
        ours, theirs = (
            (other.adapter.name, has_times(other.targets()), has_addresses(other.targets()))
            for other in (layouts[0], layout)
        )
        if ours != theirs:
            expected = f"records of {layouts[0].adapter.name} like those of {paths[0].name}"
            raise RecordError("The files are not of one kind", str(path), expected, layout.adapter.name)


def _widened(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """Return a batch with the columns of the other files too."""
    nothing = np.full(batch.num_rows, np.nan)
    columns = [
        batch.column(field.name)
        if field.name in batch.schema.names
        else (pa.array(nothing) if pa.types.is_floating(field.type) else pa.nulls(batch.num_rows, field.type))
        for field in schema
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _in_context(
    rows: Iterator[pa.RecordBatch], targets: set[str], run_rows: int, made: "_Features"
) -> Iterator[tuple[pa.RecordBatch, dict[str, Floats]]]:
    """Yield rows by end with their context columns; as they come and without, where times or addresses are missing."""
    if not has_times(targets):
        yield from ((batch, {}) for batch in rows)
        return
    ordered = by_end(rows, run_rows)
    if not has_addresses(targets):
        yield from ((batch, {}) for batch in ordered)
        return
    window = ContextWindow(ROW)
    seed = secrets.randbits(63)
    waiting: list[pa.RecordBatch] = []
    for batch in ordered:
        shown = _shown(batch)
        waiting.append(batch)
        # what is pushed in order of end comes back in that order: the rows themselves can wait here
        ready = window.push(np.zeros(batch.num_rows, ROW), neighbours(shown, seed), int(shown["last_ns"][-1]))
        yield from _released(waiting, len(ready.flows), ready.columns, targets)
    ready = window.finish()
    yield from _released(waiting, len(ready.flows), ready.columns, targets)
    made.cut_short = window.cut_short


def _released(
    waiting: list[pa.RecordBatch], count: int, context: dict[str, Floats], targets: set[str]
) -> Iterator[tuple[pa.RecordBatch, dict[str, Floats]]]:
    """Yield the first `count` waiting rows, a batch at a time, and take them off the list."""
    known = {name: values for name, values in context.items() if _says_something(name, targets)}
    at = 0
    while at < count:
        batch = waiting.pop(0)
        taken = min(count - at, batch.num_rows)
        if taken < batch.num_rows:
            waiting.insert(0, batch.slice(taken))
        yield batch.slice(0, taken), {name: values[at : at + taken] for name, values in known.items()}
        at += taken


def _says_something(name: str, targets: set[str]) -> bool:
    return all(targets.issuperset(needs) for part, needs in CONTEXT_NEEDS.items() if part in name)


def _number(batch: pa.RecordBatch, name: str, otherwise: float) -> Floats:
    if name not in batch.schema.names:
        return np.full(batch.num_rows, otherwise)
    values = batch.column(name).to_numpy()
    return np.where(np.isnan(values), otherwise, values)


def _shown(batch: pa.RecordBatch) -> npt.NDArray[np.void]:
    """Return what of each row its neighbours and its Community ID see, rows of SHOWN.

    Where it is unknown whether an answer came, one is taken to have come.
    """
    shown = np.zeros(batch.num_rows, SHOWN)
    for side in ("src", "dst"):
        packed = batch.column(side)
        start = 16 * packed.offset
        data = np.frombuffer(packed.buffers()[1], np.uint8)[start : start + 16 * batch.num_rows]
        shown[side] = data.reshape(-1, 16)
        shown[f"{side}_port"] = _number(batch, f"{side}_port", 0)
    shown["ip_version"] = batch.column("version").to_numpy()
    protocol = _number(batch, "protocol", RESERVED_PROTOCOL)
    shown["protocol"] = np.where(protocol == OTHER_PROTOCOL, RESERVED_PROTOCOL, protocol)
    for name in ("icmp_type", "icmp_code"):
        shown[name] = _number(batch, name, 0)
    shown["first_ns"], shown["last_ns"] = (batch.column(name).to_numpy() for name in TIMES)
    for name, otherwise in (("packets", 1), ("bytes", 0), ("payload_bytes", 0)):
        for side, words in enumerate(("fwd", "bwd")):
            shown[name][:, side] = _number(batch, f"{words}_{name}", otherwise)
    shown["established"] = _number(batch, "handshake_seen", 1) == 1
    shown["syn_ns"] = np.where(_number(batch, "syn_seen", 0) == 1, 0, NEVER)
    return shown


class _Features:
    """Rows of targets to rows of the feature table.

    Attributes:
        count: Rows made so far.
        present: Names of the columns that held a value so far.
        cut_short: Rows whose later neighbours did not fit in memory.
    """

    def __init__(self, targets: set[str], capture: str) -> None:
        self._targets = targets
        self._capture = capture
        self._schema = records_schema()
        self.count = 0
        self.present: set[str] = set()
        self.cut_short = 0

    def rows(self, batch: pa.RecordBatch, context: dict[str, Floats]) -> pa.RecordBatch:
        """Return the feature rows of a batch of targets and its context columns."""
        kinds = {field.name for field in batch.schema if pa.types.is_floating(field.type)}
        numbers = {name: batch.column(name).to_numpy() for name in kinds}
        columns = {**feature_columns(numbers, batch.num_rows), **context}
        identity = self._identity(batch, numbers)
        arrays = [
            identity.get(field.name, None) if field.name in identity else _nullable(columns.get(field.name), batch.num_rows)
            for field in self._schema
        ]
        made = pa.RecordBatch.from_arrays(
            [array.cast(field.type) for array, field in zip(arrays, self._schema, strict=True)], schema=self._schema
        )
        self.count += batch.num_rows
        self.present |= {
            name for name in set(self._schema.names) - self.present if made.column(name).null_count < made.num_rows
        }
        return made

    def _identity(self, batch: pa.RecordBatch, numbers: dict[str, Floats]) -> dict[str, pa.Array]:
        rows, schema = batch.num_rows, self._schema
        identity = {
            column.name: pa.nulls(rows, schema.field(column.name).type) for column in COLUMNS if column.role == "identity"
        }
        identity["capture"] = pa.array([self._capture]).take(pa.array(np.zeros(rows, np.int32)))
        identity["flow_id"] = pa.array(np.arange(self.count, self.count + rows))
        moment = schema.field("start").type
        texts = {name for name in (*ADDRESSES, *TEXTS) if name in batch.schema.names}
        identity |= {name: batch.column(name) for name in texts}
        identity |= {name: batch.column(name).cast(moment) for name in TIMES if name in batch.schema.names}
        identity |= _integers(numbers)
        if has_addresses(self._targets) and "protocol" in numbers:
            identity["community_id"] = _completed_ids(batch, identity["community_id"])
        return identity


def _integers(numbers: dict[str, Floats]) -> dict[str, pa.Array]:
    """Return the identity columns that are integers; ports are null for protocols without."""
    nothing = np.full(len(next(iter(numbers.values()))), np.nan) if numbers else np.empty(0)
    protocol = numbers.get("protocol", nothing)
    known = np.where(protocol == OTHER_PROTOCOL, np.nan, protocol)
    portless = ~np.isnan(protocol) & ~has_ports({"protocol": protocol})  # type: ignore[arg-type]
    columns = {"protocol": known}
    for name in ("src_port", "dst_port"):
        columns[name] = np.where(portless, np.nan, numbers.get(name, nothing))
    columns |= {name: numbers.get(name, nothing) for name in ("icmp_type", "icmp_code")}
    return {name: pa.array(values, from_pandas=True).cast(pa.int32()) for name, values in columns.items()}


def _completed_ids(batch: pa.RecordBatch, given: pa.Array) -> pa.Array:
    """Return the Community IDs that the source gives, computed where it gives none and ports or types are known."""
    if not given.null_count:
        return given
    computed = pa.array(community_ids(_shown(batch)), pa.string())
    protocol = _number(batch, "protocol", np.nan)
    ported = has_ports({"protocol": protocol})  # type: ignore[arg-type]
    no_ports = np.isnan(_number(batch, "src_port", np.nan)) | np.isnan(_number(batch, "dst_port", np.nan))
    no_type = np.isin(protocol, (1, 58)) & np.isnan(_number(batch, "icmp_type", np.nan))
    unknown = np.isnan(protocol) | (protocol == OTHER_PROTOCOL) | (ported & no_ports) | no_type
    return pc.coalesce(given, pc.if_else(pa.array(unknown), pa.scalar(None, pa.string()), computed))


def _nullable(values: Floats | None, rows: int) -> pa.Array:
    if values is None:
        return pa.nulls(rows, pa.float32())
    return pa.array(values.astype(np.float32), from_pandas=True)
