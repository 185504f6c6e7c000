"""Labelled tables to parts."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.errors import ConfigError, FlowtagError, LabelError, SchemaError
from features.labels.labeller import with_labels
from features.labels.vocabulary import read_vocabulary
from features.schema import labelled_schema
from features.table import write_table
from pipeline.settings import Settings
from pipeline.split import SplitChoice, parsed_shares, report_of, report_text, split
from tests.features.labels.labelled_flows import flows

SECOND = 10**9
ROWS = 100


def rows(count: int = ROWS) -> list[dict[str, Any]]:
    """One flow a second of two seconds each, ten hosts, two captures; every flow has features of its own."""
    return [
        {
            "flow_id": at, "capture": f"day {at % 2}", "src_ip": f"10.0.0.{at % 10}", "dst_ip": f"10.1.0.{at}",
            "start": (1000 + at) * SECOND, "end": (1002 + at) * SECOND, "fwd_packets": at,
        }
        for at in range(count)
    ]  # fmt: skip


def labelled(path: Path, given: list[dict[str, Any]], **metadata: str) -> Path:
    """Write a labelled table in which every fifth flow is an attack."""
    batch = with_labels(
        flows(*given), [((), ()), (("impact",), ("rule",))], pa.array([int(at % 5 == 0) for at in range(len(given))])
    )
    schema = labelled_schema()
    write_table([batch], path, schema.with_metadata({**schema.metadata, **read_vocabulary().metadata(), **metadata}))
    return path


def parts_of(folder: Path) -> dict[str, list[dict[str, Any]]]:
    return {path.stem: pq.read_table(path).to_pylist() for path in sorted(folder.glob("*.parquet"))}


@pytest.mark.parametrize("by", ["time", "host", "row"])
def test_every_row_is_in_one_part_or_dropped_by_name(tmp_path: Path, settings: Settings, by: str) -> None:
    """Rows in are rows of the parts and named drops, and each row is what it was."""
    table = labelled(tmp_path / "table.parquet", rows())
    made = split([table], SplitChoice(by, gap_s=3), settings)
    found = {row["flow_id"]: row for part in parts_of(made.path).values() for row in part}
    assert sum(len(part) for part in parts_of(made.path).values()) == len(found)
    assert len(found) + made.counts["dropped.gap"] == made.counts["rows_read"] == ROWS
    original = {row["flow_id"]: row for row in pq.read_table(table).to_pylist()}
    assert all(row == original[number] for number, row in found.items())
    assert split([table], SplitChoice(by, gap_s=3), settings).reused


def test_weights_go_with_their_rows(tmp_path: Path, settings: Settings) -> None:
    """A column weight is kept, and rows of a table that has none weigh 1."""
    plain = labelled(tmp_path / "plain.parquet", rows())
    weighed = tmp_path / "weighed.parquet"
    table = pq.read_table(plain)
    pq.write_table(table.append_column("weight", pa.array([at / 2 for at in range(ROWS)])), weighed)
    parts = parts_of(split([plain, weighed], SplitChoice("row"), settings).path)
    found = sorted((row["flow_id"], row["weight"]) for part in parts.values() for row in part)
    assert found == sorted([(at, 1.0) for at in range(ROWS)] + [(at, at / 2) for at in range(ROWS)])


def test_by_time_no_flow_reaches_over_a_cut(tmp_path: Path, settings: Settings) -> None:
    """The parts follow each other, with at least the gap between the cut before and the first start behind it."""
    made = split([labelled(tmp_path / "table.parquet", rows())], SplitChoice("time", gap_s=5), settings)
    parts = parts_of(made.path)
    spans = [(min(r["start"] for r in parts[p]), max(r["end"] for r in parts[p])) for p in ("train", "valid", "test")]
    for (_, end), (start, _) in pairwise(spans):
        assert (start - end).total_seconds() >= 5
    assert made.counts["dropped.gap"] == 2 * (5 + 2)  # five seconds of starts behind each cut, two flows across it


def test_by_host_and_capture_nothing_is_on_two_sides(tmp_path: Path, settings: Settings) -> None:
    """No source is in two parts; with two captures and two parts each has its own, with three parts it is refused."""
    table = labelled(tmp_path / "table.parquet", rows())
    hosts = [
        {row["src_ip"] for row in part}
        for part in parts_of(split([table], SplitChoice("host"), settings).path).values()
    ]
    assert len(hosts) == 3
    assert sum(map(len, hosts)) == len(set().union(*hosts)) == 10
    halves = split([table], SplitChoice("capture", (0.5, 0.0, 0.5)), settings)
    assert [{row["capture"] for row in part} for part in parts_of(halves.path).values()] in (
        [{"day 0"}, {"day 1"}], [{"day 1"}, {"day 0"}],
    )  # fmt: skip
    with pytest.raises(LabelError, match="Fewer captures than parts"):
        split([table], SplitChoice("capture"), settings)


def test_leaks_are_reported(tmp_path: Path, settings: Settings) -> None:
    """Equal feature rows in two parts are counted, as are hosts that are in both."""
    given = rows()
    for at in (97, 98, 99):
        given[at] |= {"fwd_packets": 3, "dst_ip": "10.1.0.3"}
    made = split([labelled(tmp_path / "table.parquet", given)], SplitChoice("time", gap_s=0), settings)
    report = report_of(made.path)
    assert report["leaks"]["equal_feature_rows"]["train and test"] == 3
    assert report["leaks"]["hosts_on_both_sides"]["train and test"] == 11  # ten sources and one target
    assert report["leaks"]["identity_columns_in_features"] == {}
    assert "train and test 3" in report_text(report)
    assert json.loads((made.path / "split.json").read_text("utf-8")) == report


@pytest.mark.parametrize(
    ("wrong", "error", "word"),
    [
        (lambda: SplitChoice("week"), ConfigError, "capture, time, host, row"),
        (lambda: SplitChoice(shares=(0.5, 0.2, 0.2)), ConfigError, "sum to 100"),
        (lambda: SplitChoice(shares=(0.5, 0.5)), ConfigError, "sum to 100"),
        (lambda: SplitChoice(gap_s=-1), ConfigError, "gap"),
        (lambda: SplitChoice(gap_s=float("nan")), ConfigError, "gap"),
        (lambda: parsed_shares("60;20;20"), ConfigError, "60,20,20"),
    ],
)
def test_a_choice_that_cannot_be(wrong: Any, error: type[FlowtagError], word: str) -> None:
    """What makes no sense is refused before anything is read."""
    with pytest.raises(error, match=word):
        wrong()


def test_tables_that_cannot_be_split(tmp_path: Path, settings: Settings) -> None:
    """Tables of two vocabularies, without labels, without rows, or without times by time end in one error."""
    one = labelled(tmp_path / "one.parquet", rows())
    other = labelled(tmp_path / "other.parquet", rows(), **{"flowtag.tags": "impact,mine"})
    with pytest.raises(LabelError, match="different vocabularies"):
        split([one, other], SplitChoice("time"), settings)
    empty = tmp_path / "empty.parquet"
    pq.write_table(pq.read_table(one).slice(0, 0), empty)
    with pytest.raises(LabelError, match="no flows to split"):
        split([empty], SplitChoice("capture"), settings)
    timeless = labelled(tmp_path / "timeless.parquet", [{**row, "start": None} for row in rows()])
    with pytest.raises(SchemaError, match="without a time"):
        split([timeless], SplitChoice("time"), settings)
    assert not list((settings.state.root / "split").glob("*.parquet"))


def test_truths_that_speak_of_different_tags_are_not_mixed(tmp_path: Path, settings: Settings) -> None:
    """A part could not say of which of its flows a tag is unknown; one table keeps what its truth can speak of."""
    told = {"flowtag.tags_known": "impact,dos"}
    one = labelled(tmp_path / "one.parquet", rows(), **told)
    other = labelled(tmp_path / "other.parquet", rows())
    with pytest.raises(LabelError, match="speak of different tags"):
        split([one, other], SplitChoice("row"), settings)
    made = split([one], SplitChoice("row"), settings)
    assert pq.read_schema(made.path / "train.parquet").metadata[b"flowtag.tags_known"] == b"impact,dos"
