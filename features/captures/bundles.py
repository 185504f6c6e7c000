"""Bundles of IEEE 802.11 (A-MSDU): several frames in one, taken apart before they are decoded, each a packet then."""

from collections.abc import Iterator

import numpy as np

from features.captures.frames import FRAME
from features.captures.link_kernel import LINK_ETHERNET, take_apart


def unbundled(block: np.ndarray, rows: np.ndarray, most: int) -> Iterator[np.ndarray]:
    """Yield the frames of a block, those of a bundle in its place; what is no bundle as it is.

    Args:
        block: Bytes, uint8.
        rows: FRAME rows into it.
        most: Frames to yield at once, more than a bundle can hold; as many rows as there are without bundles.
    """
    if (rows["link_type"] == LINK_ETHERNET).all():
        yield rows
        return
    room, taken = np.zeros(most, dtype=FRAME), 0
    while taken < len(rows):
        taken, filled = take_apart(block, rows, taken, room)
        yield room[:filled]
