"""What is read of the payloads of some flows: a row each of numbers, codes and places of texts in the bytes."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from features.kernel_types import NEVER

SAID = np.dtype(
    [
        ("dns_query_length", "f4"),
        ("dns_query_entropy", "f4"),
        ("dns_label_count", "f4"),
        ("dns_longest_label", "f4"),
        ("dns_failed", "f4"),
        ("tls_cipher_count", "f4"),
        ("tls_extension_count", "f4"),
        ("tls_names_server", "f4"),
        ("http_uri_length", "f4"),
        ("http_failed", "f4"),
        ("dns_query_type", "i8"),  # numbers as they are on the wire
        ("dns_response_code", "i8"),
        ("tls_version", "i8"),
        ("http_status", "i8"),
        ("http_method", "i8"),  # index in METHODS
        ("dns_query", "i8", (2,)),  # first byte and the one behind the last: labels as they are on the wire
        ("tls_server_name", "i8", (2,)),
        ("tls_alpn", "i8", (2,)),  # names with commas between them
        ("tls_ja4", "i8", (2,)),  # what tls.ja4 makes a fingerprint of
        ("http_host", "i8", (2,)),
    ],
    align=True,
)
"""One flow, its fields named as the columns: NaN or NEVER where the bytes do not say."""


class Sides(NamedTuple):
    """The first payload bytes of both sides of some flows."""

    raw: npt.NDArray[np.uint8]  # one side behind the other, then room for what is made of them
    stops: npt.NDArray[np.int64]  # shape (2 n + 1,): side k lies from stops[k] to stops[k + 1], the forward one first

    def bytes_of(self, side: int) -> bytes:
        """Return the bytes of a side: 2 i is the forward one of flow i, 2 i + 1 the backward one."""
        return self.raw[self.stops[side] : self.stops[side + 1]].tobytes()


def room_of(size: int, sides: int) -> int:
    """Return the bytes to have behind so many of sides: of each a handshake out of its records, ALPN and tls.KEY."""
    return 3 * size + 16 * sides


def joined_sides(pairs: list[tuple[bytes, bytes]]) -> Sides:
    """Return the forward and backward bytes of some flows."""
    parts = [side for pair in pairs for side in pair]
    stops = np.cumsum([0, *map(len, parts)])
    raw = b"".join(parts) + bytes(room_of(int(stops[-1]), len(parts)))
    return Sides(np.frombuffer(bytearray(raw), np.uint8), stops)


def nothing_said(flows: int) -> npt.NDArray[np.void]:
    """Return rows of SAID before anything is read."""
    said = np.full(flows, NEVER, SAID)
    for name in SAID.names or ():
        if SAID[name].kind == "f":
            said[name] = np.nan
    return said


def who_said(said: npt.NDArray[np.void]) -> npt.NDArray[np.int64]:
    """Return the rows of SAID that hold something, in order."""
    words, blank = (rows.view(np.int64).reshape(-1, SAID.itemsize // 8) for rows in (said, nothing_said(1)))
    return np.flatnonzero((words != blank).any(axis=1))
