"""Captures that grow, run after run."""

import shutil
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.errors import InputError
from pipeline.ingest import ingest
from pipeline.settings import IngestSection, MeterSection, Settings
from tests.pipeline.small_captures import HEADER, records
from tests.pipeline.zeek_logs import zeek_log


@pytest.fixture
def keeping(settings: Settings) -> Settings:
    state = settings.state.model_copy(update={"keep": True})
    return settings.model_copy(update={"state": state, "meter": MeterSection(idle_timeout_s=5.0)})


@pytest.fixture
def pieces(small: Path) -> list[bytes]:
    """A capture in four files."""
    raw = (small / "demo-score.pcap").read_bytes()
    starts = [start for start, _ in records(raw)]
    cuts = [24, *(starts[len(starts) * part // 4] for part in (1, 2, 3)), len(raw)]
    return [HEADER + raw[a:b] for a, b in pairwise(cuts)]


def test_each_run_adds_its_flows(pieces: list[bytes], tmp_path: Path, keeping: Settings) -> None:
    """Runs over a folder that fills have packets and flows once each: those of one run over all, but the last ones."""
    folder = tmp_path / "live"
    folder.mkdir()
    made = []
    for number, piece in enumerate(pieces):
        (folder / f"{number}.pcap").write_bytes(piece)
        made.append(ingest(folder, keeping))
    assert [one.path.name for one in made] == [f"live-{number:06}.parquet" for number in (1, 2, 3, 4)]
    rows = pa.concat_tables([pq.read_table(one.path) for one in made])
    once = settings_without_keep(keeping)
    whole = pq.read_table(ingest(folder, once).path)
    assert len(rows) > len(whole) // 2
    assert rows.drop_columns("capture").equals(whole.slice(0, len(rows)).drop_columns("capture"))
    assert sum(one.counts["packets_read"] for one in made) == ingest(folder, once).counts["packets_read"]


def settings_without_keep(settings: Settings) -> Settings:
    return settings.model_copy(update={"state": settings.state.model_copy(update={"keep": False})})


def test_a_killed_run_is_made_again(pieces: list[bytes], tmp_path: Path, keeping: Settings) -> None:
    """A run whose folder did not come into place has never been: the next one gives what it would have given."""
    folder = tmp_path / "live"
    folder.mkdir()
    (folder / "0.pcap").write_bytes(pieces[0])
    ingest(folder, keeping)
    (folder / "1.pcap").write_bytes(pieces[1])
    second = ingest(folder, keeping)
    expected = pq.read_table(second.path)
    shutil.rmtree(second.path.parent)
    assert pq.read_table(ingest(folder, keeping).path).equals(expected)


def test_without_new_packets_the_last_run_stands(pieces: list[bytes], tmp_path: Path, keeping: Settings) -> None:
    """A run that finds nothing new makes nothing, and answers with the last one."""
    capture = tmp_path / "live.pcap"
    capture.write_bytes(pieces[0])
    first = ingest(capture, keeping)
    again = ingest(capture, keeping)
    assert (again.path, again.digest, again.rows, again.reused) == (first.path, first.digest, first.rows, True)
    assert again.counts == first.counts


def test_other_settings_are_refused(pieces: list[bytes], tmp_path: Path, keeping: Settings) -> None:
    """Flows that were begun under one timeout are not ended under another."""
    capture = tmp_path / "live.pcap"
    capture.write_bytes(pieces[0])
    ingest(capture, keeping)
    with pytest.raises(InputError, match="does not fit these settings"):
        ingest(capture, keeping.model_copy(update={"meter": MeterSection()}))
    with pytest.raises(InputError, match="does not fit these settings"):
        ingest(capture, keeping.model_copy(update={"ingest": IngestSection(context=False)}))


def test_runs_without_context_add_up_too(pieces: list[bytes], tmp_path: Path, keeping: Settings) -> None:
    """Runs that leave the neighbours out give the rows of one run over all that leaves them out."""
    folder, alone = tmp_path / "live", keeping.model_copy(update={"ingest": IngestSection(context=False)})
    folder.mkdir()
    made = []
    for number, piece in enumerate(pieces):
        (folder / f"{number}.pcap").write_bytes(piece)
        made.append(ingest(folder, alone))
    rows = pa.concat_tables([pq.read_table(one.path) for one in made])
    whole = pq.read_table(ingest(folder, settings_without_keep(alone)).path)
    assert len(rows) > len(whole) // 2
    assert rows.drop_columns("capture").equals(whole.slice(0, len(rows)).drop_columns("capture"))


def test_records_cannot_be_gone_on_with(tmp_path: Path, keeping: Settings) -> None:
    """State is kept of captures alone."""
    (tmp_path / "conn.log").write_text(zeek_log(3))
    with pytest.raises(InputError, match="only captures"):
        ingest(tmp_path / "conn.log", keeping)
