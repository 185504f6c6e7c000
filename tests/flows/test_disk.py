"""Disks that are full, folders that cannot be written."""

from pathlib import Path

import pytest

from features.errors import StorageError
from flows import disk
from flows.disk import require_room
from flows.session import watched
from pipeline.settings import Settings


def test_a_state_folder_is_made(tmp_path: Path) -> None:
    """A folder that is not there yet is made, and nothing is left in it."""
    require_room(tmp_path / "a" / "b")
    assert list((tmp_path / "a" / "b").iterdir()) == []


def test_a_state_folder_that_is_a_file(tmp_path: Path) -> None:
    """A file where the folder should be is named, and stays as it was."""
    file = tmp_path / "state"
    file.write_text("mine")
    with pytest.raises(StorageError, match="cannot be written"):
        require_room(file)
    assert file.read_text() == "mine"


def test_a_disk_with_little_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too little room is told before anything begins."""
    monkeypatch.setattr(disk, "LEAST_FREE_BYTES", 1 << 62)
    with pytest.raises(StorageError, match="too little room"):
        require_room(tmp_path)


def test_a_disk_that_fills_up() -> None:
    """The system's error for a full disk becomes one of ours, which says how to go on."""
    with pytest.raises(StorageError, match="start the same command again"), watched(Settings()):
        Path("/dev/full").write_bytes(b"x")


def test_other_errors_stay() -> None:
    """An error that no disk is to blame for is not made one."""
    with pytest.raises(FileNotFoundError), watched(Settings()):
        Path("/nowhere/at/all").read_bytes()
