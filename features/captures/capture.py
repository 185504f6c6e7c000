"""Captures as streams of frames: pcap and pcapng, plain or compressed, files or standard input, block after block.

The compression and the format are told by content, never by the file's name. A block is read into one buffer that is
used again; a record cut by the block's end is carried over, so what comes out does not depend on the block size.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Self

import numpy as np

from features.captures.byte_source import DAMAGES, ByteStream, open_stream, source_name
from features.captures.formats import FILE_HEADER_BYTES, format_of
from features.captures.frames import FRAME, LARGEST_BLOCK, Frames
from features.errors import CaptureError
from features.kernel_types import Int

BLOCK_BYTES = 1 << 19
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
        self._block = np.empty(LARGEST_BLOCK + block_bytes, dtype=np.uint8)
        self._block_bytes = block_bytes
        self.torn_records = 0
        self._held = self._read_header()
        self._format = format_of(self._block[: self._held].tobytes(), self._where)

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
        held: Int = self._held
        at: Int = self._format.start
        offset: Int = 0  # in the file, of the block's first byte
        got = held
        while got:
            count = len(rows)
            while count == len(rows):
                count, at, fault = self._format.walk(self._block, at, held, rows)
                if count:
                    yield Frames(self._block, rows[:count])
                if fault:
                    raise self._damaged(fault, offset + at, at)
            used = min(at, held)  # at is beyond held while a long block streams by
            self._block[: held - used] = self._block[used:held]
            at, held, offset = at - used, held - used, offset + used
            got = self._read(held, self._block_bytes, offset + held)
            held += got
        self.torn_records = int(held != at)

    def _read(self, at: Int, size: int, offset: Int) -> int:
        """Read up to size bytes to an index of the block; a damaged compressed stream is an error with its offset."""
        try:
            return self._stream.readinto(self._block.data[at : at + size])
        except DAMAGES as error:
            raise CaptureError(
                "the capture cannot be read to its end",
                self._at_byte(offset),
                "an undamaged file",
                str(error),
                "copy or compress the file again",
            ) from error

    def _read_header(self) -> int:
        """Read as much as tells the formats apart and return the number of bytes, fewer where there are no more."""
        held = 0
        while held < FILE_HEADER_BYTES and (got := self._read(held, FILE_HEADER_BYTES - held, held)):
            held += got
        return held

    def _damaged(self, code: Int, offset: Int, at: Int) -> CaptureError:
        """Return the error for a record that cannot be one."""
        what, expected, received = self._format.fault(
            code, lambda of: int.from_bytes(self._block[at + of : at + of + 4].tobytes(), "little")
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
