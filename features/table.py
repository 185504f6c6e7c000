"""Feature tables as Parquet files: written whole or not at all, and checked against the schema before they are read."""

import json
import os
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from features.errors import SchemaError
from features.schema import FEATURE_NAMES, LABEL_NAMES, arrow_schema, difference

SUFFIX = ".parquet"
FINGERPRINT = b"flowtag.schema_fingerprint"
PRESENT = "flowtag.columns_present"
GIVEN = b"flowtag.columns_given"
WRITTEN_BEHIND = 2
"""Batches that may wait for the writer."""
LEVELS_AT_ONCE = 32_768
"""Values of a column that are encoded at once: as many as any batch has."""
SEARCHED = ("flow_id", "start", "end", "src_ip", "src_port", "dst_ip", "dst_port", "protocol")
DIFFERENT_EVERYWHERE = ("flow_id", "community_id", "uid", "start", "end")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path that takes the place of `path` when the block ends well, and is removed otherwise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield temporary
        _flush_to_disk(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _flush_to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@dataclass(frozen=True)
class Written:
    """A table as it was written: its rows, and the columns that hold at least one value, in schema order."""

    rows: int
    columns_present: tuple[str, ...]


def no_notes() -> dict[str, str]:
    """Return nothing to note."""
    return {}


def write_table(
    batches: Iterable[pa.RecordBatch],
    path: Path,
    schema: pa.Schema,
    notes: Callable[[], Mapping[str, str]] = no_notes,
) -> Written:
    """Write batches of `schema` to `path`; the file appears complete or not at all.

    Texts and small integers are dictionary-encoded, what differs from row to row is not; only what tables are searched
    by, SEARCHED, has statistics; LZ4 costs two thirds of zstd's time to write and a third more room. Encoding and
    writing have a thread of their own. The columns that hold a value are noted in the file's metadata, as a JSON list
    under PRESENT, beside what `notes` answers once all rows have passed; what it raises leaves no file.
    """
    named = [field.name for field in schema if not pa.types.is_floating(field.type)]
    settings: dict[str, Any] = {
        "compression": "lz4",
        "use_dictionary": [name for name in named if name not in DIFFERENT_EVERYWHERE],
        "write_statistics": [*SEARCHED],
        "write_batch_size": LEVELS_AT_ONCE,
    }
    with replacing(path) as temporary, pq.ParquetWriter(temporary, schema, **settings) as writer:
        written = _written(batches, writer, schema)
        writer.add_key_value_metadata({PRESENT: json.dumps(written.columns_present), **notes()})
    return written


def _written(batches: Iterable[pa.RecordBatch], writer: pq.ParquetWriter, schema: pa.Schema) -> Written:
    """Write each batch while the next one is made."""
    rows, empty = 0, set(schema.names)
    pending: deque[Future[None]] = deque()
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="writer") as pool:
        for batch in batches:
            if len(pending) == WRITTEN_BEHIND:
                pending.popleft().result()
            pending.append(pool.submit(writer.write_batch, batch.cast(schema)))
            rows += batch.num_rows
            empty -= {name for name in empty if batch.column(name).null_count < batch.num_rows}
        for written in pending:
            written.result()
    return Written(rows, tuple(name for name in schema.names if name not in empty))


def columns_present(table: pq.ParquetFile) -> frozenset[str]:
    """Return the columns of an open table that hold at least one value; all of them where the file does not say."""
    note = (table.metadata.metadata or {}).get(PRESENT.encode())
    return frozenset(json.loads(note) if note else table.schema_arrow.names)


def giving(schema: pa.Schema, given: Collection[str]) -> pa.Schema:
    """Return a table's schema with the feature columns noted that its source can give."""
    names = [name for name in FEATURE_NAMES if name in given]
    return schema.with_metadata({**schema.metadata, GIVEN: json.dumps(names)})


def columns_given(table: pq.ParquetFile) -> frozenset[str]:
    """Return the feature columns that an open table's source can give, whether or not they hold a value here.

    A table without the note was made of packets, which give all of them.
    """
    note = (table.schema_arrow.metadata or {}).get(GIVEN)
    return frozenset(json.loads(note) if note else FEATURE_NAMES)


def is_feature_table(path: Path) -> bool:
    """Tell whether a path is a feature table, of whatever version; a missing one is told by its name."""
    if not path.exists():
        return path.suffix == SUFFIX
    if not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            return FINGERPRINT in (pq.read_schema(file).metadata or {})
    except (pa.ArrowInvalid, OSError):
        return False


def open_table(path: Path, labelled: bool = False) -> pq.ParquetFile:
    """Return an open feature table whose columns are those of this version.

    Raises:
        SchemaError: The file is missing, no Parquet, of other columns (shown as a diff), or lacks its labels.
    """
    try:
        table = pq.ParquetFile(path)
    except FileNotFoundError as error:
        raise SchemaError("No such feature table", str(path), next_step="flowtag ingest CAPTURE") from error
    except (pa.ArrowInvalid, OSError) as error:
        raise SchemaError("Not a Parquet file", str(path), "a table written by flowtag ingest", str(error)) from error
    _check(table, path, labelled)
    return table


def _check(table: pq.ParquetFile, path: Path, labelled: bool) -> None:
    ours, theirs = (schema.metadata or {} for schema in (arrow_schema(), table.schema_arrow))
    changed = difference(table.schema_arrow)
    if changed or ours[FINGERPRINT] != theirs.get(FINGERPRINT):
        raise SchemaError(
            "The feature table was made by another schema version",
            str(path),
            f"fingerprint {ours[FINGERPRINT].decode()}",
            f"fingerprint {theirs.get(FINGERPRINT, b'none').decode()}\n{changed or '  (same columns, other meanings)'}",
            "flowtag ingest the capture again",
        )
    missing = set(LABEL_NAMES) - set(table.schema_arrow.names)
    if labelled and missing:
        raise SchemaError(
            "The feature table has no labels",
            str(path),
            "columns tags and rules",
            next_step="flowtag label TABLE RULES",
        )
