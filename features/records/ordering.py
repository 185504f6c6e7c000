"""Rows by end time, whatever the order of the file: sorted in memory run by run, runs merged from temporary files.

Record files are nearly in order of end (Zeek, Suricata), of start (Argus), or of nothing (samples, merged sets).
Sorting all of them makes the context of a flow independent of the order of its file. Memory: one run while
reading, then one batch of every run.
"""

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.records.times import Nanoseconds

BATCH_ROWS = 32_768
KEY = "end"


def by_end(batches: Iterable[pa.RecordBatch], run_rows: int) -> Iterator[pa.RecordBatch]:
    """Yield all rows by their column `end` (int64), rows of equal end in the order given.

    Args:
        batches: Of one schema.
        run_rows: Rows held in memory while reading.
    """
    with ExitStack() as stack:
        folder: Path | None = None
        runs: list[Path] = []
        held: list[pa.RecordBatch] = []
        for batch in batches:
            held.append(batch)
            if sum(batch.num_rows for batch in held) >= run_rows:
                folder = folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="flowtag-records-")))
                runs.append(_spilled(_sorted(held), folder / f"{len(runs)}.arrow"))
                held = []
        last = _sorted(held).to_batches(BATCH_ROWS) if held else []
        streams = [_read_back(run) for run in runs]
        yield from _merged([*streams, iter(last)]) if streams else last


def _sorted(batches: list[pa.RecordBatch]) -> pa.Table:
    """Return the rows by end, those of equal end as they were: pyarrow's own sort does not promise that."""
    table = pa.Table.from_batches(batches)
    ends = _ends(table)
    if (np.diff(ends) >= 0).all():
        return table
    order = pa.array(np.argsort(ends, kind="stable"))
    # Arrow's own pool asks the kernel for new pages for every column of a run, which costs several times the copying
    return pc.take(table, order, memory_pool=pa.system_memory_pool())


def _ends(rows: pa.Table | pa.RecordBatch) -> Nanoseconds:
    return rows.column(KEY).to_numpy()


def _spilled(table: pa.Table, path: Path) -> Path:
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, table.schema, options=options) as writer:
        writer.write_table(table, BATCH_ROWS)
    return path


def _read_back(path: Path) -> Iterator[pa.RecordBatch]:
    with pa.OSFile(str(path), "rb") as file, pa.ipc.open_stream(file, memory_pool=pa.system_memory_pool()) as reader:
        yield from reader


def _merged(streams: list[Iterator[pa.RecordBatch]]) -> Iterator[pa.RecordBatch]:
    """Merge sorted streams: all rows up to the least of the last ends held can go, for none can come before them."""
    held = [(table, stream) for stream in streams if (table := _next(stream)) is not None]
    while held:
        bound = min(int(_ends(table)[-1]) for table, _ in held)
        held = [(_with_all_of(bound, table, stream), stream) for table, stream in held]
        counts = [int(np.searchsorted(_ends(table), bound, side="right")) for table, _ in held]
        ready = pa.concat_tables([table.slice(0, count) for (table, _), count in zip(held, counts, strict=True)])
        yield from _sorted(ready.to_batches()).combine_chunks().to_batches(BATCH_ROWS)
        rests = [(table.slice(count), stream) for (table, stream), count in zip(held, counts, strict=True)]
        refilled = [(rest if rest.num_rows else _next(stream), stream) for rest, stream in rests]
        held = [(table, stream) for table, stream in refilled if table is not None]


def _next(stream: Iterator[pa.RecordBatch]) -> pa.Table | None:
    batch = next(stream, None)
    return None if batch is None else pa.Table.from_batches([batch])


def _with_all_of(bound: int, table: pa.Table, stream: Iterator[pa.RecordBatch]) -> pa.Table:
    """Return a stream's rows and as many more as it takes to hold all that end at the bound: equal ends keep order."""
    while int(_ends(table)[-1]) == bound and (more := _next(stream)) is not None:
        table = pa.concat_tables([table, more])
    return table
