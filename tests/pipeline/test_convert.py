"""Converting: the file is whole, the counts agree, and what cannot be done is refused."""

import json
from pathlib import Path

import pytest

from features.errors import InputError
from pipeline.convert import convert
from pipeline.ingest import ingest
from pipeline.settings import Settings


def test_capture_becomes_a_log(small: Path, settings: Settings, tmp_path: Path) -> None:
    """Every flow of a capture is a line of JSON with Zeek's names; rows read are rows written."""
    written = convert(small / "demo-score.pcap", "zeek-json", tmp_path / "conn.json", settings)
    lines = (tmp_path / "conn.json").read_text("utf-8").splitlines()
    assert written.rows == len(lines) == written.counts["rows_read"] == written.counts["rows_written"] > 0
    assert {"ts", "uid", "id.orig_h", "id.resp_h", "proto", "conn_state"} <= json.loads(lines[0]).keys()


@pytest.mark.parametrize(("dialect", "name", "word"), [("zeke", "out", "zeek-json"), ("zeek", "", "folder")])
def test_refused(small: Path, settings: Settings, tmp_path: Path, dialect: str, name: str, word: str) -> None:
    """An unknown dialect and a folder are refused before anything is written."""
    with pytest.raises(InputError, match=word):
        convert(small / "demo-score.pcap", dialect, tmp_path / name, settings)
    assert list(tmp_path.iterdir()) == []


def test_source_is_not_overwritten(small: Path, settings: Settings) -> None:
    """A table is not replaced by what is made of it."""
    table = ingest(small / "demo-score.pcap", settings).path
    with pytest.raises(InputError, match="source itself"):
        convert(table, "zeek", table, settings)
