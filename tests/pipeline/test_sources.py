"""What users name, looked at before anything is started."""

import os
import shutil
from pathlib import Path

import pytest

from features.errors import CaptureError, InputError, LabelError, SchemaError
from pipeline.settings import Settings
from pipeline.sources import check, check_apart, check_labelled, check_truth, demo_captures, rules_beside
from tests.pipeline.conftest import World


def test_the_demo_finds_its_captures(small: Path, settings: Settings) -> None:
    """The three captures are found by name, however they are stored, each with rules beside it."""
    found = demo_captures(small, settings)
    assert [path.name for path in (found.train, found.valid, found.score)] == [
        "demo-train.pcap",
        "demo-valid.pcap",
        "demo-score.pcap",
    ]


def test_a_demo_capture_is_missing(small: Path, tmp_path: Path, settings: Settings) -> None:
    """A missing capture, and a missing folder, are named."""
    shutil.copytree(small, tmp_path / "two")
    (tmp_path / "two" / "demo-valid.pcap").unlink()
    with pytest.raises(InputError, match="demo-valid"):
        demo_captures(tmp_path / "two", settings)
    with pytest.raises(InputError, match="no such folder"):
        demo_captures(tmp_path / "none", settings)


def test_rules_lie_beside_their_capture(small: Path, tmp_path: Path) -> None:
    """NAME.rules.csv belongs to NAME.pcap, NAME.pcap.zst and NAME.pcap3."""
    for name in ("demo-score.pcap", "demo-score.pcap.zst", "demo-score.pcap3"):
        assert rules_beside(small / name) == small / "demo-score.rules.csv"
    assert rules_beside(tmp_path / "other.pcap") is None
    long = tmp_path / f"{'x' * 240}.rules.csv"
    long.touch()
    assert rules_beside(tmp_path / f"{'x' * 240}.pcap") == long


def test_two_sources_of_one_name_are_refused(tmp_path: Path) -> None:
    """Two days' conn.log would make the same table; the same source twice, and two tables, are no matter."""
    with pytest.raises(InputError, match="called the same"):
        check_apart([tmp_path / "monday" / "conn.log", tmp_path / "tuesday" / "conn.log"])
    check_apart([tmp_path / "conn.log", tmp_path / "conn.log", tmp_path / "dns.log"])
    check_apart([tmp_path / "train" / "x.parquet", tmp_path / "valid" / "x.parquet"])


def test_checks_pass_what_is_right(world: World) -> None:
    """Captures, feature tables, labelled tables and rules of the demo pass."""
    check(world.captures / "demo-score.pcap", world.settings)
    check(world.flows["demo-score"].path, world.settings)
    check_labelled(world.captures / "demo-score.pcap", world.settings)
    check_labelled(world.labelled["demo-score"].path, world.settings)
    check_truth(world.captures / "demo-score.rules.csv", world.settings)


def test_checks_refuse_what_is_wrong(world: World, tmp_path: Path, settings: Settings) -> None:
    """Missing files, folders without captures, unlabelled sources are refused, each by its own error."""
    with pytest.raises(CaptureError, match="cannot be opened"):
        check(tmp_path / "none.pcap", settings)
    with pytest.raises(SchemaError, match="No such feature table"):
        check(tmp_path / "none.parquet", settings)
    with pytest.raises(InputError, match="without captures"):
        check(tmp_path, settings)
    with pytest.raises(SchemaError, match="no labels"):
        check_labelled(world.flows["demo-score"].path, settings)
    shutil.copy(world.captures / "demo-score.pcap", tmp_path)
    with pytest.raises(LabelError, match=r"demo-score\.rules\.csv beside it"):
        check_labelled(tmp_path / "demo-score.pcap", settings)


def test_a_name_that_is_no_text_is_refused(tmp_path: Path, settings: Settings) -> None:
    """A file called by bytes that are no UTF-8 ends in one clear error, before a job is told of it."""
    path = tmp_path / os.fsdecode(b"caf\xe9.pcap")
    path.write_bytes(b"")
    with pytest.raises(InputError, match="UTF-8"):
        check(path, settings)
