"""Captures as streams of frames: pcap and pcapng, plain or compressed, files or standard input, block after block.

The compression and the format are told by content, never by the file's name. Blocks are read ahead into buffers that
are used again; a record cut by a block's end is carried over, so what comes out does not depend on the block size.
"""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Self

import numpy as np

from features.captures.byte_source import DAMAGES, ByteStream, can_be_read_again, open_stream, source_name
from features.captures.formats import FILE_HEADER_BYTES, format_of
from features.captures.frames import FRAME, LARGEST_BLOCK, Frames
from features.captures.pieces import Buffer, Pieces
from features.errors import CaptureError
from features.kernel_types import Int

BLOCK_BYTES = 1 << 21
FRAMES_PER_CHUNK = 8192


class Capture:
    """One open capture; iterate it once for its frames.

    Attributes:
        torn_records: 1 after iteration when the file ends inside a record, else 0. In a file that is still being
            written the rest of that record is not yet there.
    """

    def __init__(self, path: Path, stream: ByteStream, block_bytes: int = BLOCK_BYTES) -> None:
        self._where = source_name(path)
        self._stream = stream
        self._block_bytes = block_bytes
        self._reads_ahead = can_be_read_again(path)
        self._pieces: Pieces | None = None
        self.torn_records = 0
        self._header = self._read_header()
        self._format = format_of(self._header.tobytes(), self._where)

    def __exit__(self, *_exception: object) -> None:
        """Close the file."""
        self.close()

    def __enter__(self) -> Self:
        """Return the capture itself."""
        return self

    def close(self) -> None:
        """Close the file; what is being read of it is waited for."""
        if self._pieces is not None:
            self._pieces.close()
        self._stream.close()

    def __iter__(self) -> Iterator[Frames]:
        """Yield the frames of the file in order, up to FRAMES_PER_CHUNK at a time.

        Raises:
            CaptureError: A record cannot be one, or the compressed stream is damaged; the frames before were yielded.
        """
        self._pieces = Pieces(self._stream, LARGEST_BLOCK, self._block_bytes, self._reads_ahead)
        with closing(self._pieces):
            yield from self._frames(iter(self._pieces))

    def _frames(self, pieces: Iterator[tuple[Buffer, int]]) -> Iterator[Frames]:
        rows = np.zeros(FRAMES_PER_CHUNK, dtype=FRAME)
        block, held = self._header, len(self._header)
        at: Int = self._format.start
        offset: Int = 0  # in the file, of the block's first byte; below 0 where a piece has room before it
        while True:
            count = len(rows)
            while count == len(rows):
                count, at, fault = self._format.walk(block, at, held, rows)
                if count:
                    yield Frames(block, rows[:count])
                if fault:
                    raise self._damaged(fault, offset + at, block[at:])
            following = self._next(pieces, offset + held)
            if following is None:
                break
            buffer, got = following
            used = min(at, held)  # at is beyond held while a long block streams by
            start = buffer.start - (held - used)
            buffer.block[start : buffer.start] = block[used:held]
            block, at, held, offset = buffer.block, start + at - used, buffer.start + got, offset + used - start
        self.torn_records = int(held != at)

    def _next(self, pieces: Iterator[tuple[Buffer, int]], offset: Int) -> tuple[Buffer, int] | None:
        """Return the next piece, None at the end; a damaged compressed stream is an error with its offset."""
        try:
            return next(pieces, None)
        except DAMAGES as error:
            raise self._unreadable(error, offset) from error

    def _read_header(self) -> np.ndarray:
        """Return as many bytes as tell the formats apart, fewer where there are no more."""
        header, held = np.empty(FILE_HEADER_BYTES, dtype=np.uint8), 0
        try:
            while held < len(header) and (got := self._stream.readinto(header.data[held:])):
                held += got
        except DAMAGES as error:
            raise self._unreadable(error, held) from error
        return header[:held]

    def _unreadable(self, error: BaseException, offset: Int) -> CaptureError:
        what, next_step = "the capture cannot be read to its end", "copy or compress the file again"
        return CaptureError(what, self._at_byte(offset), "an undamaged file", str(error), next_step)

    def _damaged(self, code: Int, offset: Int, record: np.ndarray) -> CaptureError:
        """Return the error for a record that cannot be one, given the bytes from its beginning."""
        what, expected, received = self._format.fault(
            code, lambda of: int.from_bytes(record[of : of + 4].tobytes(), "little")
        )
        next_step = "cut the file before that byte, or repair it with pcapfix"
        return CaptureError(what, self._at_byte(offset), expected, received, next_step)

    def _at_byte(self, offset: Int) -> str:
        return f"{self._where}, byte {offset} of the capture as it is uncompressed"


def open_capture(path: Path, block_bytes: int = BLOCK_BYTES) -> Capture:
    """Open a capture, or standard input ("-"), and read its header.

    Raises:
        CaptureError: The path is missing, a directory, unreadable, empty, or not a capture that can be read.
    """
    stream = open_stream(path)
    try:
        return Capture(path, stream, block_bytes)
    except CaptureError:
        stream.close()
        raise


def first_packet_ns(path: Path) -> int | None:
    """Return the time of a capture's first packet, None where it has none.

    Raises:
        CaptureError: As of open_capture, or the first record is damaged.
    """
    with open_capture(path) as capture:
        return next((int(frames.rows["time_ns"][0]) for frames in capture), None)
