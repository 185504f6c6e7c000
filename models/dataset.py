"""Labelled feature tables as the two matrices a network learns from."""

import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features.errors import LabelError, SchemaError
from features.labels.speech import tags_spoken_of
from features.schema import WEIGHT_NAME

TAGS_COLUMN = "tags"
UNKNOWN = -1.0
"""The label of a tag that nobody looked for: it says neither that the flow carries the tag nor that it does not."""
_BATCH_ROWS = 16_384
_BLOCK_COLUMNS = 16

IN_MEMORY_BYTES = 256 << 20
"""Features beyond this lie in a file, which the system holds in memory as long as there is room."""


@dataclass(frozen=True)
class TagDataset:
    """Flows with their features and tags.

    Attributes:
        features: Shape (n_flows, n_features), float32; NaN where the table has null.
        tags: Shape (n_flows, n_tags), uint8, 0 or 1; a row of zeros is a benign flow.
        feature_names: One a column of ``features``.
        tag_names: One a column of ``tags``.
        known: Shape of ``tags``: False where the truth does not say whether the flow carries the tag, which is then 0;
            None where all is known.
        weights: How much each flow counts in training, shape (n_flows,), float32, 0 or more; None where all are equal.
        soft: What is learned in place of the tags, on the same side of 1/2, same shape, float32; None for the tags.
    """

    features: npt.NDArray[np.float32]
    tags: npt.NDArray[np.uint8]
    feature_names: tuple[str, ...]
    tag_names: tuple[str, ...]
    known: npt.NDArray[np.bool_] | None = None
    weights: npt.NDArray[np.float32] | None = None
    soft: npt.NDArray[np.float32] | None = None

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
        known = None if self.known is None else self.known[chosen]
        weights = None if self.weights is None else self.weights[chosen]
        soft = None if self.soft is None else self.soft[chosen]
        return TagDataset(
            self.features[chosen], self.tags[chosen], self.feature_names, self.tag_names, known, weights, soft
        )

    def targets(self) -> npt.NDArray[np.float32]:
        """Return the tags, or what is learned in their place, as a loss takes them, ``UNKNOWN`` where nothing says."""
        targets = self.tags.astype(np.float32) if self.soft is None else self.soft
        return targets if self.known is None else np.where(self.known, targets, np.float32(UNKNOWN))

    def judged(self, scores: npt.NDArray[np.float32], nothing: float = 0.0) -> npt.NDArray[np.float32]:
        """Return scores with ``nothing`` where the truth does not say: neither a false alarm nor a detection."""
        return scores if self.known is None else np.where(self.known, scores, np.float32(nothing))

    def followed_by(self, other: "TagDataset", scratch: Path | None = None) -> "TagDataset":
        """Return the flows of both, which have the same columns and tags, as one dataset; scratch as `read_dataset`."""
        features = room((len(self) + len(other), len(self.feature_names)), scratch)
        features[: len(self)], features[len(self) :] = self.features, other.features
        tags = np.concatenate([self.tags, other.tags])
        known = weights = None
        if self.known is not None or other.known is not None:
            parts = (np.ones(one.tags.shape, bool) if one.known is None else one.known for one in (self, other))
            known = np.concatenate([*parts])
        if self.weights is not None or other.weights is not None:
            parts = (np.ones(len(one), np.float32) if one.weights is None else one.weights for one in (self, other))
            weights = np.concatenate([*parts])
        return TagDataset(features, tags, self.feature_names, self.tag_names, known, weights)

    def evenly_weighed(self) -> "TagDataset":
        """Return the same with weights whose mean is 1: only how they compare says something."""
        return self if self.weights is None else replace(self, weights=self.weights / self.weights.mean())


def columns_of(features: npt.NDArray[np.float32]) -> Iterator[npt.NDArray[np.float32]]:
    """Give the columns of a matrix in their order, each contiguous; what lies in a file is passed over a few times."""
    for start in range(0, features.shape[1], _BLOCK_COLUMNS):
        yield from np.ascontiguousarray(features[:, start : start + _BLOCK_COLUMNS].T)


