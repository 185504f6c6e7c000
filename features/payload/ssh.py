"""SSH: the software that a side says it is.

Source: RFC 4253, 4.2: SSH-protoversion-softwareversion SP comments CR LF; a server may send other lines before it.
"""

import re

import numpy as np

from features.kernel_types import kernel
from features.payload.said import Sides
from features.payload.text import safe_text

_BANNER = re.compile(rb"(?:\A|\n)SSH-[12]\.\d{1,2}-([^\r\n]{1,247})\r?\n")
MOST_BEFORE = 512
BEGINNING = np.frombuffer(b"\nSSH-", np.uint8)
NEWLINE = BEGINNING[0]


def ssh_software(stream: bytes) -> str | None:
    """Return the software version and comments of the identification line ("OpenSSH_9.6p1 Ubuntu-3"), None if none."""
    banner = _BANNER.search(stream, 0, MOST_BEFORE) if stream[:4] == b"SSH-" or b"\nSSH-" in stream else None
    return safe_text(banner[1]).rstrip() if banner else None


@kernel
def begin_like_ssh(sides: Sides, which: np.ndarray, found: np.ndarray) -> int:
    """Find the sides that may identify themselves: a line of theirs begins like it.

    Args:
        sides: First payload bytes of the flows.
        which: The flows that may speak SSH.
        found: Filled with the numbers of such sides; two for each flow.

    Returns:
        How many they are.
    """
    raw, stops = sides
    count = 0
    for flow in which:
        for side in (2 * flow, 2 * flow + 1):
            at, stop = stops[side], min(stops[side + 1], stops[side] + MOST_BEFORE)
            same = 1  # as if a line had ended before
            while at < stop and same < len(BEGINNING):
                same = same + 1 if raw[at] == BEGINNING[same] else 1 if raw[at] == NEWLINE else 0
                at += 1
            if same == len(BEGINNING):
                found[count] = side
                count += 1
    return count
