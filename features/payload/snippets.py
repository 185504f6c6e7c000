"""Snippets: the first payload bytes of each side of a flow, in a pool of chunks with a hard limit.

A side takes its first chunk with its first payload, so a flow without payload costs nothing; the system gives the
pool's memory when it is first written to. TCP segments are joined while each begins where the one before ended; of UDP
the first datagram is taken. A side takes up to SIDE_BYTES, a TLS hello's side as much as the hello and a QUIC client's
the whole datagram, up to HELLO_BYTES.
With the pool empty a side goes without, or without the rest, and is counted.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from features.kernel_types import NEVER, Int, kernel
from features.payload.said import Sides, room_of

CHUNK_BYTES = 240
SIDE_BYTES = (2 * CHUNK_BYTES, CHUNK_BYTES)
"""Bytes kept of the forward and of the backward side."""
HELLO_BYTES = 9 * CHUNK_BYTES
MOST_CHUNKS = 262_144
"""Chunks of all live flows together: 64 MiB."""

CHUNK = np.dtype(
    [
        ("next", "i4"),  # chunk of the side or of the free ones, NEVER at the end
        ("tail", "i4"),  # of the side, in its first chunk; so are the next two
        ("length", "i4"),  # bytes of the side
        ("next_seq", "u4"),  # where the side's next segment must begin
        ("bytes", "u1", (CHUNK_BYTES,)),
    ],
    align=True,
)
POOL = np.dtype(
    [
        ("free", "i4"),  # first of the chain of chunks given back, NEVER where there is none
        ("fresh", "i4"),  # first of those never used
        ("without_room", "i8"),  # sides that went without some or all of their bytes
    ],
    align=True,
)


class Snippets(NamedTuple):
    """The pool's arrays."""

    chunks: np.ndarray  # CHUNK rows
    state: np.ndarray  # one POOL row
    export: np.ndarray  # int32, shape (export rows, 2): the first chunk of each side of a finished flow, NEVER if none
    held: np.ndarray  # uint8, HELLO_BYTES: the payload of the packet that waits


def new_snippets(export_rows: int, chunks: int = MOST_CHUNKS) -> Snippets:
    """Return an empty pool of so many chunks."""
    state = np.zeros(1, dtype=POOL)
    state["free"] = NEVER
    export = np.full((export_rows, 2), NEVER, dtype=np.int32)
    return Snippets(np.zeros(chunks, dtype=CHUNK), state, export, np.zeros(HELLO_BYTES, dtype=np.uint8))


@kernel
def _take_out(snippets: Snippets, firsts: np.ndarray, out: np.ndarray, stops: np.ndarray) -> None:
    """Copy sides one behind the other, say where each ends, and give their chunks back."""
    chunks, state = snippets.chunks, snippets.state[0]
    at: Int = 0
    for i in range(len(firsts)):
        chunk = np.int64(firsts[i])
        left = np.int64(chunks[chunk].length) if chunk != NEVER else 0
        while chunk != NEVER:
            count = min(left, CHUNK_BYTES)
            for k in range(np.uint64(count)):  # as in the meter, many bytes at a time
                out[np.uint64(at) + k] = chunks[chunk].bytes[k]
            at += count
            left -= count
            following = np.int64(chunks[chunk].next)
            chunks[chunk].next = state.free
            state.free = chunk
            chunk = following
        stops[i] = at


def taken_out(snippets: Snippets, flows: npt.NDArray[np.int64]) -> Sides:
    """Return the sides of some rows of the export buffer, with room for what is made of them, and free their chunks."""
    firsts = snippets.export[flows].ravel()
    size = int(snippets.chunks["length"][firsts[firsts != NEVER]].sum())
    raw = np.empty(size + room_of(size, len(firsts)), dtype=np.uint8)
    stops = np.zeros(len(firsts) + 1, dtype=np.int64)
    _take_out(snippets, firsts, raw, stops[1:])
    return Sides(raw, stops)
