"""Labelled tables become matrices, and what cannot be one is refused by name."""

import resource
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import models.dataset
from features.errors import LabelError, SchemaError
from models.dataset import UNKNOWN, TagDataset, columns_of, feature_matrix, read_dataset

TAGS = ("scan", "flood")


def written(path: Path, **columns: Any) -> Path:
    pq.write_table(
        pa.table({"tags": pa.array([["flood"], [], ["flood", "scan"]], pa.list_(pa.string())), **columns}), path
    )
    return path


def test_null_becomes_nan_and_tags_become_columns(tmp_path: Path) -> None:
    """Integers, floats and booleans with nulls are read as float32, null as NaN, tags in the order asked for."""
    path = written(
        tmp_path / "a.parquet",
        other=["x", "y", "z"],
        count=pa.array([1, None, 2**40], pa.int64()),
        rate=pa.array([0.5, 1.5, None], pa.float64()),
        flag=pa.array([True, None, False]),
    )
    dataset = read_dataset([path], ("rate", "count", "flag"), TAGS)
    expected = [[0.5, 1, 1], [1.5, np.nan, np.nan], [np.nan, 2**40, 0]]
    np.testing.assert_array_equal(dataset.features, np.array(expected, np.float32))
    np.testing.assert_array_equal(dataset.tags, [[0, 1], [0, 0], [1, 1]])
    assert (dataset.features.dtype, dataset.tags.dtype) == (np.float32, np.uint8)
    assert dataset.attack.tolist() == [True, False, True]


def test_several_tables_are_read_in_order(tmp_path: Path) -> None:
    """Tables follow each other as they are given, also across many batches."""
    rows = 40_000
    lists = pa.array([[] if i % 2 else ["scan"] for i in range(rows)], pa.list_(pa.string()))
    long = tmp_path / "long.parquet"
    pq.write_table(pa.table({"tags": lists, "n": np.arange(rows)}), long, row_group_size=7_000)
    short = written(tmp_path / "short.parquet", n=[-1, -2, -3])
    dataset = read_dataset([short, long], ("n",), TAGS)
    np.testing.assert_array_equal(dataset.features[:, 0], [-1, -2, -3, *range(rows)])
    np.testing.assert_array_equal(dataset.tags[3:, 0], np.arange(rows) % 2 == 0)


def test_features_too_many_for_memory_lie_in_a_file_without_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The matrix is the same, the folder shows no file, and the file goes with the dataset."""
    path = written(tmp_path / "a.parquet", n=[1.5, None, 3.0], m=[4, 5, 6])
    in_memory = read_dataset([path], ("m", "n"), TAGS, tmp_path)
    monkeypatch.setattr(models.dataset, "IN_MEMORY_BYTES", 23)  # a byte less than the matrix
    mapped = [read_dataset([path], ("m", "n"), TAGS, scratch) for scratch in (tmp_path, None)]
    for dataset in mapped:
        np.testing.assert_array_equal(dataset.features, in_memory.features)
        assert type(dataset.features) is np.ndarray
    assert [isinstance(dataset.features.base, np.memmap) for dataset in mapped] == [True, False]
    assert [left.name for left in tmp_path.iterdir()] == ["a.parquet"]


def test_a_full_disk_is_an_error_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Room is asked for at once: a mapped file that the disk cannot hold would end the process by a signal."""
    path = written(tmp_path / "a.parquet", n=[1, 2, 3])
    monkeypatch.setattr(models.dataset, "IN_MEMORY_BYTES", 0)
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8, old[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            read_dataset([path], ("n",), TAGS, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)


def test_columns_come_in_their_order() -> None:
    """However many there are, each once and contiguous."""
    matrix = np.arange(3 * 37, dtype=np.float32).reshape(3, 37)
    columns = list(columns_of(matrix))
    np.testing.assert_array_equal(np.stack(columns, axis=1), matrix)
    assert all(column.flags.c_contiguous for column in columns)


def test_sliced_tag_lists_are_read_right(tmp_path: Path) -> None:
    """Lists are attributed to their own rows in every batch, empty ones in between."""
    lists: list[list[str]] = [[], ["flood"], [], ["scan", "flood"], []]
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"tags": pa.array(lists, pa.list_(pa.string())), "n": range(5)}), path, row_group_size=2)
    assert read_dataset([path], ("n",), TAGS).tags.tolist() == [[0, 0], [0, 1], [0, 0], [1, 1], [0, 0]]


def test_an_unknown_tag_is_refused(tmp_path: Path) -> None:
    """A tag outside the vocabulary is a label error that names it and the file."""
    path = written(tmp_path / "a.parquet", n=[1, 2, 3])
    with pytest.raises(LabelError, match=r"a\.parquet(.|\n)*flood"):
        read_dataset([path], ("n",), ("scan", "beacon"))


def test_flows_without_labels_are_refused(tmp_path: Path) -> None:
    """A null list says nothing about the flow, and a table without the column says nothing at all."""
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"tags": pa.array([None, []], pa.list_(pa.string())), "n": [1, 2]}), path)
    with pytest.raises(LabelError, match="1 flows have no labels"):
        read_dataset([path], ("n",), TAGS)
    pq.write_table(pa.table({"n": [1, 2]}), path)
    with pytest.raises(LabelError, match="flowtag label"):
        read_dataset([path], ("n",), TAGS)


