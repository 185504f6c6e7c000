"""What a command shows while it works."""

import logging

import pytest

from flows import display
from pipeline.progress import PROGRESS, SENTENCES, Step, advance, say


def test_plain_lines_where_nobody_watches(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Off a terminal, sentences are lines behind the seconds, steps are lines now and then, and all of it is stderr."""
    monkeypatch.setattr(display, "PLAIN_EVERY_S", 0.0)
    with display.shown():
        say("12 packets became 3 flows [x]")
        advance(Step("metering x", 2, None, "flows"))
        advance(Step("metering x", 3, 3, "flows"))
    written = capsys.readouterr()
    assert written.out == ""
    assert written.err.splitlines() == ["   0 s  12 packets became 3 flows [x]", "        metering x: 2 flows"]


def test_names_cannot_control_the_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """What a table or a rule is called is shown with escapes, on a terminal and off it."""
    for terminal in ("", "1"):
        monkeypatch.setenv("FORCE_COLOR", terminal)
        monkeypatch.setattr(display, "PLAIN_EVERY_S", 0.0)
        with display.shown():
            say("rule \x1b]0;owned\x07 matches nothing")
            advance(Step("scoring \x1b[2J", 2, None, "flows"))
        written = capsys.readouterr().err
        assert r"rule \x1b]0;owned\x07 matches" in written
        assert r"scoring \x1b[2J: 2 flows" in written
        assert "\x1b]0;" not in written


def test_steps_are_rare_off_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """A step just after the beginning is not worth a line."""
    with display.shown():
        advance(Step("metering x", 2, None, "flows"))
    assert capsys.readouterr().err == ""


def test_a_bar_on_a_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal the work in hand has a bar with its numbers, and sentences stand above it."""
    for name, value in {"FORCE_COLOR": "1", "COLUMNS": "120", "TERM": "xterm"}.items():
        monkeypatch.setenv(name, value)
    with display.shown():
        advance(Step("training", 3, 40, "epochs"))
        say("a sentence")
        advance(Step("training", 40, 40, "epochs"))
        advance(Step("metering a[/b].pcap", 1, None, "flows"))
    written = capsys.readouterr().err
    assert "training: 3 of 40 epochs" in written
    assert "metering a[/b].pcap: 1 flows" in written
    assert "a sentence" in written


def test_loggers_are_as_before() -> None:
    """Afterwards nobody listens any more."""
    before = [(logging.getLogger(name).handlers[:], logging.getLogger(name).level) for name in (SENTENCES, PROGRESS)]
    with display.shown():
        pass
    after = [(logging.getLogger(name).handlers, logging.getLogger(name).level) for name in (SENTENCES, PROGRESS)]
    assert after == before
