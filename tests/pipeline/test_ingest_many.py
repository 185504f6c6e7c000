"""Several sources side by side: as if one came after the other, and nothing left behind whatever ends them."""

import logging
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import TypeVar

import psutil
import pytest

from features.errors import CaptureError, ServiceError
from pipeline.config import load
from pipeline.ingest import ingest
from pipeline.ingest_many import side_by_side
from pipeline.progress import PROGRESS, SENTENCES
from pipeline.settings import IngestSection, Settings
from tests.pipeline.small_captures import CAPTURES, records
from tests.pipeline.zeek_logs import zeek_log

LONGEST = CAPTURES / "demo-train.pcap.zst"
SIDE_BY_SIDE = """
import sys
from pathlib import Path
from pipeline.config import load
from pipeline.ingest_many import side_by_side

state, *sources = sys.argv[1:]
settings = load(overrides=["ingest.processes=2", f"state.folder={state}"], environment={}).settings
with side_by_side([Path(source) for source in sources], settings) as ahead:
    for source in sources:
        ahead(Path(source))
"""
T = TypeVar("T")


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Settings under which two sources are ingested at once, however small."""
    return settings.model_copy(update={"ingest": IngestSection(processes=2)})


@pytest.fixture
def heard() -> Iterator[list[str]]:
    """The sentences and steps of the test, steps by their work."""
    said: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(getattr(record.__dict__.get("step"), "work", record.getMessage()))  # type: ignore[method-assign]
    for name in (SENTENCES, PROGRESS):
        logging.getLogger(name).setLevel(logging.INFO)
        logging.getLogger(name).addHandler(handler)
    yield said
    for name in (SENTENCES, PROGRESS):
        logging.getLogger(name).removeHandler(handler)


def processes() -> list[psutil.Process]:
    """Return the processes that ingest for this one."""
    children = psutil.Process().children(recursive=True)
    return [one for one in children if "multiprocessing.spawn" in " ".join(one.cmdline())]


def unfinished(state: Path) -> list[Path]:
    """Return what a stage was writing."""
    return [path for path in state.rglob("*") if ".part" in path.name]


def damaged(capture: Path, target: Path) -> Path:
    """Write a capture of which the record in the middle claims more bytes than a record can have."""
    raw = bytearray(capture.read_bytes())
    starts = [start for start, _ in records(bytes(raw))]
    middle = starts[len(starts) // 2]
    raw[middle + 8 : middle + 12] = b"\xff" * 4
    target.write_bytes(raw)
    return target


def wait_for(condition: Callable[[], list[T]]) -> list[T]:
    """Return what there is, as soon as there is something."""
    for _ in range(2000):
        if found := condition():
            return found
        time.sleep(0.03)
    raise TimeoutError


def test_as_if_one_came_after_the_other(small: Path, tmp_path: Path, settings: Settings, heard: list[str]) -> None:
    """Results, tables and manifests are those of one process, and so is what is said, in this order."""
    sources = [small / f"{name}.pcap" for name in ("demo-train", "demo-score", "demo-valid")]
    sources.append(tmp_path / "conn.log")
    sources[-1].write_text(zeek_log(30))
    alone = load(overrides=[f"state.folder={tmp_path / 'alone'}"], environment={}).settings
    one_by_one = [ingest(source, alone) for source in sources]
    said = [sentence for sentence, _ in groupby(heard)]
    heard.clear()
    with side_by_side(sources, settings) as ahead:
        made = [ahead(source) for source in sources]
        assert len(processes()) == 2
    assert [sentence for sentence, _ in groupby(heard)] == said
    for ours, theirs in zip(made, one_by_one, strict=True):
        assert replace(ours, path=theirs.path) == theirs
        manifests = [one.path.with_name(f"{one.path.name}.manifest.json") for one in (ours, theirs)]
        assert manifests[0].read_text() == manifests[1].read_text()
    assert not processes()


def test_a_bad_one_keeps_the_others(small: Path, tmp_path: Path, settings: Settings) -> None:
    """The error is the bad capture's own, of a source named twice too; what was finished is used again afterwards."""
    good, bad = small / "demo-score.pcap", damaged(small / "demo-valid.pcap", tmp_path / "bad.pcap")
    with pytest.raises(CaptureError, match=r"bad\.pcap, byte \d+"), side_by_side([good, bad], settings) as ahead:
        assert not ahead(good).reused
        assert ahead(good).reused
        ahead(bad)
    assert not processes()
    assert not unfinished(settings.state.root)
    assert ingest(good, settings).reused


def test_an_interruption_leaves_nothing(settings: Settings) -> None:
    """Ctrl-C while two sources are written: no process and nothing half-written is left."""
    with pytest.raises(KeyboardInterrupt), side_by_side([CAPTURES, LONGEST], settings):
        wait_for(lambda: unfinished(settings.state.root))
        raise KeyboardInterrupt
    assert not processes()
    assert not unfinished(settings.state.root)


def test_a_killed_process_is_named(settings: Settings) -> None:
    """A process that the system kills is an error that names its source, and what may help."""
    with side_by_side([LONGEST, CAPTURES], settings) as ahead:
        for one in wait_for(processes):
            one.kill()
        with pytest.raises(ServiceError, match=r"killed\n.*demo-train(.*\n)+.*SIGKILL(.*\n)*.*processes=1"):
            ahead(LONGEST)


def test_no_process_outlives_its_parent(tmp_path: Path) -> None:
    """Killed (-9) while it writes two tables, a command leaves no process, and nothing half-written."""
    command = [sys.executable, "-c", SIDE_BY_SIDE, str(tmp_path), str(CAPTURES), str(LONGEST)]
    with subprocess.Popen(command) as parent:  # noqa: S603 (our own command)
        wait_for(lambda: unfinished(tmp_path))
        children = psutil.Process(parent.pid).children(recursive=True)
        parent.kill()
    gone, left = psutil.wait_procs(children, timeout=60)
    assert len(gone) >= 2
    assert not left
    assert not unfinished(tmp_path)


def test_no_process_where_it_does_not_pay(small: Path, settings: Settings) -> None:
    """Small sources, or one alone, are ingested in this process."""
    alone = settings.model_copy(update={"ingest": IngestSection()})
    sources = [small / "demo-score.pcap", small / "demo-valid.pcap"]
    for named, chosen in ((sources, alone), (sources[:1], settings)):
        with side_by_side(named, chosen) as ahead:
            assert ahead(named[0]).rows
            assert not processes()
