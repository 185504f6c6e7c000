"""What users name as traffic: kinds by content, sets in packet order, names of tables."""

import gzip
import shutil
from pathlib import Path

import pytest

from features.content import Kind
from features.errors import CaptureError, InputError
from pipeline.settings import Settings
from pipeline.traffic import LONGEST_NAME, in_packet_order, look_at, table_name
from tests.pipeline.small_captures import ARP_REQUEST, write_capture
from tests.pipeline.zeek_logs import ENDS, zeek_log


def test_kinds_are_told_by_content(tmp_path: Path, settings: Settings) -> None:
    """A capture called .log is a capture, a conn.log called .pcap, compressed, flow records."""
    capture = write_capture(tmp_path / "capture.log", [ARP_REQUEST])
    records = tmp_path / "records.pcap"
    records.write_bytes(gzip.compress(zeek_log(3).encode()))
    assert look_at(capture, settings).kind is Kind.CAPTURE
    assert look_at(records, settings).kind is Kind.RECORDS


def test_neither_says_both(tmp_path: Path, settings: Settings) -> None:
    """A file of neither kind is refused with what it lacks to be one, and what it begins with."""
    (tmp_path / "letter.txt").write_text("Dear reader,\n")
    with pytest.raises(InputError, match="not a capture, nor flow records") as raised:
        look_at(tmp_path / "letter.txt", settings)
    assert "Dear reader" in str(raised.value)


def test_a_folder_holds_one_kind(tmp_path: Path, settings: Settings) -> None:
    """Captures and flow records in one folder are refused by name; a pattern picks one kind, or nothing."""
    write_capture(tmp_path / "a.pcap", [ARP_REQUEST])
    (tmp_path / "conn.log").write_text(zeek_log(3))
    (tmp_path / "a.rules.csv").write_text("name,tags\n")
    (tmp_path / "notes.txt").write_text("no traffic")
    with pytest.raises(InputError, match=r"captures: a\.pcap; flow records: conn\.log"):
        look_at(tmp_path, settings)
    found = look_at(tmp_path / "*.log", settings)
    assert (found.kind, found.files) == (Kind.RECORDS, (tmp_path / "conn.log",))
    assert look_at(tmp_path / "[an]*", settings).left_out == (tmp_path / "notes.txt",)
    with pytest.raises(InputError, match="pattern without captures or flow records"):
        look_at(tmp_path / "*.pcapng", settings)


def test_a_folder_of_zeek(tmp_path: Path, settings: Settings) -> None:
    """Of a folder of Zeek's the connections are the flows, the logs that are joined go with them, the rest is left out.

    dns.log and notice.log have addresses and a protocol too: they are no connections for it.
    """
    ends = "\t".join(["#fields", *ENDS])
    (tmp_path / "conn.log").write_text(zeek_log(3))
    (tmp_path / "dns.log").write_text(f"{ends}\ttrans_id\tquery\n")
    (tmp_path / "notice.log").write_text(f"{ends}\tnote\tmsg\n")
    (tmp_path / "ssl.log").write_bytes(b"")
    found = look_at(tmp_path, settings)
    assert (found.kind, found.files, found.joined) == (Kind.RECORDS, (tmp_path / "conn.log",), (tmp_path / "dns.log",))
    assert found.left_out == (tmp_path / "notice.log", tmp_path / "ssl.log")
    with pytest.raises(InputError, match="not of connections"):
        look_at(tmp_path / "notice.log", settings)


def test_an_empty_folder(tmp_path: Path, settings: Settings) -> None:
    """A folder in which nothing is traffic is an input error; a file that is still empty is left out."""
    (tmp_path / "begun.pcap").write_bytes(b"")
    with pytest.raises(InputError, match="folder without captures"):
        look_at(tmp_path, settings)


def test_a_damaged_capture_in_a_folder_is_named(tmp_path: Path, settings: Settings) -> None:
    """What is named as a capture among captures must be one."""
    write_capture(tmp_path / "a.pcap", [ARP_REQUEST])
    (tmp_path / "b.pcap").write_bytes(b"\x00" * 100)
    with pytest.raises(InputError, match=r"b\.pcap"):
        look_at(tmp_path, settings)


def test_a_ring_buffer_is_read_in_packet_order(tmp_path: Path) -> None:
    """A ring of tcpdump -W begins again at its first name: files come by their first packet, ties by number."""
    whole = write_capture(tmp_path / "whole", [ARP_REQUEST] * 12).read_bytes()
    size = (len(whole) - 24) // 12
    for name, first in (("ring2", 0), ("ring10", 4), ("ring1", 8)):
        (tmp_path / name).write_bytes(whole[:24] + whole[24 + first * size :][: 4 * size])
    shutil.copy(tmp_path / "ring10", tmp_path / "ring9")
    (tmp_path / "ring0").write_bytes(whole[:24])
    ordered = in_packet_order(tmp_path / f"ring{n}" for n in (10, 9, 2, 1, 0))
    assert [path.name for path in ordered] == ["ring0", "ring2", "ring9", "ring10", "ring1"]


def test_a_missing_file(tmp_path: Path, settings: Settings) -> None:
    """A path without a file is an error whatever its name."""
    for name in ("none.pcap", "none.log"):
        with pytest.raises(CaptureError, match="cannot be opened"):
            look_at(tmp_path / name, settings)


@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("demo-train.pcap.zst", "demo-train"),
        ("x.y.pcapng", "x.y"),
        ("trace.pcap12.gz", "trace"),
        ("conn.log.gz", "conn"),
        ("2026-03-01", "2026-03-01"),
        ("table.parquet", "table"),
        ("conn.*.log.gz", "conn"),
        ("*.pcap", "somewhere"),
        ("two\nlines\x1b.pcap", "two_lines_"),
    ],
)
def test_names(name: str, table: str) -> None:
    """A table is called like its source without what says how it is stored, of a pattern what comes before it."""
    assert table_name(Path("somewhere") / name) == table


def test_long_names() -> None:
    """Of a name as long as file systems take, a table's leaves room; names that differ at the end stay apart."""
    first, second = (table_name(Path(f"{'ü' * 120}{end}.pcap")) for end in "ab")
    assert first != second
    assert all(len(name.encode()) <= LONGEST_NAME for name in (first, second))
    assert table_name(Path(f"features/{first}.parquet")) == first
