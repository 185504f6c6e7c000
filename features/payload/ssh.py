"""SSH: the software that a side says it is.

Source: RFC 4253, 4.2: SSH-protoversion-softwareversion SP comments CR LF; a server may send other lines before it.
"""

import re

from features.payload.text import safe_text

_BANNER = re.compile(rb"(?:\A|\n)SSH-[12]\.\d{1,2}-([^\r\n]{1,247})\r?\n")
MOST_BEFORE = 512


def ssh_software(stream: bytes) -> str | None:
    """Return the software version and comments of the identification line ("OpenSSH_9.6p1 Ubuntu-3"), None if none."""
    banner = _BANNER.search(stream, 0, MOST_BEFORE) if stream[:4] == b"SSH-" or b"\nSSH-" in stream else None
    return safe_text(banner[1]).rstrip() if banner else None
