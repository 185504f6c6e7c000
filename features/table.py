"""Feature tables as Parquet files: written whole or not at all, and checked against the schema before they are read."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from features.errors import SchemaError
from features.schema import LABEL_NAMES, arrow_schema, difference


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


def write_table(batches: Iterable[pa.RecordBatch], path: Path, schema: pa.Schema) -> int:
    """Write batches of `schema` to `path` and return the number of rows; the file appears complete or not at all.

    Strings are dictionary-encoded, numbers are not; zstd level 1 is the fastest that is also small.
    """
    strings = [field.name for field in schema if not pa.types.is_floating(field.type)]
    rows = 0
    with (
        replacing(path) as temporary,
        pq.ParquetWriter(temporary, schema, compression="zstd", compression_level=1, use_dictionary=strings) as writer,
    ):
        for batch in batches:
            writer.write_batch(batch.cast(schema))
            rows += batch.num_rows
    return rows


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
    key = b"flowtag.schema_fingerprint"
    changed = difference(table.schema_arrow)
    if changed or ours[key] != theirs.get(key):
        raise SchemaError(
            "The feature table was made by another schema version",
            str(path),
            f"fingerprint {ours[key].decode()}",
            f"fingerprint {theirs.get(key, b'none').decode()}\n{changed or '  (same columns, other meanings)'}",
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
