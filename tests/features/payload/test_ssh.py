"""SSH identification lines."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.payload.flow_facts import TCP, flow_facts
from features.payload.ssh import MOST_BEFORE, ssh_software


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
@settings(deadline=None)
def test_any_bytes(raw: bytes) -> None:
    """Any bytes end in printable ASCII or nothing."""
    assert (ssh_software(b"SSH-2.0-" + raw) or "").isprintable()


def test_each_side() -> None:
    """Each side's line is read, also behind other lines of a server, as far as it may stand behind them."""
    late = b"a" * (MOST_BEFORE - 12) + b"\n"
    told = flow_facts(TCP, (50_000, 22), b"SSH-2.0-x\r\n", late + b"SSH-2.0-y\r\n")
    assert told == {"ssh_client_software": "x", "ssh_server_software": "y"}
    told = flow_facts(TCP, (22, 50_000), b"\n\nSSH-2.0-x\r\n", b"a" + late + b"SSH-2.0-y\r\n")
    assert told == {"ssh_client_software": "x"}


@given(st.lists(st.sampled_from([b"\n", b"S", b"SSH-", b"SSH-2.0-x\r\n", b"a"]), max_size=9).map(b"".join))
@settings(deadline=None)
def test_found_where_it_stands(stream: bytes) -> None:
    """A side is looked at closely wherever a line may identify it."""
    software = ssh_software(stream)
    assert flow_facts(TCP, (50_000, 22), stream, b"") == ({"ssh_client_software": software} if software else {})
