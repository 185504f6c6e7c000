"""The flows of a network to adapt to: in order of their start, the last of them kept for judging."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from math import ceil
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from features.errors import InputError
from features.schema import fingerprint
from features.table import columns_given, open_table
from models.card import DetectorCard
from models.dataset import TagDataset, feature_matrix, read_dataset
from models.detector import Detector
from pipeline.progress import say

MOST_FLOWS = 200_000
READ = ("start", "src_ip")

Matrix = npt.NDArray[np.float32]


@dataclass(frozen=True)
class LocalFlows:
    """Unlabelled flows of a network.

    Attributes:
        features: Shape (n_flows, n_features), NaN for null.
        sources: Number of the side that sent the first packet of each, shape (n_flows,).
        names: Address of each source by its number.
    """

    features: Matrix
    sources: npt.NDArray[np.int64]
    names: tuple[str, ...]

    def __len__(self) -> int:
        """Return the number of flows."""
        return len(self.features)

    def rows(self, chosen: slice | npt.NDArray[np.bool_]) -> "LocalFlows":
        """Return some flows; sources keep their numbers."""
        return LocalFlows(self.features[chosen], self.sources[chosen], self.names)

    def as_benign(self, card: DetectorCard) -> TagDataset:
        """Return the flows as a dataset in which none carries a tag."""
        return TagDataset(
            self.features, np.zeros((len(self), len(card.tag_names)), np.uint8), card.feature_names, card.tag_names
        )


@dataclass(frozen=True)
class Split:
    """Flows to adapt by, and the last ones of each table, to judge by."""

    used: LocalFlows
    held_out: LocalFlows


def read_local(tables: Sequence[Path], detector: Detector, held_out: float, budget: float) -> Split:
    """Read feature tables, of more than MOST_FLOWS flows an even share, and split each by time.

    Args:
        tables: Of the network's traffic; labels in them are not looked at.
        detector: To adapt.
        held_out: Last share of each table's flows, by their start.
        budget: Share of flows that may fire.

    Raises:
        SchemaError: A table is of another schema version.
        ModelMismatch: A table lacks columns that the detector needs.
        InputError: There are fewer flows than a threshold under the budget needs.
    """
    _require_fitting(tables, detector)
    rows = sum(_rows(table) for table in tables)
    step = ceil(rows / MOST_FLOWS) or 1
    if step > 1:
        say(f"{rows:,} local flows: one in {step} is looked at, evenly spread")
    parts = [_read(table, detector.card.feature_names, step) for table in tables]
    names = np.unique(np.concatenate([addresses for _, addresses in parts]))
    earlier, later = [], []
    for features, addresses in parts:
        flows = LocalFlows(features, np.searchsorted(names, addresses), tuple(names.tolist()))
        cut = len(flows) - int(held_out * len(flows))
        earlier.append(flows.rows(slice(cut)))
        later.append(flows.rows(slice(cut, None)))
    split = Split(_joined(earlier), _joined(later))
    require_enough(len(split.used), held_out, budget)
    return split


def require_enough(used: int, held_out: float, budget: float) -> None:
    """Raise InputError unless at least one flow may fire under the budget."""
    least = ceil(1 / budget) if budget else 1
    if used < least:
        raise InputError(
            "too little local traffic",
            "flowtag adapt",
            f"{ceil(least / (1 - held_out)):,} flows or more for a budget of {budget:g}",
            f"{used:,} flows to adapt by",
            "capture for longer, or allow more false alarms with --budget",
        )


def read_labelled(tables: Sequence[Path], detector: Detector, held_out: float) -> tuple[TagDataset, TagDataset]:
    """Read labelled tables and return the flows to learn from, and the last ones of each, to judge by.

    Raises:
        InputError: A table has no labels, other tags or another schema.
        ModelMismatch: A table lacks columns that the detector needs.
    """
    _require_fitting(tables, detector, labelled=True)
    card = detector.card
    earlier, later = [], []
    for table in tables:
        flows = read_dataset([table], card.feature_names, card.tag_names)
        order = np.argsort(_starts(pq.read_table(table, columns=["start"])), kind="stable")
        cut = len(flows) - int(held_out * len(flows))
        earlier.append(flows.rows(order[:cut]))
        later.append(flows.rows(order[cut:]))
    return joined(earlier, card), joined(later, card)


def joined(parts: Sequence[TagDataset], card: DetectorCard) -> TagDataset:
    """Return datasets, none or more, as one."""
    features, tags = np.empty((0, len(card.feature_names)), np.float32), np.empty((0, len(card.tag_names)), np.uint8)
    return reduce(TagDataset.followed_by, parts, TagDataset(features, tags, card.feature_names, card.tag_names))


def _require_fitting(tables: Sequence[Path], detector: Detector, labelled: bool = False) -> None:
    for table in tables:
        with open_table(table, labelled=labelled) as source:
            detector.card.require_columns(columns_given(source), fingerprint())


def _rows(table: Path) -> int:
    return int(pq.read_metadata(table).num_rows)


def _read(table: Path, columns: Sequence[str], step: int) -> tuple[Matrix, npt.NDArray[np.str_]]:
    """Return every step-th flow of a table and the address of its source, by start."""
    features, starts, addresses = [np.empty((0, len(columns)), np.float32)], [], []
    for batch in _every(table, [*columns, *READ], step):
        features.append(feature_matrix(batch, columns))
        starts.append(_starts(batch))
        addresses.append(batch.column("src_ip").cast(pa.string()).fill_null("").to_numpy(zero_copy_only=False))
    order = np.argsort(np.concatenate([np.empty(0, np.int64), *starts]), kind="stable")
    named = np.concatenate([np.empty(0, np.str_), *addresses]).astype(np.str_)
    return np.concatenate(features)[order], named[order]


def _every(table: Path, columns: Collection[str], step: int) -> Iterator[pa.RecordBatch]:
    skipped = 0
    with open_table(table) as source:
        for batch in source.iter_batches(columns=list(columns)):
            rows = np.arange(-skipped % step, batch.num_rows, step)
            skipped += batch.num_rows
            yield batch.take(pa.array(rows))


def _starts(rows: pa.RecordBatch | pa.Table) -> npt.NDArray[np.int64]:
    """Return when flows began, ns; those of unknown time come first."""
    return np.asarray(rows.column("start").cast(pa.int64()).fill_null(0).to_numpy(), np.int64)


def _joined(parts: Sequence[LocalFlows]) -> LocalFlows:
    features, sources = (np.concatenate([getattr(part, name) for part in parts]) for name in ("features", "sources"))
    return LocalFlows(features, sources, parts[0].names)
