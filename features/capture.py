"""Captures as streams of frames: classic pcap of either byte order, plain or compressed, block after block.

The compression and the format are told by content, never by the file's name. A block is read into one buffer that is
used again; a record cut by the block's end is carried over, so what comes out does not depend on the block size.

Source: draft-ietf-opsawg-pcap (file and record headers); libpcap's sf-pcap.c (magics, largest record).
"""

import lzma
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Protocol, Self, cast

import numpy as np
import pyarrow as pa
from numba import njit

from features.errors import CaptureError
from features.flow_table import Int

BLOCK_BYTES = 1 << 19
LARGEST_RECORD = 262_144  # libpcap's MAXIMUM_SNAPLEN: more means that the reader has lost its place
RECORD_HEADER_BYTES = 16
FILE_HEADER_BYTES = 24
FRAMES_PER_CHUNK = 8192

FRAME = np.dtype(
    [
        ("time_ns", "i8"),
        ("start", "i4"),  # first captured byte, an index into the block
        ("captured", "i4"),  # bytes in the block
        ("original", "i8"),  # bytes on the wire
        ("link_type", "i4"),  # LINKTYPE_ number of tcpdump.org
    ],
    align=True,
)
"""Where one frame lies in its block."""

COMPRESSIONS = (
    (b"\x1f\x8b", "gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"\x04\x22\x4d\x18", "lz4"),
    (b"\xfd7zXZ\x00", "xz"),
)
PCAPNG_MAGIC = b"\x0a\x0d\x0d\x0a"
MAGICS = {  # first four bytes: (little-endian, nanoseconds in one unit of the record's fraction)
    b"\xd4\xc3\xb2\xa1": (True, 1000),
    b"\xa1\xb2\xc3\xd4": (False, 1000),
    b"\x4d\x3c\xb2\xa1": (True, 1),
    b"\xa1\xb2\x3c\x4d": (False, 1),
}


class Frames(NamedTuple):
    """Some frames of a block, valid until the next ones are asked for."""

    block: np.ndarray  # bytes, uint8
    rows: np.ndarray  # FRAME rows


class ByteStream(Protocol):
    """What a capture is read from."""

    def readinto(self, target: memoryview) -> int:
        """Fill the start of the target and return the number of bytes, 0 at the end."""

    def close(self) -> None:
        """Let go of the file."""


@njit(nogil=True)
def _u32(block: np.ndarray, at: Int, little: bool) -> Int:
    """Return the unsigned 32-bit number at an index."""
    a, b, c, d = np.int64(block[at]), np.int64(block[at + 1]), np.int64(block[at + 2]), np.int64(block[at + 3])
    if little:
        return d << 24 | c << 16 | b << 8 | a
    return a << 24 | b << 16 | c << 8 | d


@njit(cache=True, nogil=True)
def walk_records(
    block: np.ndarray, at: Int, end: Int, little: bool, unit_ns: int, rows: np.ndarray
) -> tuple[int, Int, bool]:
    """Find the complete records of ``block[at:end]`` until the rows are full.

    Returns:
        Rows filled (but for link_type), index after the last record, and whether an impossible record stopped it.
    """
    count = 0
    while count < len(rows) and end - at >= RECORD_HEADER_BYTES:
        captured = _u32(block, at + 8, little)
        if captured > LARGEST_RECORD:
            return count, at, True
        if end - at - RECORD_HEADER_BYTES < captured:
            break
        row = rows[count]
        row.time_ns = _u32(block, at, little) * 1_000_000_000 + _u32(block, at + 4, little) * unit_ns
        row.start = at + RECORD_HEADER_BYTES
        row.captured = captured
        row.original = _u32(block, at + 12, little)
        at += RECORD_HEADER_BYTES + captured
        count += 1
    return count, at, False


class Capture:
    """One open classic pcap file; iterate it once for its frames.

    Attributes:
        link_type: LINKTYPE_ number of every frame.
        torn_records: 1 after iteration when the file ends inside a record, else 0.
    """

    def __init__(self, path: Path, stream: ByteStream, block_bytes: int = BLOCK_BYTES) -> None:
        self._path = path
        self._stream = stream
        self._block = np.empty(RECORD_HEADER_BYTES + LARGEST_RECORD + block_bytes, dtype=np.uint8)
        self._block_bytes = block_bytes
        self.torn_records = 0
        self._little, self._unit_ns, self.link_type = self._read_header()

    def __exit__(self, *_exception: object) -> None:
        """Close the file."""
        self.close()

    def __enter__(self) -> Self:
        """Return the capture itself."""
        return self

    def close(self) -> None:
        """Close the file."""
        self._stream.close()

    def __iter__(self) -> Iterator[Frames]:
        """Yield the frames of the file in order, up to FRAMES_PER_CHUNK at a time.

        Raises:
            CaptureError: A record cannot be one, or the compressed stream is damaged; the frames before were yielded.
        """
        rows = np.zeros(FRAMES_PER_CHUNK, dtype=FRAME)
        rows["link_type"] = self.link_type
        held: Int = 0
        offset: Int = FILE_HEADER_BYTES
        while got := self._read(held, self._block_bytes, offset + held):
            held += got
            at: Int = 0
            count = len(rows)
            while count == len(rows):
                count, at, impossible = walk_records(self._block, at, held, self._little, self._unit_ns, rows)
                if count:
                    yield Frames(self._block, rows[:count])
                if impossible:
                    raise self._impossible_record(offset + at, at)
            self._block[: held - at] = self._block[at:held]
            held -= at
            offset += at
        self.torn_records = int(held > 0)

    def _read(self, at: Int, size: int, offset: Int) -> int:
        """Read up to size bytes to an index of the block; a damaged compressed stream is an error with its offset."""
        try:
            return self._stream.readinto(self._block.data[at : at + size])
        except (OSError, EOFError, lzma.LZMAError) as error:
            raise CaptureError(
                "the capture cannot be read to its end",
                self._at_byte(offset),
                "an undamaged file",
                str(error),
                "copy or compress the file again",
            ) from error

    def _read_header(self) -> tuple[bool, int, int]:
        """Return byte order, unit of the fraction and link type from the file header."""
        held = 0
        while held < FILE_HEADER_BYTES and (got := self._read(held, FILE_HEADER_BYTES - held, held)):
            held += got
        header = self._block[:held].tobytes()
        if header[:4] not in MAGICS:
            raise _not_a_capture(self._path, header)
        if held < FILE_HEADER_BYTES:
            raise CaptureError(
                "the capture ends inside its file header", str(self._path), "at least 24 bytes", f"{held} bytes"
            )
        little, unit_ns = MAGICS[header[:4]]
        # the upper half of the field holds the length of a frame check sequence
        return little, unit_ns, self._number(20, little) & 0xFFFF

    def _number(self, at: Int, little: bool) -> int:
        return int.from_bytes(self._block[at : at + 4].tobytes(), "little" if little else "big")

    def _impossible_record(self, offset: Int, at: Int) -> CaptureError:
        """Return the error for a record that claims more bytes than one can have."""
        return CaptureError(
            "a record of the capture cannot be one: the file is damaged there",
            self._at_byte(offset),
            f"a captured length of at most {LARGEST_RECORD} bytes",
            f"{self._number(at + 8, self._little)} bytes",
            "cut the file before that byte, or repair it with pcapfix",
        )

    def _at_byte(self, offset: Int) -> str:
        return f"{self._path}, byte {offset} of the capture as it is uncompressed"


def open_capture(path: Path, block_bytes: int = BLOCK_BYTES) -> Capture:
    """Open a capture and read its header.

    Raises:
        CaptureError: The path is missing, a directory, unreadable, empty, or not a capture that can be read.
    """
    stream = _open_stream(path)
    try:
        return Capture(path, stream, block_bytes)
    except CaptureError:
        stream.close()
        raise


def _open_stream(path: Path) -> ByteStream:
    """Open a file and undo its compression, which its first bytes tell."""
    where = str(path)
    if path.is_dir():
        raise CaptureError("a directory is not a capture", where, "a pcap file", "a directory", "name the files in it")
    try:
        file = path.open("rb", buffering=0)
        start = file.read(8)
        file.seek(0)
    except OSError as error:
        raise CaptureError(
            "the capture cannot be opened", where, "a pcap file", error.strerror or str(error)
        ) from error
    if not start:
        file.close()
        raise CaptureError("the capture is empty", where, "a pcap file", "0 bytes", "record it again")
    compression = next((name for magic, name in COMPRESSIONS if start.startswith(magic)), None)
    if compression is None:
        return file
    if compression == "xz":
        file.close()  # which LZMAFile does only to a file that it opened itself
        return lzma.LZMAFile(path)
    return cast("ByteStream", pa.CompressedInputStream(pa.PythonFile(file, mode="r"), compression))


def _not_a_capture(where: Path, header: bytes) -> CaptureError:
    """Return the error for a file whose first bytes, uncompressed, are no pcap magic."""
    if header.startswith(PCAPNG_MAGIC):
        convert = f"editcap -F pcap {where} {where.stem}.pcap"
        return CaptureError("pcapng is not read yet", str(where), "a classic pcap file", "a pcapng file", convert)
    expected = "a pcap file, plain or compressed with gzip, zstd, lz4 or xz"
    return CaptureError("the file is not a capture", str(where), expected, _described(header))


def _described(header: bytes) -> str:
    """Say in a few words what the first bytes of a file look like."""
    if not header:
        return "nothing"
    text = header.decode("latin-1")
    return f"text: {text!r}" if "".join(text.split()).isprintable() else f"bytes {header[:8].hex(' ')}"