def read_dataset(
    paths: Sequence[Path], feature_names: Sequence[str], tag_names: Sequence[str], scratch: Path | None = None
) -> TagDataset:
    """Read labelled Parquet tables, one after the other, into one dataset.

    Only the named columns are read, in batches written straight into the result: the peak is the result plus one batch,
    and with a scratch folder no more than IN_MEMORY_BYTES plus one batch, however many flows there are.

    Args:
        paths: Tables with the feature columns, a column ``tags`` of type list<string>, and perhaps one ``weight``;
            flows of a table without it weigh 1.
        feature_names: Columns to take, in this order; numbers or booleans.
        tag_names: Tags to take, in this order.
        scratch: Where features that are too many for memory lie, in a file without a name that ends with the dataset.

    Raises:
        SchemaError: A table lacks a column.
        LabelError: A flow carries a tag that is not in ``tag_names``, or has no labels at all, or weighs less than 0 or
            no number; or no flow weighs anything.
        OSError: The disk of the scratch folder is full.
    """
    files = [_open_labelled(path, feature_names) for path in paths]
    rows = sum(file.metadata.num_rows for file in files)
    features = room((rows, len(feature_names)), scratch)
    tags = np.zeros((rows, len(tag_names)), np.uint8)
    spoken = [tags_spoken_of(file.schema_arrow.metadata) for file in files]
    known = None if all(names is None for names in spoken) else np.ones((rows, len(tag_names)), bool)
    start = 0
    for path, file, names in zip(paths, files, spoken, strict=True):
        if known is not None and names is not None:
            known[start : start + file.metadata.num_rows] = [name in names for name in tag_names]
        for batch in file.iter_batches(_BATCH_ROWS, columns=[*feature_names, TAGS_COLUMN]):
            fill_features(batch, feature_names, features[start : start + batch.num_rows])
            _fill_tags(batch.column(TAGS_COLUMN), tag_names, tags[start : start + batch.num_rows], path)
            start += batch.num_rows
    if known is not None:
        known |= tags > 0  # what a tag that was spoken of implies
    return TagDataset(features, tags, tuple(feature_names), tuple(tag_names), known, _weights(paths, files))


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


def room(shape: tuple[int, int], scratch: Path | None) -> npt.NDArray[np.float32]:
    """Return a matrix to be filled, in a file where it is too large for memory."""
    size = shape[0] * shape[1] * np.dtype(np.float32).itemsize
    if scratch is None or size <= IN_MEMORY_BYTES:
        return np.empty(shape, np.float32)
    with tempfile.TemporaryFile(dir=scratch) as file:
        os.posix_fallocate(file.fileno(), 0, size)  # a disk that is full says so here, not by a signal later
        return np.memmap(file, np.float32, "r+", shape=shape).view(np.ndarray)


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


def _weights(paths: Sequence[Path], files: Sequence[pq.ParquetFile]) -> npt.NDArray[np.float32] | None:
    """Return how much the flows of tables count; None where no table says."""
    if not any(WEIGHT_NAME in file.schema_arrow.names for file in files):
        return None
    weights = np.concatenate([_weights_of(path, file) for path, file in zip(paths, files, strict=True)])
    if len(weights) and not weights.any():
        raise LabelError("no flow weighs anything", str(paths[0]), f"a {WEIGHT_NAME} above 0", "0 for all flows")
    return weights


def _weights_of(path: Path, file: pq.ParquetFile) -> npt.NDArray[np.float32]:
    if WEIGHT_NAME not in file.schema_arrow.names:
        return np.ones(file.metadata.num_rows, np.float32)
    column = file.read([WEIGHT_NAME])[WEIGHT_NAME]
    if not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
        raise LabelError("weights are no numbers", str(path), f"a column '{WEIGHT_NAME}' of numbers", str(column.type))
    weights = column.cast(pa.float64()).to_numpy()
    wrong = ~((weights >= 0) & (weights <= np.finfo(np.float32).max))
    if wrong.any():
        given = f"{weights[wrong][0]:g} and the like on {wrong.sum():,} flows"
        raise LabelError("flows cannot weigh so", str(path), f"a {WEIGHT_NAME} of 0 or more, no null", given)
    return weights.astype(np.float32)


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
