"""The fuzzing of flow records on one small log: what it changes and what it counts."""

import random
from pathlib import Path

import pytest

from benchmarks.fuzz_records import Tally, campaign, changed, heads, read, section
from features.records.settings import RecordSettings
from tests.pipeline.zeek_logs import zeek_log


@pytest.fixture
def sources(tmp_path: Path) -> list[bytes]:
    """The beginning of a log of 40 connections; a file of no known kind is left out."""
    (tmp_path / "conn.log").write_text(zeek_log(40))
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    return heads(tmp_path)


def test_campaign(sources: list[bytes]) -> None:
    """Every changed file is refused, or its rows are flows and rejects; the page says how many."""
    tally = campaign(sources, 60, seed=1)
    assert len(sources) == 1
    assert tally.files == 60
    assert 0 < tally.rows["rows_out"] < tally.rows["rows_read"]
    assert f"| 60 | {tally.refused.total()} | {tally.rows['rows_read']:,} |" in section(tally, 1, 60, 1)


def test_changed(sources: list[bytes]) -> None:
    """The same seed makes the same change, and most files are others than before."""
    first, again = (
        [changed(sources[0], chance) for _ in range(30)]
        for chance in (random.Random(1), random.Random(1))  # noqa: S311 (nothing secret)
    )
    assert first == again
    assert sum(one != sources[0] for one in first) > 25


def test_a_refusal_is_counted(tmp_path: Path) -> None:
    """A file of no known kind is counted under what its error says."""
    (tmp_path / "bad").write_text("nothing known\n")
    read(tmp_path / "bad", RecordSettings(), tally := Tally(), "here")
    assert tally.refused == {"No flow records of a known kind": 1}
