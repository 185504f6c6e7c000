"""Captures to feature tables."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from features.errors import CaptureError, InputError
from features.schema import arrow_schema
from features.table import open_table
from pipeline.ingest import captures_in, ingest, silence_explained, table_name
from pipeline.settings import MeterSection, Settings
from tests.pipeline.conftest import World
from tests.pipeline.small_captures import ARP_REQUEST, HEADER, records, write_capture


def test_packets_are_conserved(world: World) -> None:
    """Every packet of the file is in a flow or skipped by name, and every flow is a row."""
    for name, result in world.flows.items():
        counts = result.counts
        packets = sum(1 for _ in records((world.captures / f"{name}.pcap").read_bytes()))
        skipped = sum(value for key, value in counts.items() if key.startswith("skipped."))
        assert counts["packets_read"] == packets == counts["packets_metered"] + skipped
        assert counts["flows"] == result.rows == pq.read_metadata(result.path).num_rows


def test_a_table_of_this_schema(world: World) -> None:
    """The artifact is a feature table of this version, named after its capture."""
    result = world.flows["demo-score"]
    assert result.path == world.settings.state.root / "features" / "demo-score.parquet"
    with open_table(result.path) as table:
        assert table.schema_arrow.equals(arrow_schema())


def test_second_time_it_is_used_again(world: World) -> None:
    """The same capture and settings give the finished table, other timeouts a new one."""
    capture = world.captures / "demo-score.pcap"
    assert ingest(capture, world.settings) == replace(world.flows["demo-score"], reused=True)


def test_other_settings_make_another_table(small: Path, settings: Settings) -> None:
    """A shorter timeout cuts flows, so the table is made anew and has more rows."""
    capture = small / "demo-score.pcap"
    first = ingest(capture, settings)
    shorter = settings.model_copy(update={"meter": MeterSection(idle_timeout_s=1.0)})
    second = ingest(capture, shorter)
    assert not second.reused
    assert second.rows > first.rows


def test_a_folder_is_one_capture_in_order_of_names(small: Path, tmp_path: Path, settings: Settings) -> None:
    """A capture cut into files gives the same flows as the whole; file 10 comes after file 9."""
    raw = (small / "demo-score.pcap").read_bytes()
    starts = [start for start, _ in records(raw)]
    folder = tmp_path / "rotated"
    folder.mkdir()
    for number, (start, end) in enumerate(pairwise([*starts[::3000], len(raw)])):
        (folder / f"part.pcap{number}").write_bytes(HEADER + raw[start:end])
    (folder / "notes.txt").write_text("no capture")
    assert len(captures_in(folder)) > 10
    whole, cut = ingest(small / "demo-score.pcap", settings), ingest(folder, settings)
    ids = [sorted(pc.unique(pq.read_table(one.path)["community_id"]).to_pylist()) for one in (whole, cut)]
    assert (cut.rows, ids[1]) == (whole.rows, ids[0])


def test_a_capture_without_ip_is_an_empty_table_that_says_why(tmp_path: Path, settings: Settings) -> None:
    """Three ARP packets give a typed table without rows, and the counts explain it."""
    result = ingest(write_capture(tmp_path / "arp.pcap", [ARP_REQUEST] * 3), settings)
    assert result.rows == 0
    assert pq.read_table(result.path).schema.equals(arrow_schema())
    assert silence_explained(result.counts) == "none of 3 packets is IP: 3 not_ip"


def test_a_capture_without_packets_says_so(tmp_path: Path, settings: Settings) -> None:
    """A capture that holds its header alone gives no rows either."""
    result = ingest(write_capture(tmp_path / "empty.pcap", []), settings)
    assert (result.rows, silence_explained(result.counts)) == (0, "the capture holds no packets")


@pytest.mark.parametrize(
    ("content", "word"),
    [(b"", "empty"), (b"some text, no capture\n", "not a capture"), (None, "cannot be opened")],
)
def test_wrong_files_leave_everything_as_it_was(
    tmp_path: Path, settings: Settings, content: bytes | None, word: str
) -> None:
    """A missing, empty or foreign file is an error, and not even the state folder is made."""
    path = tmp_path / "wrong.pcap"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CaptureError, match=word):
        ingest(path, settings)
    assert not settings.state.root.exists()


def test_a_damaged_capture_leaves_the_earlier_table(small: Path, tmp_path: Path, settings: Settings) -> None:
    """When a capture turns out to be damaged, the table of its earlier content is still there and intact."""
    path = tmp_path / "demo-score.pcap"
    raw = (small / "demo-score.pcap").read_bytes()
    path.write_bytes(raw)
    first = ingest(path, settings)
    after_500 = list(records(raw))[500][0]
    path.write_bytes(raw[:after_500] + b"\xff" * 64)
    with pytest.raises(CaptureError):
        ingest(path, settings)
    path.write_bytes(raw)
    assert ingest(path, settings) == replace(first, reused=True)


def test_a_folder_without_captures(tmp_path: Path) -> None:
    """A folder in which nothing is named like a capture is an input error."""
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(InputError, match="without captures"):
        captures_in(tmp_path)


@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("demo-train.pcap.zst", "demo-train"),
        ("x.y.pcapng", "x.y"),
        ("trace.pcap12.gz", "trace"),
        ("folder", "folder"),
        ("table.parquet", "table"),
    ],
)
def test_names(name: str, table: str) -> None:
    """A table is called like its capture without what says how it is stored."""
    assert table_name(Path("somewhere") / name) == table
