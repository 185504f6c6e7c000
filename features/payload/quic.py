"""QUIC: the version of a long header.

Sources: RFC 8999 (what all versions share), RFC 9000, 17.2 (version 1), RFC 9369 (version 2); drafts, Google's
and Facebook's versions by their numbers.
"""

import numpy as np
import numpy.typing as npt

from features.payload.said import Sides

LONG_HEADER_BYTES = 7
LONG_HEADER_BITS = 0xC0
LONGEST_ID = 20
VERSIONS = {1: "1", 0x6B3343CF: "2", 0xFACEB001: "mvfst-22", 0xFACEB002: "mvfst-27", 0xFACEB00E: "mvfst-exp"}
FIRST_DRAFT, LAST_DRAFT = 0xFF000011, 0xFF000022
"""The drafts whose header is that of version 1: 17 to 34."""


def quic_version(datagram: bytes) -> str | None:
    """Return "1", "2", "draft-29", Google's "Q050" or Facebook's "mvfst-22"; None unless this is its long header."""
    if len(datagram) < LONG_HEADER_BYTES or datagram[0] & LONG_HEADER_BITS != LONG_HEADER_BITS:
        return None
    version = int.from_bytes(datagram[1:5])
    length = datagram[5]
    if datagram[1:2] in (b"Q", b"T") and datagram[2:5].isdigit():  # whose ids once had both lengths in one byte
        return datagram[1:5].decode("ascii")
    if length > LONGEST_ID or (len(datagram) > 6 + length and datagram[6 + length] > LONGEST_ID):
        return None
    return f"draft-{version & 0xFF}" if FIRST_DRAFT <= version <= LAST_DRAFT else VERSIONS.get(version)


def could_be_quic(sides: Sides, flows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return the numbers of the sides, of some flows, that begin like a long header and are long enough for one."""
    both = np.stack([2 * flows, 2 * flows + 1], axis=1).ravel()
    begins = sides.stops[both]
    long_enough = sides.stops[both + 1] - begins >= LONG_HEADER_BYTES
    both, begins = both[long_enough], begins[long_enough]
    return both[sides.raw[begins] & LONG_HEADER_BITS == LONG_HEADER_BITS]
