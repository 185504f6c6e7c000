"""Stage: labelled tables to parts for training, validation and test, whole captures, times or hosts apart."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features.context import LONG_S
from features.errors import ConfigError, LabelError, SchemaError
from features.labels.equal_rows import row_hashes
from features.labels.speech import tags_spoken_of
from features.labels.stratify import stratified
from features.labels.vocabulary import METADATA
from features.schema import FEATURE_NAMES, IDENTITY_NAMES, WEIGHT_NAME, fingerprint
from features.table import columns_given, giving, open_table, write_table
from pipeline.manifest import Built, Plan, StageResult, digest, run_once
from pipeline.progress import say
from pipeline.report_text import table as aligned
from pipeline.settings import Settings

VERSION = 1
PARTS = ("train", "valid", "test")
WAYS = ("capture", "time", "host", "row")
DROPPED = -1
NS_PER_S = 1_000_000_000
REPORT = "split.json"
Parts = npt.NDArray[np.int8]


@dataclass(frozen=True)
class SplitChoice:
    """How to split.

    Attributes:
        by: "capture", "time", "host" (the side that sent the first packet) or "row"; what stays together.
        shares: Of train, valid and test, in rows; a part of 0 is left out.
        gap_s: By time, flows that began within so many seconds behind a cut are dropped, and so are those across it.
        seed: Of the order among equals.

    Raises:
        ConfigError: A value is out of range.
    """

    by: str = "capture"
    shares: tuple[float, ...] = (0.6, 0.2, 0.2)
    gap_s: float = float(LONG_S)
    seed: int = 1

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        if self.by not in WAYS:
            raise ConfigError("No such way to split", "--by", ", ".join(WAYS), self.by)
        fitting = len(self.shares) == len(PARTS) and min(self.shares) >= 0 and abs(sum(self.shares) - 1) < 1e-6
        if not fitting:
            raise ConfigError(
                "Shares that are none", "--shares", "three that sum to 100, as 60,20,20", str(self.shares)
            )
        if not 0 <= self.gap_s <= 1e9:
            raise ConfigError("A gap out of range", "--gap-s", "seconds", str(self.gap_s))


def split(tables: Sequence[Path], choice: SplitChoice, settings: Settings) -> StageResult:
    """Split labelled tables into a folder of one table a part, with a report.

    Returns:
        Counts: rows_read, rows of each part (rows.train ...), dropped.gap, and leaks. The report is `split.json` in the
        folder.

    Raises:
        SchemaError: A table is no labelled one of this version, or lacks what the split goes by.
        LabelError: The tables' vocabularies differ, they have no rows, or there are fewer captures or hosts than parts.
    """
    _require_one_vocabulary(tables)
    name = "-".join(dict.fromkeys(table.stem for table in tables))[:80]
    plan = Plan(
        "split",
        VERSION,
        settings.state.root / "split" / f"{name}-by-{choice.by}",
        {f"{number}: {table.name}": digest(table) for number, table in enumerate(tables)},
        {"choice": asdict(choice), "schema": fingerprint()},
    )
    return run_once(plan, lambda folder: _written(tables, choice, folder))


def _require_one_vocabulary(tables: Sequence[Path]) -> None:
    told: dict[bytes, Path] = {}
    spoken: dict[frozenset[str] | None, Path] = {}
    for table in tables:
        with open_table(table, labelled=True) as file:
            metadata = file.schema_arrow.metadata or {}
            told.setdefault(metadata.get(METADATA.encode(), b""), table)
            spoken.setdefault(tags_spoken_of(metadata), table)
    if len(spoken) > 1:
        (one_of, first), (others, second) = list(spoken.items())[:2]
        raise LabelError(
            "Tables whose truths speak of different tags",
            f"{first} and {second}",
            "the same",
            ", ".join(sorted((one_of or set()) ^ (others or set()))),
            "split them one by one",
        )
    if len(told) > 1:
        (one, first), (other, second) = list(told.items())[:2]
        differing = ", ".join(sorted({*one.decode().split(",")} ^ {*other.decode().split(",")})) or "their order"
        raise LabelError("Tables labelled with different vocabularies", f"{first} and {second}", "the same", differing)


def _written(tables: Sequence[Path], choice: SplitChoice, folder: Path) -> Built:
    whole = _Whole(tables)
    parts = {"capture": _by_group, "host": _by_group, "time": _by_time, "row": _by_row}[choice.by](whole, choice)
    folder.mkdir()
    counts = {"rows_read": len(parts)}
    for number, part in enumerate(PARTS):
        rows = int((parts == number).sum())
        if choice.shares[number]:
            _write_part(tables, parts == number, folder / f"{part}.parquet")
            counts[f"rows.{part}"] = rows
    counts["dropped.gap"] = int((parts == DROPPED).sum())
    report = {"choice": asdict(choice), "counts": counts, **whole.report(parts)}
    (folder / REPORT).write_text(json.dumps(report, indent=1) + "\n", "utf-8")
    counts |= {f"leak.{name}": sum(pairs.values()) for name, pairs in report["leaks"].items()}
    say(f"{sum(counts[name] for name in counts if name.startswith('rows.')):,} of {len(parts):,} flows in parts")
    return Built(len(parts), counts)


class _Whole:
    """What a split needs of all rows: a few numbers a row, never the features."""

    def __init__(self, tables: Sequence[Path]) -> None:
        names = ["capture", "src_ip", "dst_ip", "start", "end", "tags"]
        batches = [batch for table in tables for batch in _read(table, lambda batch: batch.select(names))]
        if not batches:
            raise LabelError("no flows to split", ", ".join(map(str, tables)), "labelled tables with rows", "0 rows")
        self.columns = pa.Table.from_batches(batches)
        hashes = [part for table in tables for part in _read(table, row_hashes)]
        self.hashes = np.concatenate(hashes) if hashes else np.empty(0, np.uint64)
        tags = self.columns["tags"].combine_chunks()
        self.names = sorted(set(tags.flatten().to_pylist()))
        self.tags = np.zeros((len(self.columns), len(self.names)), np.int64)
        codes = pc.index_in(tags.flatten(), pa.array(self.names, pa.string())).to_numpy(zero_copy_only=False)
        self.tags[pc.list_parent_indices(tags).to_numpy(), codes.astype(np.int64)] = 1

    def numbers(self, column: str) -> npt.NDArray[np.int64]:
        """Return a time column as nanoseconds.

        Raises:
            SchemaError: Some flows have no time.
        """
        values = self.columns[column]
        if values.null_count:
            raise SchemaError("Flows without a time cannot be split by time", "", f"a value in {column}", "null")
        return values.cast(pa.int64()).to_numpy()

    def groups(self, column: str) -> npt.NDArray[np.int64]:
        """Return a number a row, equal where the column is; rows without a value are one group."""
        encoded = self.columns[column].combine_chunks().dictionary_encode()
        return pc.fill_null(encoded.indices, len(encoded.dictionary)).to_numpy(zero_copy_only=False).astype(np.int64)

    def report(self, parts: Parts) -> dict[str, Any]:
        """Return flows per tag and part, and what leaks from one part into another."""
        tags = {
            part: dict(zip(self.names, self.tags[parts == number].sum(axis=0).tolist(), strict=True))
            for number, part in enumerate(PARTS)
        }
        both = pa.chunked_array([*self.columns["src_ip"].chunks, *self.columns["dst_ip"].chunks])
        encoded = both.combine_chunks().dictionary_encode().indices
        hosts = pc.fill_null(encoded, -1).to_numpy(zero_copy_only=False).astype(np.int64)
        twice = np.concatenate([parts, parts])
        return {
            "tags": tags,
            "leaks": {
                "equal_feature_rows": _shared(self.hashes, parts),
                "hosts_on_both_sides": _shared(hosts[hosts >= 0], twice[hosts >= 0], distinct=True),
                "identity_columns_in_features": {name: 1 for name in IDENTITY_NAMES if name in FEATURE_NAMES},
            },
        }


def _shared(values: npt.NDArray[Any], parts: Parts, distinct: bool = False) -> dict[str, int]:
    """Return for each two parts how many rows of the later one have a value of the earlier, or how many such values."""
    held = [np.unique(values[parts == number]) for number in range(len(PARTS))]
    shared = {}
    for one in range(len(PARTS)):
        for other in range(one + 1, len(PARTS)):
            looked = held[other] if distinct else values[parts == other]
            shared[f"{PARTS[one]} and {PARTS[other]}"] = int(np.isin(looked, held[one]).sum())
    return shared


def _by_group(whole: _Whole, choice: SplitChoice) -> Parts:
    group = whole.groups("capture" if choice.by == "capture" else "src_ip")
    unique, number = np.unique(group, return_inverse=True)
    needed = sum(share > 0 for share in choice.shares)
    if len(unique) < needed:
        raise LabelError(
            f"Fewer {choice.by}s than parts", "", f"at least {needed}", str(len(unique)), "split by time, or name more"
        )
    tags = np.zeros((len(unique), len(whole.names)), np.int64)
    np.add.at(tags, number, whole.tags)
    return stratified(np.bincount(number), tags, choice.shares, choice.seed)[number]


def _by_time(whole: _Whole, choice: SplitChoice) -> Parts:
    """Cut where the shares of the flows have begun; a flow belongs where it lies whole, behind the gap of the cut."""
    start, end = whole.numbers("start"), whole.numbers("end")
    parts = np.full(len(start), DROPPED, np.int8)
    cuts = np.quantile(start, np.cumsum(choice.shares)[:-1], method="lower").tolist() if len(start) else [0, 0]
    low = [-(2**63), *(int(cut) + round(choice.gap_s * NS_PER_S) for cut in cuts)]
    high = [*(int(cut) for cut in cuts), 2**63 - 1]
    for number, share in enumerate(choice.shares):
        last = number == max(at for at, one in enumerate(choice.shares) if one)
        if share:
            parts[(start >= low[number]) & ((end < high[number]) | last)] = number
    return parts


def _by_row(whole: _Whole, choice: SplitChoice) -> Parts:
    return stratified(np.ones(len(whole.tags), np.int64), whole.tags, choice.shares, choice.seed)


def _read(table: Path, take: Callable[[pa.RecordBatch], Any]) -> Iterator[Any]:
    with open_table(table, labelled=True) as file:
        for batch in file.iter_batches():
            yield take(batch)


def _write_part(tables: Sequence[Path], chosen: npt.NDArray[np.bool_], path: Path) -> None:
    with ExitStack() as stack:
        files = [stack.enter_context(open_table(table, labelled=True)) for table in tables]
        given = frozenset[str].intersection(*(columns_given(file) for file in files))
        schema = max((file.schema_arrow for file in files), key=len)  # with weights where a table has some
        write_table(_rows(files, chosen, schema.names), path, giving(schema, given))


def _rows(
    files: Sequence[pq.ParquetFile], chosen: npt.NDArray[np.bool_], names: Sequence[str]
) -> Iterator[pa.RecordBatch]:
    begin = 0
    for file in files:
        for batch in file.iter_batches():
            rows = chosen[begin : begin + batch.num_rows]
            begin += batch.num_rows
            if rows.any():
                yield _weighed(batch.filter(pa.array(rows)), names).select(names)


def _weighed(batch: pa.RecordBatch, names: Sequence[str]) -> pa.RecordBatch:
    """Return rows with a weight of 1 each where other tables have weights and theirs has none."""
    if WEIGHT_NAME not in names or WEIGHT_NAME in batch.schema.names:
        return batch
    return batch.append_column(WEIGHT_NAME, pa.array(np.ones(batch.num_rows)))


def parsed_shares(text: str) -> tuple[float, ...]:
    """Return shares in [0, 1] of per cent written as 60,20,20.

    Raises:
        ConfigError: They are no numbers.
    """
    try:
        return tuple(float(part) / 100 for part in text.split(","))
    except ValueError as error:
        raise ConfigError("Shares that are none", "--shares", "per cent as 60,20,20", text) from error


def report_of(folder: Path) -> dict[str, Any]:
    """Return the report that lies in the folder of a split."""
    content: dict[str, Any] = json.loads((folder / REPORT).read_text("utf-8"))
    return content


def report_text(report: Mapping[str, Any]) -> str:
    """Return a report as text: rows and flows per tag of each part, and leaks."""
    counts, tags = report["counts"], report["tags"]
    rows = [("tag", *PARTS), ("rows", *(f"{counts.get(f'rows.{part}', 0):,}" for part in PARTS))]
    rows += [(tag, *(f"{tags[part][tag]:,}" for part in PARTS)) for tag in tags[PARTS[0]]]
    lines = [*aligned(rows), f"dropped in the gaps: {counts['dropped.gap']:,}"]
    for name, shared in report["leaks"].items():
        lines.append(f"{name.replace('_', ' ')}: {', '.join(f'{two} {n:,}' for two, n in shared.items()) or 'none'}")
    return "\n".join(lines)
