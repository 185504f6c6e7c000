"""IPv4 between text and bytes, against the standard library."""

import ipaddress

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from features.dotted import dotted_text, read_dotted

NEARLY = st.text("0123456789.", max_size=16) | st.from_regex(r"\A\d{1,3}(\.\d{1,3}){3}\Z")


def by_the_library(text: str | None) -> bytes:
    """Return 16 bytes as the standard library reads them, zeros for what it refuses."""
    try:
        return bytes(10) + b"\xff\xff" + ipaddress.IPv4Address(text or "").packed
    except ipaddress.AddressValueError:
        return bytes(16)


@settings(deadline=None)
@given(st.lists(st.none() | NEARLY | st.ip_addresses(v=4).map(str), max_size=20), st.integers(0, 3))
def test_texts_are_read_as_the_library_reads_them(texts: list[str | None], skipped: int) -> None:
    """Texts that are nearly addresses, also in a slice of a longer column."""
    packed, found = read_dotted(pa.array(texts, pa.string()).slice(skipped))
    expected = [by_the_library(text) for text in texts[skipped:]]
    assert [bytes(row) for row in packed] == expected
    assert found.tolist() == [any(row) for row in expected]


@settings(deadline=None)
@given(st.lists(st.ip_addresses(), max_size=20))
def test_bytes_are_written_as_the_library_writes_them(addresses: list[ipaddress.IPv4Address]) -> None:
    """IPv4, mapped or not, in four numbers; null for IPv6."""
    packed = [address.packed if address.version == 6 else by_the_library(str(address)) for address in addresses]
    texts = dotted_text(np.frombuffer(b"".join(packed), np.uint8).reshape(-1, 16))
    fours = [address if address.version == 4 else address.ipv4_mapped for address in addresses]
    assert texts.to_pylist() == [None if four is None else str(four) for four in fours]
