"""Bytes of a capture read ahead of their use: a ring of buffers and a thread that fills them."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import cycle

import numpy as np

from features.captures.byte_source import ByteStream


@dataclass(frozen=True)
class Buffer:
    """Where a piece of a capture is read to; the free space before it is for what the piece before it left over."""

    block: np.ndarray  # uint8
    start: int  # first byte to fill

    def filled_from(self, stream: ByteStream) -> int:
        """Read once and return the number of bytes, 0 at the end."""
        return stream.readinto(self.block.data[self.start :])


class Pieces:
    """The pieces of a stream one after the other, read ahead in a thread of its own where that can be waited for.

    A pipe is read when its bytes are asked for: a thread would still wait for its writer when nobody else does.
    """

    def __init__(self, stream: ByteStream, room: int, piece_bytes: int, ahead: bool) -> None:
        """Start reading.

        Args:
            stream: What is read.
            room: Free bytes before each piece.
            piece_bytes: The most bytes of a piece.
            ahead: Whether to read ahead.
        """
        self._stream = stream
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="reader") if ahead else None
        self._buffers = [Buffer(np.empty(room + piece_bytes, dtype=np.uint8), room) for _ in range(3 if ahead else 2)]

    def __iter__(self) -> Iterator[tuple[Buffer, int]]:
        """Yield each buffer and the bytes read into it; it and the one before it keep their bytes until the next.

        Raises:
            DAMAGES: The compressed stream is damaged.
        """
        if self._pool is None:
            for buffer in cycle(self._buffers):
                if not (got := buffer.filled_from(self._stream)):
                    return
                yield buffer, got
        else:
            yield from self._read_ahead(self._pool)

    def _read_ahead(self, pool: ThreadPoolExecutor) -> Iterator[tuple[Buffer, int]]:
        pending = deque((buffer, pool.submit(buffer.filled_from, self._stream)) for buffer in self._buffers[:2])
        free = deque(self._buffers[2:])
        while pending:
            buffer, reading = pending.popleft()
            if not (got := reading.result()):
                return
            following = free.popleft()
            yield buffer, got
            pending.append((following, pool.submit(following.filled_from, self._stream)))
            free.append(buffer)

    def close(self) -> None:
        """Stop reading; what is being read is waited for."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
