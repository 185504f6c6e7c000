"""Pipes as files."""

import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from features.errors import InputError
from pipeline.received import received
from pipeline.settings import Settings
from pipeline.traffic import look_at


@pytest.fixture
def piped(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Standard input that holds five bytes."""
    reading, writing = os.pipe()
    os.write(writing, b"bytes")
    os.close(writing)
    with os.fdopen(reading) as stream:
        monkeypatch.setattr(sys, "stdin", stream)
        yield Path("-")


def test_standard_input_is_a_file_for_a_while(piped: Path, settings: Settings) -> None:
    """What is piped in lies in the state folder until the block ends."""
    with received([piped], settings) as (file,):
        assert (file.name, file.read_bytes()) == ("stdin", b"bytes")
        assert file.is_relative_to(settings.state.root)
    assert not file.exists()


def test_standard_input_is_called_as_asked(piped: Path, settings: Settings) -> None:
    """A name given becomes the file's, and so its tables'."""
    with received([piped], settings, "monday.pcap") as (file,):
        assert (file.name, file.read_bytes()) == ("monday.pcap", b"bytes")


@pytest.mark.parametrize("name", ["", ".hidden", "a/b", "..", "a*"])
def test_a_name_is_a_plain_one(piped: Path, settings: Settings, name: str) -> None:
    """What is no file name in the state folder, or would be a pattern, is refused before anything is read."""
    with pytest.raises(InputError, match="cannot be called"), received([piped], settings, name):
        pass


def test_a_name_is_for_standard_input(tmp_path: Path, settings: Settings) -> None:
    """A name without standard input among the sources is refused."""
    with pytest.raises(InputError, match="no source"), received([tmp_path / "a.pcap"], settings, "monday"):
        pass


def test_errors_name_the_pipe(piped: Path, settings: Settings) -> None:
    """What is wrong with the content is told of standard input, not of a file that will be gone."""
    with pytest.raises(InputError, match="where: standard input\n"), received([piped], settings) as (file,):
        look_at(file, settings)


def test_a_named_pipe_keeps_its_name(tmp_path: Path, settings: Settings) -> None:
    """A named pipe is read to its end under its own name, beside files that stay as they are."""
    pipe, plain = tmp_path / "live.pcap", tmp_path / "plain.pcap"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(b"packets",))
    writer.start()
    with received([pipe, plain], settings) as (file, other):
        assert (file.name, file.read_bytes(), other) == ("live.pcap", b"packets", plain)
    writer.join()


def test_standard_input_comes_once(piped: Path, settings: Settings) -> None:
    """It cannot be two sources."""
    with pytest.raises(InputError, match="once"), received([piped, piped], settings):
        pass


def test_files_leave_no_trace(tmp_path: Path, settings: Settings) -> None:
    """Without a pipe nothing is made."""
    with received([tmp_path / "a.pcap"], settings) as sources:
        assert sources == [tmp_path / "a.pcap"]
    assert not settings.state.root.exists()
