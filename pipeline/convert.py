"""Stage: a feature table, or the traffic that becomes one, to a file in another tool's columns."""

from pathlib import Path

from features.dialects.known import DIALECTS
from features.dialects.writing import write_dialect
from features.errors import InputError
from features.table import is_feature_table, open_table
from pipeline.ingest import ingest
from pipeline.manifest import StageResult, digest
from pipeline.progress import counted, say
from pipeline.settings import Settings

BATCH_ROWS = 32_768


def convert(source: Path, dialect: str, target: Path, settings: Settings) -> StageResult:
    """Write a source's flows to `target` as another tool would; traffic is ingested first.

    Returns:
        Counts: rows_read and rows_written, which are equal.

    Raises:
        InputError: The source cannot be read, the dialect is unknown, or the target is the source, a folder, or
            cannot be written.
    """
    check_target(source, dialect, target)
    table = source if is_feature_table(source) else ingest(source, settings).path
    with open_table(table) as rows:
        batches = counted(rows.iter_batches(BATCH_ROWS), f"writing {target.name}")
        try:
            written = write_dialect(batches, DIALECTS[dialect], target)
        except OSError as error:
            raise InputError("the file cannot be written", str(target), "", error.strerror or str(error)) from error
        read = rows.metadata.num_rows
    say(f"{target}: {written:,} flows as {dialect}")
    return StageResult(target, written, {"rows_read": read, "rows_written": written}, digest(target), reused=False)


def check_target(source: Path, dialect: str, target: Path) -> None:
    """Refuse what cannot be written.

    Raises:
        InputError: The dialect is unknown, or the target is the source or a folder.
    """
    if dialect not in DIALECTS:
        raise InputError("no such dialect", "--to", ", ".join(DIALECTS), dialect)
    if target.is_dir():
        raise InputError("the target is a folder", str(target), "the name of a file to write")
    if target.exists() and source.exists() and target.samefile(source):
        raise InputError("the target is the source itself", str(target), "another name")
