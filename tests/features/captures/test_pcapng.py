"""Reading pcapng: blocks made by hand, files written by scapy, and what its reader says of other tools' files."""

import os
import struct
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.error import Scapy_Exception
from scapy.layers.l2 import Ether
from scapy.packet import Raw
from scapy.utils import EDecimal, PcapNgWriter, RawPcapNgReader

from features.captures.capture import open_capture
from features.captures.frames import LARGEST_BLOCK, LARGEST_RECORD, LATEST_NS
from features.errors import CaptureError

Seen = tuple[int, bytes, int, int]
SECOND = 1_000_000_000
DATA = Path(os.environ.get("FLOWTAG_DATA", "nowhere"))


def padded(content: bytes) -> bytes:
    """Return the content, filled up to a multiple of four bytes."""
    return content + bytes(-len(content) % 4)


class Writer:
    """Writes blocks of one byte order."""

    def __init__(self, order: str = "<") -> None:
        self.order = order

    def pack(self, form: str, *values: int) -> bytes:
        """Pack numbers in this byte order."""
        return struct.pack(self.order + form, *values)

    def block(self, kind: int, body: bytes) -> bytes:
        """Return a block of this type."""
        length = self.pack("I", len(padded(body)) + 12)
        return self.pack("I", kind) + length + padded(body) + length

    def option(self, code: int, value: bytes) -> bytes:
        """Return an option."""
        return self.pack("HH", code, len(value)) + padded(value)

    def section(self, version: int = 1) -> bytes:
        """Return a section header."""
        return self.block(0x0A0D0D0A, self.pack("IHHq", 0x1A2B3C4D, version, 0, -1))

    def interface(self, link_type: int = 1, snap_bytes: int = 0, options: bytes = b"") -> bytes:
        """Return an interface description."""
        return self.block(1, self.pack("HHI", link_type, 0, snap_bytes) + options)

    def enhanced(self, ticks: int, content: bytes, original: int | None = None, index: int = 0) -> bytes:
        """Return an enhanced packet block with a comment."""
        lengths = (len(content), len(content) if original is None else original)
        body = self.pack("IIIII", index, ticks >> 32, ticks & 0xFFFFFFFF, *lengths) + padded(content)
        return self.block(6, body + self.option(1, b"a comment") + self.option(0, b""))

    def obsolete(self, ticks: int, content: bytes, index: int = 0) -> bytes:
        """Return a packet block as it was before the enhanced one."""
        numbers = self.pack("HHIIII", index, 7, ticks >> 32, ticks & 0xFFFFFFFF, len(content), len(content))
        return self.block(2, numbers + padded(content))

    def simple(self, content: bytes, original: int) -> bytes:
        """Return a simple packet block."""
        return self.block(3, self.pack("I", original) + padded(content))


LITTLE = Writer()


def write(folder: Path, content: bytes) -> Path:
    """Write a file whose name says nothing of its content."""
    path = folder / "file"
    path.write_bytes(content)
    return path


def frames(path: Path, block_bytes: int = 1 << 19) -> Iterator[Seen]:
    """Yield (time_ns, captured bytes, original length, link type) of every frame."""
    with open_capture(path, block_bytes) as capture:
        for block, rows in capture:
            for row in rows:
                content = block[row["start"] : row["start"] + row["captured"]].tobytes()
                yield int(row["time_ns"]), content, int(row["original"]), int(row["link_type"])


def read(folder: Path, *blocks: bytes, block_bytes: int = 1 << 19) -> list[Seen]:
    """Return the frames of a file of these blocks."""
    return list(frames(write(folder, b"".join(blocks)), block_bytes))


@pytest.mark.parametrize("order", ["<", ">"])
def test_packet_blocks(tmp_path: Path, order: str) -> None:
    """Enhanced and obsolete packets have their interface's link type, simple ones the first's and the time before."""
    w = Writer(order)
    blocks = [w.section(), w.interface(1), w.interface(113), w.enhanced(5, b"abc", 60, 1), w.obsolete(7 << 32, b"", 1)]
    assert read(tmp_path, *blocks, w.simple(b"12345", 5)) == [
        (5000, b"abc", 60, 113),
        ((7 << 32) * 1000, b"", 0, 113),
        ((7 << 32) * 1000, b"12345", 5, 1),
    ]


def test_simple_packets_are_cut_at_the_snap_length(tmp_path: Path) -> None:
    """A simple packet block says how long the packet was; captured is what snap length and block leave of it."""
    blocks = [LITTLE.section(), LITTLE.interface(1, snap_bytes=5), LITTLE.simple(b"12345", 99), LITTLE.simple(b"1", 1)]
    assert read(tmp_path, *blocks) == [(0, b"12345", 99, 1), (0, b"1", 1, 1)]


