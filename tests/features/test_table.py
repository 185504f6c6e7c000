"""Feature tables: whole or absent, and refused when the schema differs."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.errors import SchemaError
from features.schema import arrow_schema, labelled_schema
from features.table import Written, open_table, write_table


def empty_batch(schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist([], schema=schema)


def test_an_empty_table_keeps_its_types(tmp_path: Path) -> None:
    """A capture without flows gives a typed table of no rows that can be read back."""
    path = tmp_path / "new" / "a.parquet"
    assert write_table([], path, arrow_schema()) == Written(0, ())
    table = open_table(path)
    assert table.schema_arrow.equals(arrow_schema())
    assert table.metadata.num_rows == 0


def test_what_tables_are_searched_by_has_statistics(tmp_path: Path) -> None:
    """A reader can pass over row groups by time, address and port; no other column has statistics."""
    rows = [{"start": number, "src_ip": "10.0.0.1", "src_port": 80, "fwd_bytes": 1.0} for number in (5, 9)]
    write_table([pa.RecordBatch.from_pylist(rows, schema=arrow_schema())], tmp_path / "a.parquet", arrow_schema())
    group = open_table(tmp_path / "a.parquet").metadata.row_group(0)
    columns = {group.column(at).path_in_schema: group.column(at) for at in range(group.num_columns)}
    known = {name for name, column in columns.items() if column.statistics is not None}
    assert known == {"flow_id", "start", "end", "src_ip", "src_port", "dst_ip", "dst_port", "protocol"}
    assert columns["src_port"].statistics.max == 80


def test_a_failed_write_leaves_what_was_there(tmp_path: Path) -> None:
    """An error in the middle keeps the old file and leaves no other."""
    path = tmp_path / "a.parquet"
    write_table([], path, arrow_schema())
    before = path.read_bytes()

    def broken() -> Iterator[pa.RecordBatch]:
        yield empty_batch(arrow_schema())
        raise RuntimeError("cut")

    with pytest.raises(RuntimeError, match="cut"):
        write_table(broken(), path, arrow_schema())
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_another_schema_is_refused_with_the_difference(tmp_path: Path) -> None:
    """A column gone and one of another type appear in the message as a diff."""
    path = tmp_path / "a.parquet"
    fields = [field for field in arrow_schema() if field.name != "fwd_packets"]
    schema = pa.schema(fields, arrow_schema().metadata).set(0, pa.field("capture", pa.int64()))
    pq.write_table(pa.Table.from_pylist([], schema=schema), path)
    with pytest.raises(SchemaError) as caught:
        open_table(path)
    assert "-fwd_packets: float" in str(caught.value)
    assert "+capture: int64" in str(caught.value)


def test_another_fingerprint_is_refused(tmp_path: Path) -> None:
    """Equal columns with other meanings are another schema."""
    path = tmp_path / "a.parquet"
    schema = arrow_schema().with_metadata({"flowtag.schema_fingerprint": "0" * 16})
    pq.write_table(pa.Table.from_pylist([], schema=schema), path)
    with pytest.raises(SchemaError, match="other meanings"):
        open_table(path)


@pytest.mark.parametrize("content", [None, b"", b"PAR1 but no more", b"a,b\n1,2\n"])
def test_what_is_no_parquet_is_refused(tmp_path: Path, content: bytes | None) -> None:
    """A missing file, an empty one and text end in SchemaError."""
    path = tmp_path / "a.parquet"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SchemaError, match=r"Parquet|No such"):
        open_table(path)


def test_labels_are_asked_for_by_name(tmp_path: Path) -> None:
    """A table without tags is refused where tags are needed and accepted where they are not; so is one with them."""
    plain, labelled = tmp_path / "a.parquet", tmp_path / "b.parquet"
    write_table([], plain, arrow_schema())
    write_table([empty_batch(labelled_schema())], labelled, labelled_schema())
    open_table(labelled, labelled=True)
    open_table(labelled)
    with pytest.raises(SchemaError, match="no labels"):
        open_table(plain, labelled=True)
