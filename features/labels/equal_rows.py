"""Rows with equal features: found by a hash of all feature columns, and given the union of their tags on request."""

from collections import Counter
from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from features.addresses import Words, mixed
from features.labels.vocabulary import Vocabulary
from features.schema import FEATURE_NAMES

Tags = tuple[str, ...]


def row_hashes(batch: pa.RecordBatch) -> Words:
    """Return a 64-bit hash of each row's feature columns, shape (n,): equal for equal rows, null equal to null.

    Of ten million different rows two have one hash with a probability of 3 in a million.
    """
    total = np.zeros(batch.num_rows, np.uint64)
    for name in FEATURE_NAMES:
        column = batch.column(name)
        known = pc.fill_null(column, 0).to_numpy(zero_copy_only=False).astype(np.float32) + np.float32(0)
        bits = known.view(np.uint32).astype(np.uint64)
        if column.null_count:
            bits[column.is_null().to_numpy(zero_copy_only=False)] = np.uint64(1 << 32)
        total = mixed(total ^ bits) + np.uint64(1)
    return total


class TagUnion:
    """Gives rows with equal features the union of their tags; 12 bytes a row are held while it learns.

    Attributes:
        counts: groups (of equal rows with different tags), flows in them, flows_changed, benign_made_attack.
        benign: Flows without a tag, afterwards.
        tags: Flows that carry each tag, afterwards.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._names = vocabulary.names
        self._codes: dict[Tags, int] = {}
        self._hashes = np.empty(0, np.uint64)
        self._unions: list[Tags] = []
        self.counts: Counter[str] = Counter()
        self.benign = 0
        self.tags: Counter[str] = Counter()

    def learn(self, batches: Iterable[pa.RecordBatch]) -> None:
        """Look at all labelled rows once."""
        hashes, codes = [np.empty(0, np.uint64)], [np.empty(0, np.int32)]
        for batch in batches:
            hashes.append(row_hashes(batch))
            codes.append(self._coded(batch))
        unique, group, sizes = np.unique(np.concatenate(hashes), return_inverse=True, return_counts=True)
        code = np.concatenate(codes)
        lowest, highest = np.full(len(unique), len(self._codes)), np.full(len(unique), -1)
        np.minimum.at(lowest, group, code)
        np.maximum.at(highest, group, code)
        differing = lowest < highest
        kinds = list(self._codes)
        unions: dict[int, set[str]] = {int(at): set() for at in np.flatnonzero(differing)}
        rows = differing[group]
        for at, kind in set(zip(group[rows].tolist(), code[rows].tolist(), strict=True)):
            unions[at].update(kinds[kind])
        self._hashes = unique[differing]
        self._unions = [tuple(name for name in self._names if name in united) for united in unions.values()]
        self.counts.update({"groups": len(unions), "flows": int(sizes[differing].sum())})

    def apply(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Yield the same labelled rows with the union of tags where equal rows differ."""
        for batch in batches:
            tags = [tuple(row) for row in batch.column("tags").to_pylist()]
            for row, union in self._found(batch):
                if tags[row] != self._unions[union]:
                    self.counts.update({"flows_changed": 1, "benign_made_attack": int(not tags[row])})
                    tags[row] = self._unions[union]
            self.benign += sum(not row for row in tags)
            self.tags.update(tag for row in tags for tag in row)
            at = batch.schema.get_field_index("tags")
            yield batch.set_column(at, batch.schema.field(at), pa.array(tags, batch.schema.field(at).type))

    def _found(self, batch: pa.RecordBatch) -> Iterator[tuple[int, int]]:
        if not len(self._hashes):
            return
        hashes = row_hashes(batch)
        place = np.minimum(np.searchsorted(self._hashes, hashes), len(self._hashes) - 1)
        rows = np.flatnonzero(self._hashes[place] == hashes)
        yield from zip(rows.tolist(), place[rows].tolist(), strict=True)

    def _coded(self, batch: pa.RecordBatch) -> npt.NDArray[np.int32]:
        rows = (tuple(row) for row in batch.column("tags").to_pylist())
        return np.fromiter((self._codes.setdefault(row, len(self._codes)) for row in rows), np.int32, batch.num_rows)