def test_missing_columns_are_shown_as_a_diff(tmp_path: Path) -> None:
    """Columns the table lacks are listed."""
    path = written(tmp_path / "a.parquet", n=[1, 2, 3])
    with pytest.raises(SchemaError, match=r"- rate\n +- width"):
        read_dataset([path], ("n", "rate", "width"), TAGS)


@pytest.mark.parametrize("content", [None, b"not parquet"])
def test_a_file_that_is_no_table_is_refused(tmp_path: Path, content: bytes | None) -> None:
    """A missing file and a file of another kind are schema errors that name the file."""
    path = tmp_path / "a.parquet"
    if content:
        path.write_bytes(content)
    with pytest.raises(SchemaError, match=r"a\.parquet"):
        read_dataset([path], ("n",), TAGS)


def test_no_tables_are_an_empty_dataset() -> None:
    """Nothing read is nothing held, with the right shapes."""
    dataset = read_dataset([], ("a", "b"), TAGS)
    assert (dataset.features.shape, dataset.tags.shape, len(dataset)) == ((0, 2), (0, 2), 0)


def test_a_batch_becomes_the_matrix_a_network_takes() -> None:
    """Scoring reads batches the way training reads tables."""
    batch = pa.record_batch({"b": pa.array([1, None], pa.int32()), "a": pa.array([0.25, 4.0])})
    np.testing.assert_array_equal(feature_matrix(batch, ("a", "b")), np.array([[0.25, 1], [4, np.nan]], np.float32))


def test_parts_that_do_not_fit_are_refused() -> None:
    """A dataset's matrices have as many rows as each other and as many columns as names."""
    with pytest.raises(SchemaError, match="do not fit"):
        TagDataset(np.zeros((3, 2), np.float32), np.zeros((3, 1), np.uint8), ("a", "b"), ("x", "y"))


def test_chosen_rows_are_a_dataset() -> None:
    """Rows may be chosen by number or by mask."""
    features = np.arange(6, dtype=np.float32).reshape(3, 2)
    dataset = TagDataset(features, np.eye(3, 1, dtype=np.uint8), ("a", "b"), ("x",))
    assert dataset.rows(np.array([2, 0])).features.tolist() == [[4, 5], [0, 1]]
    assert dataset.rows(dataset.attack).tags.tolist() == [[1]]


def test_what_a_truth_does_not_speak_of_is_unknown(tmp_path: Path) -> None:
    """Of a table that names its known tags others are unknown, but where carried; other tables know all."""
    whole = written(tmp_path / "whole.parquet", n=[1, 2, 3])
    partial = tmp_path / "partial.parquet"
    table = pq.read_table(whole)
    pq.write_table(table.replace_schema_metadata({"flowtag.tags_known": "scan"}), partial)
    dataset = read_dataset([partial, whole], ("n",), TAGS)
    expected = [[0, 1], [0, UNKNOWN], [1, 1], [0, 1], [0, 0], [1, 1]]
    np.testing.assert_array_equal(dataset.targets(), np.array(expected, np.float32))
    np.testing.assert_array_equal(dataset.rows(np.array([1, 4])).targets(), np.array([[0, -1], [0, 0]], np.float32))
    scores = np.full((6, 2), 0.7, np.float32)
    assert dataset.judged(scores)[:, 1].tolist() == pytest.approx([0.7, 0, 0.7, 0.7, 0.7, 0.7])
    alone = read_dataset([whole], ("n",), TAGS)
    assert alone.judged(scores) is scores
    both = read_dataset([partial], ("n",), TAGS).followed_by(alone)
    np.testing.assert_array_equal(both.targets(), dataset.targets())


def test_flows_weigh_what_their_table_says(tmp_path: Path) -> None:
    """A column weight is taken as it is, flows of a table without one weigh 1, and weights follow their flows."""
    plain, weighed = (
        written(tmp_path / "a.parquet", n=[1, 2, 3]),
        written(tmp_path / "b.parquet", n=[4, 5, 6], weight=[0, 0.5, 3]),
    )
    dataset = read_dataset([plain, weighed], ("n",), TAGS)
    assert dataset.weights is not None
    assert dataset.weights.tolist() == [1, 1, 1, 0, 0.5, 3]
    chosen = dataset.rows(np.array([5, 4])).weights
    assert chosen is not None
    assert chosen.tolist() == [3, 0.5]
    alone = read_dataset([plain], ("n",), TAGS)
    assert alone.weights is None
    assert alone.followed_by(alone).weights is None
    both = alone.followed_by(dataset).evenly_weighed().weights
    assert both is not None
    np.testing.assert_allclose(both, np.array([1, 1, 1, 1, 1, 1, 0, 0.5, 3]) / (9.5 / 9), rtol=1e-6)


@pytest.mark.parametrize(
    ("weight", "named"),
    [
        ([1.0, -0.5, 2.0], "-0.5 and the like on 1 flows"),
        ([1.0, float("nan"), float("inf")], "nan and the like on 2 flows"),
        (pa.array([1, None, 2]), "nan and the like on 1 flows"),
        (["1", "2", "3"], "no numbers"),
        ([0, 0, 0], "no flow weighs anything"),
    ],
)
def test_what_is_no_weight_is_refused(tmp_path: Path, weight: Any, named: str) -> None:
    """A weight below 0, none, an infinite one, text, and tables whose flows all weigh nothing are label errors."""
    path = written(tmp_path / "a.parquet", n=[1, 2, 3], weight=weight)
    with pytest.raises(LabelError, match=named):
        read_dataset([path], ("n",), TAGS)