def test_sections(tmp_path: Path) -> None:
    """Each section has its byte order and its interfaces; the ones of the section before are forgotten."""
    big = Writer(">")
    blocks = [LITTLE.section(), LITTLE.interface(1), LITTLE.enhanced(1, b"a"), big.section(), big.interface(101)]
    assert [seen[1:] for seen in read(tmp_path, *blocks, big.enhanced(2, b"b"))] == [(b"a", 1, 1), (b"b", 1, 101)]
    with pytest.raises(CaptureError, match="interface that its section describes"):
        read(tmp_path, *blocks[:4], big.enhanced(2, b"b"))


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 255), st.integers(0, 2**64 - 1), st.one_of(st.just(0), st.integers(-(2**63), 2**63 - 1)))
def test_resolutions_and_offsets(
    tmp_path_factory: pytest.TempPathFactory, code: int, ticks: int, offset_s: int
) -> None:
    """Times are exact to the nanosecond in every decimal and binary resolution, between 1970 and 2106."""
    options = LITTLE.option(9, bytes([code])) + LITTLE.option(14, struct.pack("<q", offset_s))
    seconds = Fraction(ticks, 2 ** (code & 127) if code & 128 else 10**code)
    latest_s = LATEST_NS // SECOND
    time_ns = min(int(seconds * SECOND), LATEST_NS) + min(max(offset_s, -latest_s), latest_s) * SECOND
    [seen] = read(
        tmp_path_factory.mktemp("times"), LITTLE.section(), LITTLE.interface(1, 0, options), LITTLE.enhanced(ticks, b"")
    )
    assert abs(seen[0] - min(max(time_ns, 0), LATEST_NS)) <= int(128 > code > 27)  # 10**-28 s and less: all but 0


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_real_offset(tmp_path: Path, order: str) -> None:
    """The offset is a signed number of whole seconds added to each time."""
    w = Writer(order)
    options = w.option(2, b"eth0") + w.option(14, w.pack("q", -3)) + w.option(0, b"") + b"what follows the end"
    [seen] = read(tmp_path, w.section(), w.interface(1, 0, options), w.enhanced(10_000_001, b"x"))
    assert seen[0] == 7 * SECOND + 1000


@settings(deadline=None)
@given(
    lengths=st.lists(st.integers(0, 300), max_size=20),
    block_bytes=st.integers(1, 700),
    torn_bytes=st.integers(0, 40),
)
def test_any_block_size(
    tmp_path_factory: pytest.TempPathFactory, lengths: list[int], block_bytes: int, torn_bytes: int
) -> None:
    """Frames do not depend on where buffers end; a torn last block is counted and the frames before it are kept."""
    contents = [bytes([n % 256]) * length for n, length in enumerate(lengths)]
    packets = [LITTLE.enhanced(n, content) + LITTLE.block(0xBAD, content) for n, content in enumerate(contents)]
    torn = LITTLE.enhanced(0, b"t" * 24)[:torn_bytes]
    path = write(tmp_path_factory.mktemp("blocks"), b"".join([LITTLE.section(), LITTLE.interface(), *packets]) + torn)
    with open_capture(path, block_bytes) as capture:
        assert sum(len(rows) for _, rows in capture) == len(lengths)
        assert capture.torn_records == int(torn_bytes > 0)
    assert [seen[1] for seen in frames(path, block_bytes)] == contents


def test_blocks_longer_than_the_buffer(tmp_path: Path) -> None:
    """Unknown blocks of any length stream by; a packet with a longer tail of options than can be held is read."""
    long = LITTLE.block(0xBAD, bytes(3 * LARGEST_BLOCK))
    option = LITTLE.option(1, b"c" * 65_000)
    content = b"p" * LARGEST_RECORD
    numbers = struct.pack("<IIIII", 0, 0, 0, len(content), len(content))
    packet = LITTLE.block(6, numbers + content + option * 20)
    blocks = [LITTLE.section(), LITTLE.interface(), long, packet, long, LITTLE.enhanced(0, b"last")]
    assert [seen[1] for seen in read(tmp_path, *blocks, block_bytes=1000)] == [content, b"last"]
    path = write(tmp_path, b"".join(blocks[:3])[:-1])
    with open_capture(path) as capture:
        assert (list(capture), capture.torn_records) == ([], 1)


START = LITTLE.section() + LITTLE.interface()
PACKET = LITTLE.enhanced(0, b"abcd")


