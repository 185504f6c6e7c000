"""What a command prints."""

import subprocess
import sys
from pathlib import Path

import pytest

from flows.options import show
from tests.flows.running import COMMAND


def test_output_on_a_full_disk() -> None:
    """Output that goes to a full disk is an error of its own, said once."""
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run([*COMMAND, "tags"], stdout=full, stderr=subprocess.PIPE, text=True, check=False)  # noqa: S603 (our own command)
    assert (done.returncode, done.stderr.count("No space left")) == (6, 1)


def test_output_that_nobody_reads(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Where standard output is closed from the start nothing is printed, and nothing fails."""
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", None)
        show("what was found")
    show("again, of \x1b[2Jtable")
    assert capsys.readouterr().out == "again, of \\x1b[2Jtable\n"
