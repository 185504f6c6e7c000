"""Reading captures: formats, compressions, blocks, and every way in which a file can be wrong."""

import bz2
import gzip
import lzma
import os
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.captures.capture import open_capture
from features.captures.frames import LARGEST_RECORD
from features.errors import CaptureError

MICROSECONDS, NANOSECONDS, PATCHED = 0xA1B2C3D4, 0xA1B23C4D, 0xA1B2CD34
ROOT = Path(__file__).parents[3]
Record = tuple[int, int, bytes, int]
RECORDS: list[Record] = [
    (1_700_000_000, 5, b"abc", 3),
    (1_700_000_001, 999_999, b"", 60),
    (4_000_000_000, 0, b"x" * 96, 1514),
]


def pcap(records: list[Record], order: str = "<", magic: int = MICROSECONDS, link_type: int = 1) -> bytes:
    """Return the bytes of a capture of (seconds, fraction, captured bytes, original length)."""
    header = struct.pack(f"{order}IHHiIII", magic, 2, 4, 0, 0, 65535, link_type)
    more = bytes(8 if magic == PATCHED else 0)
    return header + b"".join(struct.pack(f"{order}IIII", s, f, len(b), n) + more + b for s, f, b, n in records)


def write(folder: Path, content: bytes) -> Path:
    """Write a file whose name says nothing of its content."""
    path = folder / "file"
    path.write_bytes(content)
    return path


def read(path: Path, block_bytes: int = 1 << 19) -> tuple[list[tuple[int, bytes, int, int]], int]:
    """Return (time_ns, captured bytes, original length, link type) of every frame, and the torn records."""
    frames = []
    with open_capture(path, block_bytes) as capture:
        for block, rows in capture:
            for row in rows:
                end = row["start"] + row["captured"]
                content = block[row["start"] : end].tobytes()
                frames.append((int(row["time_ns"]), content, int(row["original"]), int(row["link_type"])))
    return frames, capture.torn_records


def with_arrow(compression: str) -> Callable[[bytes], bytes]:
    """Return a function that compresses to the file format of that name."""

    def compress(content: bytes) -> bytes:
        sink = pa.BufferOutputStream()
        with pa.CompressedOutputStream(sink, compression) as stream:
            stream.write(content)
        return sink.getvalue().to_pybytes()

    return compress


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("magic", "unit_ns"), [(MICROSECONDS, 1000), (NANOSECONDS, 1), (PATCHED, 1000)])
def test_byte_orders_and_resolutions(tmp_path: Path, order: str, magic: int, unit_ns: int) -> None:
    """Both byte orders and all known magics give the same frames, their times in nanoseconds, past 2038 too."""
    frames, torn = read(write(tmp_path, pcap(RECORDS, order, magic, link_type=113)))
    assert frames == [(s * 10**9 + f * unit_ns, content, original, 113) for s, f, content, original in RECORDS]
    assert torn == 0


@pytest.mark.parametrize("compress", [gzip.compress, lzma.compress, with_arrow("zstd"), with_arrow("lz4")])
def test_compressions(tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
    """Gzip, xz, zstd and lz4 are undone whatever the file is called."""
    assert read(write(tmp_path, compress(pcap(RECORDS)))) == read(write(tmp_path, pcap(RECORDS)))


@given(
    lengths=st.lists(st.integers(0, 300), max_size=30),
    block_bytes=st.integers(1, 700),
    torn_bytes=st.integers(0, 40),
)
@settings(deadline=None)
def test_any_block_size(
    tmp_path_factory: pytest.TempPathFactory, lengths: list[int], block_bytes: int, torn_bytes: int
) -> None:
    """Frames do not depend on where blocks end; a torn last record is counted and the frames before it are kept."""
    records = [(n, n, bytes([n % 256]) * length, length) for n, length in enumerate(lengths)]
    torn = (struct.pack("<IIII", 0, 0, 60, 60) + b"t" * 24)[:torn_bytes]
    path = write(tmp_path_factory.mktemp("blocks"), pcap(records) + torn)
    expected = [(s * 10**9 + f * 1000, content, original, 1) for s, f, content, original in records]
    assert read(path, block_bytes) == (expected, int(torn_bytes > 0))


def test_more_frames_than_one_chunk(tmp_path: Path) -> None:
    """A block with more frames than are handed out at a time loses none."""
    frames, _ = read(write(tmp_path, pcap([(n, 0, b"", 0) for n in range(20_000)])), 1 << 20)
    assert [time // 10**9 for time, *_ in frames] == list(range(20_000))


def test_largest_record(tmp_path: Path) -> None:
    """A record of 262,144 bytes, the most that libpcap accepts, is read in blocks smaller than itself."""
    frames, _ = read(write(tmp_path, pcap([(0, 0, b"y" * LARGEST_RECORD, LARGEST_RECORD)] * 2)), 1000)
    assert [len(content) for _, content, *_ in frames] == [LARGEST_RECORD] * 2


def test_header_only(tmp_path: Path) -> None:
    """A capture without packets is no error."""
    assert read(write(tmp_path, pcap([]))) == ([], 0)


def test_frame_check_sequence_length_is_no_link_type(tmp_path: Path) -> None:
    """The upper bits of the link type field tell of a frame check sequence and are left out."""
    frames, _ = read(write(tmp_path, pcap(RECORDS[:1], link_type=0x2400_0001)))
    assert frames[0][3] == 1


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "empty"),
        (b"frame.time,ip.src\n", "text: 'frame.time,ip.src"),
        (bytes([0x7F, 0x45, 0x4C, 0x46] * 8), "bytes 7f 45 4c 46"),
        (b"\x0a\x0d\x0d\x0a" + bytes(60), "bytes 0a 0d 0d 0a"),
        (b"\x0a\x0d\x0d\x0a\x1c\x00\x00\x00\x4d\x3c\x2b\x1a", "inside its file header"),
        (pcap(RECORDS)[:20], "inside its file header"),
        (gzip.compress(b"", mtime=0), "nothing"),
        (gzip.compress(b"some text\n", mtime=0), "not a capture"),
        (b"\x28\xb5\x2f\xfd" + b"?" * 40, "cannot be read"),
        (bz2.compress(pcap(RECORDS)), "gzip, zstd, lz4 or xz"),
    ],
)
def test_not_a_capture(tmp_path: Path, content: bytes, word: str) -> None:
    """A file that is no capture is one clear error when it is opened, and says what was found."""
    with pytest.raises(CaptureError, match=word):
        open_capture(write(tmp_path, content))


