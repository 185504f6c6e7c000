"""Flow records to rows of the feature table: the way of features.extract for sources that have no packets."""

import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from features.columns import Columns
from features.context import ContextWindow
from features.errors import RecordError
from features.extract import neighbours
from features.records.detect import detect
from features.records.given import given_features, says_something
from features.records.joined import JoinedLogs, joined_log
from features.records.layout import Layout
from features.records.ordering import by_end
from features.records.rejects import Reject, Rejects
from features.records.rows import has_addresses, has_times, read_rows, row_schema
from features.records.settings import DEFAULTS, RecordSettings
from features.records.shown import shown_fields
from features.records.table_rows import TableRows
from features.schema import COLUMNS, OWN_FEATURE_NAMES

ROW = np.dtype([("row", "i8")])


class RecordExtraction:
    """Batches of feature rows in schema order, by end time where the source has times, else in the file's order.

    Attributes:
        counts: Complete once all batches were taken: rows_read, rows_out, "rejected.REASON" each (rows_read is rows_out
            and all that were rejected), columns_present, context_cut_short; of joined logs those of JoinedLogs.
        rejects: The first malformed rows with file, line and reason.
        columns_present: Names of the columns that hold at least one value.
    """

    def __init__(
        self, paths: Sequence[Path], settings: RecordSettings, capture: str, joined: Sequence[Path], context: bool
    ) -> None:
        self._paths = paths
        self._context = context
        self._joined = joined
        self._settings = settings
        self._capture = capture
        self.counts: dict[str, int] = {}
        self.rejects: list[Reject] = []
        self.columns_present: tuple[str, ...] = ()

    def columns_given(self) -> frozenset[str]:
        """Return the feature columns that files of this kind can hold a value in, before any row is read.

        Raises:
            RecordError: A file is of no known kind.
        """
        logs = (log.features for path in self._joined if (log := joined_log(path)))
        given = (given_features(detect(path, self._settings).targets()) for path in self._paths)
        columns = frozenset[str]().union(*given, *logs)
        return columns if self._context else columns.intersection(OWN_FEATURE_NAMES)

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
        joined = JoinedLogs(self._joined, self._settings)
        made = TableRows(self._capture, joined if self._joined else None)
        rows = self._rows(layouts, row_schema(targets), rejects)
        for ready, context in self._by_end(rows, targets, made):
            yield made.rows(ready, context)
        present = tuple(column.name for column in COLUMNS if column.name in made.present)
        self.columns_present = present
        self.counts = {
            "rows_read": rejects.rows,
            "rows_out": made.count,
            **{f"rejected.{reason}": count for reason, count in sorted(rejects.counts.items())},
            **dict(sorted(rejects.notes.items())),
            **joined.finish(),
            "columns_present": len(present),
            "context_cut_short": made.cut_short,
        }

    def _by_end(
        self, rows: Iterator[pa.RecordBatch], targets: set[str], made: TableRows
    ) -> Iterator[tuple[pa.RecordBatch, Columns]]:
        """Yield rows by end, as they come where times are missing, with their context where it is wanted and can be."""
        ordered = by_end(rows, self._settings.run_rows) if has_times(targets) else rows
        if self._context and has_times(targets) and has_addresses(targets):
            yield from _in_context(ordered, targets, made)
        else:
            yield from ((batch, {}) for batch in ordered)

    def _rows(self, layouts: list[Layout], schema: pa.Schema, rejects: Rejects) -> Iterator[pa.RecordBatch]:
        for path, layout in zip(self._paths, layouts, strict=True):
            for batch in read_rows(path, layout, self._settings.time_zone, rejects):
                yield batch if batch.schema == schema else _widened(batch, schema)


def extract_records(
    paths: Sequence[Path],
    settings: RecordSettings = DEFAULTS,
    capture: str = "",
    joined: Sequence[Path] = (),
    context: bool = True,
) -> RecordExtraction:
    """Return the feature rows of record files of one kind, taken as one source whatever their order.

    Args:
        paths: Record files, plain or compressed.
        settings: Limits, time zone and mapping file.
        capture: What the `capture` column says; the first file's name when empty.
        joined: Zeek's other logs of the same connections, joined by uid (features.records.joined).
        context: Whether the context columns are computed; they are null otherwise.
    """
    return RecordExtraction(paths, settings, capture or paths[0].name, joined, context)


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
    ordered: Iterator[pa.RecordBatch], targets: set[str], made: TableRows
) -> Iterator[tuple[pa.RecordBatch, Columns]]:
    """Yield rows that come by end with their context columns."""
    known = set(row_schema(targets).names)
    window = ContextWindow(ROW)
    seed = secrets.randbits(63)
    waiting: list[pa.RecordBatch] = []
    for batch in ordered:
        shown = shown_fields(batch)
        waiting.append(batch)
        # what is pushed in order of end comes back in that order: the rows themselves can wait here
        rows_of = np.zeros(batch.num_rows, ROW)
        for ready in window.push(rows_of, neighbours(shown, seed), int(shown["last_ns"][-1])):
            yield from _released(waiting, len(ready.flows), ready.columns, known)
    for ready in window.finish():
        yield from _released(waiting, len(ready.flows), ready.columns, known)
    made.cut_short = window.cut_short


def _released(
    waiting: list[pa.RecordBatch], count: int, context: Columns, known: set[str]
) -> Iterator[tuple[pa.RecordBatch, Columns]]:
    """Yield the first `count` waiting rows, a batch at a time, and take them off the list."""
    telling = {name: values for name, values in context.items() if says_something(name, known)}
    at = 0
    while at < count:
        batch = waiting.pop(0)
        taken = min(count - at, batch.num_rows)
        if taken < batch.num_rows:
            waiting.insert(0, batch.slice(taken))
        yield batch.slice(0, taken), {name: values[at : at + taken] for name, values in telling.items()}
        at += taken