@pytest.mark.parametrize(
    ("bad", "word"),
    [
        (struct.pack("<III", 5, 8, 8), "type 0x5 and length 8"),
        (struct.pack("<III", 5, 13, 13) + bytes(9), "multiple of 4"),
        (PACKET[:-4] + bytes(4), "both ends"),
        (PACKET[:20] + struct.pack("<I", 100) + PACKET[24:], "fit in their block"),
        (LITTLE.enhanced(0, b"x", index=1), "its section describes"),
        (LITTLE.block(6, bytes(16)), "holds the block's fields"),
        (LITTLE.block(3, b""), "holds the block's fields"),
        (LITTLE.block(1, bytes(4)), "holds the block's fields"),
        (LITTLE.interface(1, 0, struct.pack("<HH", 9, 40) + bytes(4)), "options that end"),
        (LITTLE.interface(1, 0, struct.pack("<HH", 14, 4) + bytes(8)), "options that end"),
        (LITTLE.section(version=2), "version 1"),
        (LITTLE.block(0x0A0D0D0A, bytes(16)), "byte-order magic"),
        (LITTLE.block(0x0A0D0D0A, struct.pack("<I", 0x1A2B3C4D)), "holds the block's fields"),
        (LITTLE.interface() * 65_536, "at most 65536 interfaces"),
    ],
)
def test_impossible_blocks(tmp_path: Path, bad: bytes, word: str) -> None:
    """A block that cannot be one is an error with its offset; the frames before it come first."""
    offset = len(START + PACKET) + (len(bad) - 20 if len(bad) > 1000 else 0)
    found = frames(write(tmp_path, START + PACKET + bad + bytes(40)))
    assert next(found)[1] == b"abcd"
    with pytest.raises(CaptureError, match=f"(?s)byte {offset} .*{word}"):
        next(found)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=5), st.integers(1, 400))
def test_hostile_bytes(
    tmp_path_factory: pytest.TempPathFactory, changes: Sequence[tuple[int, int]], length: int
) -> None:
    """Whatever the bytes, frames lie within the file, or it is an error that says where."""
    content = bytearray(START + PACKET * 2 + LITTLE.simple(b"12", 2) + LITTLE.obsolete(1, b"1") + Writer(">").section())
    content += Writer(">").interface(0, 5) + Writer(">").enhanced(0, b"1234567")
    for at, value in changes:
        content[at % len(content)] = value
    try:
        for _, captured, *_ in frames(write(tmp_path_factory.mktemp("hostile"), bytes(content[:length]))):
            assert captured in content
    except CaptureError as error:
        assert "byte" in str(error) or "text" in str(error)


def by_scapy(path: Path) -> list[Seen]:
    """Return what scapy reads of a file."""
    seen = []
    with RawPcapNgReader(str(path)) as reader:
        for content, meta in reader:
            time_ns = int(Fraction((meta.tshigh << 32) + meta.tslow, meta.tsresol) * SECOND) if meta.tshigh else 0
            seen.append((time_ns, content, meta.wirelen, meta.linktype))
    return seen


def test_files_that_scapy_writes(tmp_path: Path) -> None:
    """What scapy writes is read as it was, and as scapy reads it."""
    path = tmp_path / "file"
    with PcapNgWriter(str(path)) as writer:
        for n in range(40):
            packet = Ether(type=0x800) / Raw(bytes(n))
            packet.time = EDecimal(1_700_000_000 * 10**6 + n) / 10**6
            writer.write(packet)
    expected = [(1_700_000_000 * SECOND + n * 1000, bytes(Ether(type=0x800)) + bytes(n), 14 + n, 1) for n in range(40)]
    assert list(frames(path)) == expected == by_scapy(path)


@pytest.mark.parametrize("order", ["<", ">"])
def test_as_scapy_reads(tmp_path: Path, order: str) -> None:
    """Interfaces of several clocks and kinds of packet block are read as scapy reads them."""
    w = Writer(order)
    interfaces = [
        w.interface(1, 65_535),
        w.interface(101, 0, w.option(9, b"\x09")),
        w.interface(113, 96, w.option(9, b"\x92")),
    ]
    packets = [w.enhanced(10**15 + 7 * n, bytes(n), 60, n % 3) for n in range(30)]
    path = write(tmp_path, w.section() + b"".join(interfaces) + b"".join(packets) + w.simple(b"12", 2))
    assert [seen[1:] for seen in frames(path)] == [seen[1:] for seen in by_scapy(path)]
    assert [seen[0] for seen in frames(path)][:-1] == [seen[0] for seen in by_scapy(path)][:-1]


@pytest.mark.skipif(not DATA.is_dir(), reason="FLOWTAG_DATA names no folder of captures")
def test_captures_of_other_tools() -> None:
    """Every pcapng of the data collections that scapy reads gives the same frames."""
    compared = 0
    for path in sorted(DATA.rglob("*.pcapng")):
        if path.stat().st_size < 2_000_000:
            try:
                with RawPcapNgReader(str(path)) as reader:
                    seen, expected = list(frames(path)), list(reader)
            except (Scapy_Exception, CaptureError, struct.error, EOFError, KeyError, ValueError):
                continue
            for (_, captured, *_), (right, about) in zip(seen, expected, strict=True):
                # scapy cuts simple packets by the first section's snap length, and to nothing where that is 0
                is_simple = getattr(about, "tshigh", 0) is None
                assert captured.startswith(right) if is_simple else captured == right, path
            compared += 1
    assert compared