def test_missing_file_and_directory(tmp_path: Path) -> None:
    """A path that is no file is an error that names it."""
    with pytest.raises(CaptureError, match=r"(?s)cannot be opened.*nowhere.*No such file"):
        open_capture(tmp_path / "nowhere")
    with pytest.raises(CaptureError, match="directory"):
        open_capture(tmp_path)


def through_a_pipe(content: bytes, source: Path | None) -> list[bytes]:
    """Return the frames that a process of its own reads from standard input, or from a named pipe."""
    program = (
        "import sys, pathlib\nfrom features.captures.capture import open_capture\n"
        "for block, rows in open_capture(pathlib.Path(sys.argv[1])):\n"
        "    for row in rows: print(block[row['start']:row['start'] + row['captured']].tobytes().hex())"
    )
    command = [sys.executable, "-c", program, str(source or "-")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT) as process:  # noqa: S603 (our own command)
        if source is None and process.stdin:
            process.stdin.write(content)
            process.stdin.close()
        elif source:
            source.write_bytes(content)
        shown = process.stdout.read() if process.stdout else b""
    return [bytes.fromhex(line) for line in shown.decode().splitlines()]


@pytest.mark.parametrize("compress", [bytes, gzip.compress, lzma.compress, with_arrow("zstd"), with_arrow("lz4")])
def test_standard_input(compress: Callable[[bytes], bytes]) -> None:
    """The path "-" is standard input, compressed or not."""
    assert through_a_pipe(compress(pcap(RECORDS)), None) == [content for _, _, content, _ in RECORDS]


def test_named_pipe(tmp_path: Path) -> None:
    """A named pipe is read without seeking."""
    os.mkfifo(tmp_path / "pipe")
    assert through_a_pipe(pcap(RECORDS), tmp_path / "pipe") == [content for _, _, content, _ in RECORDS]


def test_standard_input_that_is_a_file(tmp_path: Path) -> None:
    """A file given as standard input is read from its beginning, and standard input stays open."""
    path = write(tmp_path, pcap(RECORDS))
    program = "import sys, pathlib\nfrom features.captures.capture import open_capture\n"
    program += "with open_capture(pathlib.Path('-')) as c: print(sum(len(f.rows) for f in c))\nsys.stdin.fileno()"
    with path.open("rb") as file:
        done = subprocess.run([sys.executable, "-c", program], stdin=file, capture_output=True, cwd=ROOT, check=True)  # noqa: S603
    assert done.stdout.split() == [b"3"]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("version", "swapped"),
    [((2, 0), True), ((2, 2), True), ((543, 0), True), ((2, 3), True), ((2, 3), False), ((2, 4), False)],
)
def test_old_versions(tmp_path: Path, order: str, version: tuple[int, int], swapped: bool) -> None:
    """Before 2.3 the length on the wire came first, with 2.3 either way: the captured one is not the larger."""
    raw = bytearray(pcap(RECORDS, order))
    raw[4:8] = struct.pack(f"{order}HH", *version)
    at = 24
    for _, _, content, _ in RECORDS if swapped else ():
        raw[at + 8 : at + 16] = raw[at + 12 : at + 16] + raw[at + 8 : at + 12]
        at += 16 + len(content)
    assert read(write(tmp_path, bytes(raw))) == read(write(tmp_path, pcap(RECORDS, order)))


def test_impossible_record(tmp_path: Path) -> None:
    """A record that claims more than 262,144 bytes is an error with its offset; the frames before it come first."""
    good = pcap(RECORDS[:2])
    path = write(tmp_path, good + struct.pack("<IIII", 0, 0, LARGEST_RECORD + 1, 0) + bytes(50))
    with open_capture(path) as capture:
        frames = iter(capture)
        assert len(next(frames).rows) == 2
        with pytest.raises(CaptureError, match=f"(?s)byte {len(good)} .*262145 bytes"):
            next(frames)


@pytest.mark.parametrize("compress", [gzip.compress, lzma.compress, with_arrow("zstd"), with_arrow("lz4")])
def test_cut_compressed_stream(tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
    """A compressed capture that lacks its end is an error, not a shorter capture."""
    whole = compress(pcap(RECORDS * 1000))
    with pytest.raises(CaptureError, match="cannot be read to its end"):
        read(write(tmp_path, whole[: len(whole) * 2 // 3]))


@pytest.mark.parametrize("compress", [gzip.compress, lzma.compress, with_arrow("zstd"), with_arrow("lz4")])
def test_streams_of_several_members(tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
    """Compressed files put one behind the other are read as one, as the tools that made them do."""
    content = pcap(RECORDS)
    assert read(write(tmp_path, compress(content[:50]) + compress(content[50:]))) == read(write(tmp_path, content))
