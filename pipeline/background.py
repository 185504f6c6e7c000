"""Feature tables of other networks' ordinary traffic to flows that join a training: some of each source, some held out.

Whole sources are held out where there are enough of them (five, of a fifth), so that what thresholds are chosen by is
of networks that nothing was learned from; else the last part of each by time.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from features.errors import InputError
from features.table import open_table
from models.background import Background, BackgroundSettings, Senders
from models.dataset import TAGS_COLUMN, TagDataset, feature_matrix, room

LEAST_FLOWS = 10
READ = ("capture", "src_ip", "start")

Mask = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.intp]


def read_background(
    tables: Sequence[Path], labelled: TagDataset, settings: BackgroundSettings, scratch: Path | None = None
) -> tuple[Background, dict[str, int]]:
    """Read ordinary traffic of other networks; flows that carry a tag are left out.

    A source is what one capture or run of records gave. Where all of it would be more than its share of the training,
    every source gives as many flows as any other, or all it has, evenly spread over its time.

    Args:
        tables: Feature tables, with or without labels.
        labelled: The flows that they join; their columns and tags are taken.
        settings: How much of it, and how much is held out.
        scratch: As for `models.dataset.read_dataset`.

    Returns:
        The flows, and counts: sources, learned, held_out, tagged, and over_share, flows more than the share.

    Raises:
        InputError: There are too few flows, or a table is of another schema version.
    """
    flows = _Flows(tables)
    held = flows.held_out(settings.held_out)
    most = int(len(labelled) * settings.share / (1 - settings.share))
    most_held = int(most * settings.held_out / (1 - settings.held_out)) + 1
    chosen = [
        _evenly(flows.source, mask & ~flows.tagged, number) for mask, number in ((~held, most), (held, most_held))
    ]
    learned, held_out = (_dataset(tables, rows, labelled, scratch) for rows in chosen)
    _require_enough(learned, held_out)
    senders = Senders(np.concatenate([flows.sender[rows] for rows in chosen]), flows.sender_names)
    tagged, used = int(flows.tagged.sum()), len(learned) + len(held_out)
    counts = {
        "sources": len(np.unique(flows.source)),
        "learned": len(learned),
        "held_out": len(held_out),
        "tagged": tagged,
        "over_share": len(flows.source) - used - tagged,
    }
    return Background(learned, held_out, senders, _halves(flows.source[chosen[0]]), settings), counts


class _Flows:
    """What choosing needs of all flows: a few numbers a row, never the features."""

    def __init__(self, tables: Sequence[Path]) -> None:
        parts = [_identity(table) for table in tables]
        self.table = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
        whole = pa.concat_tables(parts)
        self.start = whole["start"].cast(pa.int64()).fill_null(0).to_numpy()
        self.tagged: Mask = whole["tagged"].to_numpy()
        captures, addresses = (whole[name].fill_null("").combine_chunks() for name in ("capture", "src_ip"))
        self.source = _numbered(pc.binary_join_element_wise(_text(self.table), captures, "/"))[0]
        self.sender, self.sender_names = _numbered(pc.binary_join_element_wise(captures, addresses, ", "))

    def held_out(self, share: float) -> Mask:
        """Return which flows are held out: that share of the sources if it is one or more, else the last part of each.

        Sources are held out evenly from the largest to the smallest.
        """
        sizes = np.bincount(self.source)
        if len(sizes) * share >= 1:
            steps = np.floor(np.arange(len(sizes) + 1) * share + 0.5)
            return np.isin(self.source, np.argsort(-sizes, kind="stable")[np.diff(steps) > 0])
        order = np.lexsort((self.start, self.source))
        position = np.empty(len(order), np.intp)
        position[order] = np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        return np.asarray(position >= sizes[self.source] - (share * sizes[self.source]).astype(np.intp))


def _identity(table: Path) -> pa.Table:
    """Return when and where the flows of a table are from, and whether they carry a tag."""
    with open_table(table) as file:
        labelled = TAGS_COLUMN in file.schema_arrow.names
        read = file.read(columns=[*READ, *([TAGS_COLUMN] if labelled else ())])
    counts = pc.list_value_length(read[TAGS_COLUMN]).fill_null(0) if labelled else np.zeros(len(read), np.int32)
    plain = read.select(READ)
    texts = [plain[name].cast(pa.string()) for name in ("capture", "src_ip")]
    return pa.table([*texts, plain["start"], pa.array(np.asarray(counts) > 0)], names=[*READ, "tagged"])


def _text(numbers: npt.NDArray[np.int64]) -> pa.Array:
    return pa.array(numbers).cast(pa.string())


def _numbered(texts: pa.Array) -> tuple[npt.NDArray[np.int64], tuple[str, ...]]:
    encoded = texts.dictionary_encode()
    return encoded.indices.to_numpy().astype(np.int64), tuple(encoded.dictionary.to_pylist())


def _evenly(source: npt.NDArray[np.int64], usable: Mask, most: int) -> Rows:
    """Return at most so many usable rows, as many of each source as of any other or all it has, evenly spread."""
    sizes = np.bincount(source[usable], minlength=int(source.max(initial=0)) + 1)
    quota = _quota(sizes, most)
    rows = [np.empty(0, np.intp)]
    for number, size in enumerate(sizes.tolist()):
        own = np.flatnonzero(usable & (source == number)) if size else np.empty(0, np.intp)
        rows.append(own if size <= quota else own[np.arange(quota) * size // quota])
    return np.sort(np.concatenate(rows))


def _quota(sizes: npt.NDArray[np.int64], most: int) -> int:
    """Return the largest number of rows that every source may give while together they are at most so many."""
    low, high = 0, int(sizes.max(initial=0))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if np.minimum(sizes, middle).sum() <= most else (low, middle - 1)
    return low


def _dataset(tables: Sequence[Path], rows: Rows, like: TagDataset, scratch: Path | None) -> TagDataset:
    """Read the chosen rows, counted over all tables, as flows without a tag."""
    features = room((len(rows), len(like.feature_names)), scratch)
    begin = filled = 0
    for table in tables:
        with open_table(table) as file:
            for batch in file.iter_batches(columns=list(like.feature_names)):
                inside = rows[(rows >= begin) & (rows < begin + batch.num_rows)] - begin
                features[filled : filled + len(inside)] = feature_matrix(
                    batch.take(pa.array(inside)), like.feature_names
                )
                begin, filled = begin + batch.num_rows, filled + len(inside)
    tags = np.zeros((len(rows), len(like.tag_names)), np.uint8)
    return TagDataset(features, tags, like.feature_names, like.tag_names)


def _halves(source: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return the half of each flow by its source: from the largest source to the smallest in turn."""
    sizes = np.bincount(source)
    turn = np.empty(len(sizes), np.int64)
    turn[np.argsort(-sizes, kind="stable")] = np.arange(len(sizes)) % 2
    return turn[source]


def _require_enough(learned: TagDataset, held_out: TagDataset) -> None:
    if min(len(learned), len(held_out)) < LEAST_FLOWS:
        raise InputError(
            "too little background traffic",
            "background",
            f"{LEAST_FLOWS} flows or more to learn from, and as many held out",
            f"{len(learned)} and {len(held_out)}",
            "name more captures or records of ordinary traffic with --background",
        )
