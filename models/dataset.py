"""Labelled feature tables as the two matrices a network learns from."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features.errors import LabelError, SchemaError

TAGS_COLUMN = "tags"
_BATCH_ROWS = 16_384


@dataclass(frozen=True)
class TagDataset:
    """Flows with their features and tags.

    Attributes:
        features: Shape (n_flows, n_features), float32; NaN where the table has null.
        tags: Shape (n_flows, n_tags), uint8, 0 or 1; a row of zeros is a benign flow.
        feature_names: One a column of ``features``.
        tag_names: One a column of ``tags``.
    """

    features: npt.NDArray[np.float32]
    tags: npt.NDArray[np.uint8]
    feature_names: tuple[str, ...]
    tag_names: tuple[str, ...]

    def __post_init__(self) -> None:
        """Refuse matrices whose shapes contradict each other or the names."""
        rows = len(self.features)
        wanted = ((rows, len(self.feature_names)), (rows, len(self.tag_names)))
        if (self.features.shape, self.tags.shape) != wanted:
            raise SchemaError(
                "a dataset's parts do not fit", "TagDataset", str(wanted), str((self.features.shape, self.tags.shape))
            )

    def __len__(self) -> int:
        """Return the number of flows."""
        return len(self.features)

    @property
    def attack(self) -> npt.NDArray[np.bool_]:
        """Which flows carry at least one tag, shape (n_flows,)."""
        return np.asarray(self.tags.any(axis=1))

    def rows(self, chosen: npt.NDArray[np.intp] | npt.NDArray[np.bool_]) -> "TagDataset":
        """Return the chosen flows as a dataset of their own."""
        return TagDataset(self.features[chosen], self.tags[chosen], self.feature_names, self.tag_names)

    def followed_by(self, other: "TagDataset") -> "TagDataset":
        """Return the flows of both, which have the same columns and tags, as one dataset."""
        features, tags = np.concatenate([self.features, other.features]), np.concatenate([self.tags, other.tags])
        return TagDataset(features, tags, self.feature_names, self.tag_names)


def read_dataset(paths: Sequence[Path], feature_names: Sequence[str], tag_names: Sequence[str]) -> TagDataset:
    """Read labelled Parquet tables, one after the other, into one dataset.

    Only the named columns are read, in batches written straight into the result: the peak is the result plus one batch.

    Args:
        paths: Tables with the feature columns and a column ``tags`` of type list<string>.
        feature_names: Columns to take, in this order; numbers or booleans.
        tag_names: Tags to take, in this order.

    Raises:
        SchemaError: A table lacks a column.
        LabelError: A flow carries a tag that is not in ``tag_names``, or has no labels at all.
    """
    files = [_open_labelled(path, feature_names) for path in paths]
    rows = sum(file.metadata.num_rows for file in files)
    features = np.empty((rows, len(feature_names)), np.float32)
    tags = np.zeros((rows, len(tag_names)), np.uint8)
    start = 0
    for path, file in zip(paths, files, strict=True):
        for batch in file.iter_batches(_BATCH_ROWS, columns=[*feature_names, TAGS_COLUMN]):
            fill_features(batch, feature_names, features[start : start + batch.num_rows])
            _fill_tags(batch.column(TAGS_COLUMN), tag_names, tags[start : start + batch.num_rows], path)
            start += batch.num_rows
    return TagDataset(features, tags, tuple(feature_names), tuple(tag_names))


def feature_matrix(batch: pa.RecordBatch, feature_names: Sequence[str]) -> npt.NDArray[np.float32]:
    """Return the named columns of a record batch as a network takes them, shape (n_rows, n_features), null as NaN."""
    matrix = np.empty((batch.num_rows, len(feature_names)), np.float32)
    fill_features(batch, feature_names, matrix)
    return matrix


def fill_features(batch: pa.RecordBatch, feature_names: Sequence[str], into: npt.NDArray[np.float32]) -> None:
    """Write the named columns of a record batch into a matrix of the same number of rows, null as NaN."""
    for position, name in enumerate(feature_names):
        # unsafe only in that a large integer is rounded to the nearest float32
        as_float = batch.column(name).cast(pa.float32(), safe=False)
        into[:, position] = as_float.to_numpy(zero_copy_only=False)


def _open_labelled(path: Path, feature_names: Sequence[str]) -> pq.ParquetFile:
    try:
        file = pq.ParquetFile(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise SchemaError("no table can be read here", str(path), "a labelled Parquet table", str(error)) from error
    present = set(file.schema_arrow.names)
    if TAGS_COLUMN not in present:
        raise LabelError("the table carries no labels", str(path), f"a column '{TAGS_COLUMN}'", "none", "flowtag label")
    missing = [name for name in feature_names if name not in present]
    if missing:
        raise SchemaError("the table lacks feature columns", str(path), f"{len(feature_names)} columns", _diff(missing))
    return file


def _diff(missing: Sequence[str]) -> str:
    return "\n" + "\n".join(f"    - {name}" for name in missing)


def _fill_tags(column: pa.ListArray, tag_names: Sequence[str], into: npt.NDArray[np.uint8], path: Path) -> None:
    if column.null_count:
        raise LabelError(
            f"{column.null_count} flows have no labels", str(path), "a list of tags, empty for a benign flow", "null"
        )
    names = column.flatten()
    positions = pc.index_in(names, value_set=pa.array(tag_names, names.type))
    if positions.null_count:
        unknown = sorted({str(name) for name in names.filter(positions.is_null()).unique().to_pylist()})
        raise LabelError("flows carry unknown tags", str(path), ", ".join(tag_names), ", ".join(unknown))
    into[pc.list_parent_indices(column).to_numpy(), positions.to_numpy()] = 1
