"""SSH identification lines."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.payload.ssh import ssh_software


@pytest.mark.parametrize(
    ("stream", "software"),
    [
        (b"SSH-2.0-OpenSSH_9.6p1 Ubuntu-3\r\nrest", "OpenSSH_9.6p1 Ubuntu-3"),
        (b"SSH-1.99-Cisco-1.25\n", "Cisco-1.25"),
        (b"welcome\r\nSSH-2.0-x\r\n", "x"),
        (b"SSH-2.0-a\x1bb\r\n", "a\\x1bb"),
        (b"SSH-2.0-OpenSSH_9", None),
        (b"SSH-2.0-\r\n", None),
        (b"GET / HTTP/1.1\r\n", None),
        (b"SSH-2.0-" + 300 * b"a" + b"\r\n", None),
    ],
)
def test_software(stream: bytes, software: str | None) -> None:
    """Software and comment up to the line's end; nothing where that was cut, is empty or above RFC 4253's 255 bytes."""
    assert ssh_software(stream) == software


@given(st.binary(max_size=300))
def test_any_bytes(raw: bytes) -> None:
    """Any bytes end in printable ASCII or nothing."""
    assert (ssh_software(b"SSH-2.0-" + raw) or "").isprintable()
