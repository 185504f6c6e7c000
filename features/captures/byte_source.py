"""Where a capture's bytes come from: a file, a pipe or standard input, its compression told by its first bytes."""

import io
import lzma
import sys
from pathlib import Path
from typing import IO, Protocol, cast

import pyarrow as pa

from features.errors import CaptureError

STANDARD_INPUT = Path("-")
COMPRESSIONS = (
    (b"\x1f\x8b", "gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"\x04\x22\x4d\x18", "lz4"),
    (b"\xfd7zXZ\x00", "xz"),
)
MAGIC_BYTES = 8
DAMAGES = (OSError, EOFError, lzma.LZMAError)
"""What reading a damaged compressed stream raises."""


class ByteStream(Protocol):
    """What a capture is read from."""

    def readinto(self, target: memoryview) -> int:
        """Fill the start of the target and return the number of bytes, 0 at the end."""

    def close(self) -> None:
        """Let go of the file."""


class _Piped(io.RawIOBase):
    """A stream that cannot seek, given back the bytes that were read to tell its format."""

    def __init__(self, start: bytes, rest: io.RawIOBase) -> None:
        super().__init__()
        self._start = start
        self._rest = rest

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def readinto(self, target: memoryview) -> int:  # type: ignore[override]
        """Fill the start of the target and return the number of bytes, 0 at the end."""
        if not self._start:
            return self._rest.readinto(target) or 0
        size = min(len(target), len(self._start))
        memoryview(target).cast("B")[:size] = self._start[:size]
        self._start = self._start[size:]
        return size

    def close(self) -> None:
        """Let go of the pipe."""
        self._rest.close()
        super().close()


def source_name(path: Path) -> str:
    """Return what messages call the source."""
    return "standard input" if path == STANDARD_INPUT else str(path)


def can_be_read_again(path: Path) -> bool:
    """Tell whether opening the path twice gives the same bytes twice: not so for pipes and standard input."""
    return path != STANDARD_INPUT and not path.is_fifo()


def open_stream(path: Path) -> ByteStream:
    """Open a file, a named pipe or standard input ("-") and undo its compression.

    Raises:
        CaptureError: The path is missing, a directory, unreadable or empty.
    """
    where = source_name(path)
    if path.is_dir():
        raise CaptureError("a directory is not a capture", where, "a pcap file", "a directory", "name the files in it")
    try:
        file = _opened(path)
        start = _first_bytes(file)
    except OSError as error:
        raise CaptureError(
            "the capture cannot be opened", where, "a pcap file", error.strerror or str(error)
        ) from error
    if not start:
        file.close()
        raise CaptureError("the capture is empty", where, "a pcap file", "0 bytes", "record it again")
    return _uncompressed(path, file, start)


def _opened(path: Path) -> io.FileIO:
    if path == STANDARD_INPUT:
        return io.FileIO(sys.stdin.fileno(), closefd=False)
    return path.open("rb", buffering=0)


def _first_bytes(file: io.FileIO) -> bytes:
    """Return the first MAGIC_BYTES, which a pipe may hand out one by one."""
    start = b""
    while len(start) < MAGIC_BYTES and (more := file.read(MAGIC_BYTES - len(start))):
        start += more
    return start


def _uncompressed(path: Path, file: io.FileIO, start: bytes) -> ByteStream:
    compression = next((name for magic, name in COMPRESSIONS if start.startswith(magic)), None)
    if not file.seekable():
        return _decoded(_Piped(start, file), compression)
    file.seek(0)
    if compression == "xz" and path != STANDARD_INPUT:
        file.close()  # which LZMAFile does only to a file that it opened itself
        return lzma.LZMAFile(path)
    return _decoded(file, compression)


def _decoded(raw: io.RawIOBase, compression: str | None) -> ByteStream:
    if compression is None:
        return cast("ByteStream", raw)
    if compression == "xz":
        return lzma.LZMAFile(cast("IO[bytes]", raw))
    return cast("ByteStream", pa.CompressedInputStream(pa.PythonFile(raw, mode="r"), compression))
