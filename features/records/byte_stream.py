"""Record files as bytes: their compression told by content, their text in blocks that end with a line."""

import bz2
import lzma
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple, cast

import numpy as np
import pyarrow as pa

from features.errors import RecordError
from features.records.cell_kernel import count_lines

BLOCK_BYTES = 1 << 23
LONGEST_LINE = 1 << 24
SAMPLE_BYTES = 1 << 18
COMPRESSIONS = (
    (b"\x1f\x8b", "gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"\x04\x22\x4d\x18", "lz4"),
    (b"BZh", "bz2"),
    (b"\xfd7zXZ\x00", "xz"),
)
DAMAGES = (OSError, EOFError, lzma.LZMAError, ValueError)


class Block(NamedTuple):
    """Whole lines of a file.

    Attributes:
        text: The bytes, blank lines taken out of their end.
        first_line: Number of the first line, from 1.
    """

    text: bytes
    first_line: int

    def line_numbers(self) -> list[int]:
        """Return the number of every line that is not blank."""
        lines = self.text.split(b"\n")
        return [self.first_line + index for index, line in enumerate(lines) if line.strip()]


@contextmanager
def open_bytes(path: Path) -> Iterator[IO[bytes]]:
    """Open a file and undo its compression.

    Raises:
        RecordError: The file is missing, a directory or empty.
    """
    if path.is_dir():
        raise RecordError("A directory is not a file of flow records", str(path), next_step="name the files in it")
    try:
        file = path.open("rb")
    except OSError as error:
        raise RecordError("The flow records cannot be opened", str(path), "", error.strerror or str(error)) from error
    with file:
        start = file.read(8)
        file.seek(0)
        if not start:
            raise RecordError("The file is empty", str(path), "flow records", "0 bytes")
        yield _uncompressed(file, start)


def _uncompressed(file: IO[bytes], start: bytes) -> IO[bytes]:
    name = next((name for magic, name in COMPRESSIONS if start.startswith(magic)), "")
    if not name:
        return file
    if name == "xz":
        return cast("IO[bytes]", lzma.LZMAFile(file))
    if name == "bz2":
        return cast("IO[bytes]", bz2.BZ2File(file))
    return cast("IO[bytes]", pa.CompressedInputStream(pa.PythonFile(file, mode="r"), name))


def read_sample(path: Path) -> bytes:
    """Return the first SAMPLE_BYTES of a file, uncompressed.

    Raises:
        RecordError: As of open_bytes, or the first bytes cannot be uncompressed.
    """
    with open_bytes(path) as stream:
        return _read(stream, SAMPLE_BYTES, path, 0)


def _read(stream: IO[bytes], size: int, path: Path, offset: int) -> bytes:
    try:
        return stream.read(size)
    except DAMAGES as error:
        raise RecordError(
            "The flow records cannot be read to their end",
            f"{path}, near byte {offset} of the file as it is uncompressed",
            "an undamaged file",
            str(error),
            "copy or compress the file again",
        ) from error


def line_blocks(path: Path, skip: int = 0) -> Iterator[Block]:
    """Yield a file's text in blocks of whole lines, BLOCK_BYTES or a line each, the first `skip` lines left out.

    Raises:
        RecordError: The file cannot be opened or uncompressed, or has no line ends.
    """
    with open_bytes(path) as stream:
        held, line, offset = b"", 1, 0
        while chunk := _read(stream, BLOCK_BYTES, path, offset):
            offset += len(chunk)
            whole = chunk.rfind(b"\n") + 1
            text = b"".join((held, memoryview(chunk)[:whole])) if whole else b""
            held = chunk[whole:] if whole else held + chunk
            if len(held) > LONGEST_LINE:
                raise RecordError("A line is too long for a flow record", f"{path}, byte {offset - len(held)}")
            if text:
                block = Block(text, line)
                line += int(count_lines(np.frombuffer(block.text, np.uint8)))
                yield from _without(block, skip)
        if held:
            yield from _without(Block(held, line), skip)


def _without(block: Block, skip: int) -> Iterator[Block]:
    """Yield the block without the lines up to number `skip`."""
    text, line = block
    while line <= skip and text:
        text, line = text.partition(b"\n")[2], line + 1
    if text:
        yield Block(text, line)
