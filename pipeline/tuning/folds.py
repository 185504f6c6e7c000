"""Which fold a flow belongs to: whole captures, or blocks of time where captures are too few; never single rows.

Flows of one scan resemble each other far more than flows of two days do, so a split by rows would measure memory.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from features.errors import InputError
from features.labels.stratify import stratified
from features.table import open_table
from pipeline.tuning.choice import AUTO, CAPTURE, FEWEST, TIME, FoldChoice

DROPPED = -1
GAPS_A_BLOCK = 5
BLOCKS_A_FOLD = 8
NS_PER_S = 1_000_000_000
UNKNOWN_NS = -1

Mask = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Folds:
    """The fold of each flow.

    Attributes:
        of_flow: Shape (n_flows,), from 0; DROPPED by time for flows in a gap and those of unknown time.
        count: Number of folds.
        by: "capture" or "time".
        parts: Captures or blocks of time in each fold.
    """

    of_flow: npt.NDArray[np.int8]
    count: int
    by: str
    parts: tuple[tuple[str, ...], ...]

    def masks(self, held_out: int) -> tuple[Mask, Mask, Mask]:
        """Return which flows are learned from, which choose thresholds, and which are held out, one fold each."""
        held = self.of_flow == held_out
        valid = self.of_flow == (held_out + 1) % self.count
        return (self.of_flow != DROPPED) & ~held & ~valid, valid, held

    def save(self, path: Path) -> None:
        """Write the fold of each flow."""
        np.save(path, self.of_flow, allow_pickle=False)


def fold(tables: Sequence[Path], choice: FoldChoice) -> Folds:
    """Part the flows of labelled tables into folds that all hold attack flows and benign ones.

    Raises:
        InputError: The captures or blocks of time do not suffice for three such folds.
        SchemaError: A table is no labelled one of this version.
    """
    flows = _Flows.read(tables)
    ways = (CAPTURE, TIME) if choice.by == AUTO else (choice.by,)
    for way in ways:
        parts = flows.by_capture() if way == CAPTURE else flows.by_time(choice)
        for count in range(min(choice.most, len(parts.names)), FEWEST - 1, -1):
            found = _folded(flows, parts, count, choice.seed, way)
            if found:
                return found
    raise _too_few(flows, choice)


@dataclass(frozen=True)
class _Parts:
    """What stays together: the part of each flow, DROPPED for none, and what each part is called."""

    of_flow: Ints
    names: tuple[str, ...]


@dataclass(frozen=True)
class _Flows:
    """What folding needs of the flows: a few numbers each, never the features."""

    capture: Ints
    captures: tuple[str, ...]
    start_ns: Ints
    end_ns: Ints
    tags: npt.NDArray[np.int64]

    @classmethod
    def read(cls, tables: Sequence[Path]) -> "_Flows":
        whole = pa.Table.from_batches(list(_batches(tables)))
        captures = pc.fill_null(whole["capture"], "").combine_chunks().dictionary_encode()
        tags = whole["tags"].combine_chunks()
        names = tags.flatten().dictionary_encode()
        matrix = np.zeros((len(whole), len(names.dictionary)), np.int64)
        matrix[pc.list_parent_indices(tags).to_numpy(), names.indices.to_numpy()] = 1
        return cls(
            capture=captures.indices.to_numpy().astype(np.int64),
            captures=tuple(captures.dictionary.to_pylist()),
            start_ns=_nanoseconds(whole["start"]),
            end_ns=_nanoseconds(whole["end"]),
            tags=matrix,
        )

    @property
    def attack(self) -> Mask:
        return np.asarray(self.tags.any(axis=1))

    def by_capture(self) -> _Parts:
        return _Parts(self.capture, self.captures)

    def by_time(self, choice: FoldChoice) -> _Parts:
        """Cut each capture into blocks of equal length, as many as gaps allow."""
        of_flow = np.full(len(self.capture), DROPPED, np.int64)
        names: list[str] = []
        for number, capture in enumerate(self.captures):
            chosen = np.flatnonzero(self.capture == number)
            block, count = self._blocks(chosen, choice)
            of_flow[chosen] = np.where(block == DROPPED, DROPPED, block + len(names))
            names += [f"{capture} {at + 1}/{count}" for at in range(count)]
        return _Parts(of_flow, tuple(names))

    def _blocks(self, chosen: npt.NDArray[np.intp], choice: FoldChoice) -> tuple[Ints, int]:
        """Return the block of the chosen flows of one capture, DROPPED in a gap, and the number of blocks."""
        start, end = self.start_ns[chosen], self.end_ns[chosen]
        timed = (start != UNKNOWN_NS) & (end != UNKNOWN_NS)
        first = int(start[timed].min(initial=2**62))
        since, until = start - first, end - first
        span_ns, gap_ns = int(since[timed].max(initial=0)), int(choice.gap_s * NS_PER_S)
        most = choice.most * BLOCKS_A_FOLD
        count = max(1, min(most, span_ns // (GAPS_A_BLOCK * gap_ns) if gap_ns else most))
        length = span_ns // count + 1
        block = since // length
        inside = (since - block * length >= gap_ns) | (block == 0)
        whole = (until < (block + 1) * length) | (block == count - 1)
        return np.where(timed & inside & whole, block, DROPPED), count


def _folded(flows: _Flows, parts: _Parts, count: int, seed: int, by: str) -> Folds | None:
    """Spread parts over folds, tags evenly; None where a fold lacks attack flows or benign ones."""
    kept = parts.of_flow != DROPPED
    sizes = np.bincount(parts.of_flow[kept], minlength=len(parts.names))
    tags = np.zeros((len(parts.names), flows.tags.shape[1]), np.int64)
    np.add.at(tags, parts.of_flow[kept], flows.tags[kept])
    fold_of_part = stratified(sizes, tags, (1 / count,) * count, seed)
    of_flow = np.where(kept, fold_of_part[parts.of_flow], DROPPED).astype(np.int8)
    attack = flows.attack
    for number in range(count):
        held = attack[of_flow == number]
        if not held.any() or held.all():
            return None
    names = tuple(
        tuple(name for name, one in zip(parts.names, fold_of_part, strict=True) if one == number)
        for number in range(count)
    )
    return Folds(of_flow, count, by, names)


def _too_few(flows: _Flows, choice: FoldChoice) -> InputError:
    attack = flows.attack
    in_attack = len(np.unique(flows.capture[attack]))
    blocks = flows.by_time(choice)
    struck = len(np.unique(blocks.of_flow[attack & (blocks.of_flow != DROPPED)]))
    return InputError(
        "too few captures or blocks of time to tune on",
        "flowtag tune",
        f"{FEWEST} folds or more, each with attack flows and benign ones",
        f"{len(flows.captures)} captures, {in_attack} of them with attack flows; "
        f"{len(blocks.names)} blocks of time, {struck} of them with attack flows",
        "name more captures, or part short ones by time with a smaller gap: --by time --gap-s 5",
    )


def _batches(tables: Sequence[Path]) -> Iterator[pa.RecordBatch]:
    for table in tables:
        with open_table(table, labelled=True) as file:
            yield from file.iter_batches(columns=["capture", "start", "end", "tags"])


def _nanoseconds(column: pa.ChunkedArray) -> Ints:
    return np.asarray(pc.fill_null(column.cast(pa.int64()), UNKNOWN_NS).to_numpy(), np.int64)
