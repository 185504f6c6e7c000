"""QUIC long headers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.payload.quic import quic_version


@pytest.mark.parametrize(
    ("datagram", "version"),
    [
        ("c3000000010872", "1"),
        ("c36b3343cf0872", "2"),
        ("c3ff00001d0872", "draft-29"),
        ("c3513035300872", "Q050"),
        ("c35130343650b4", "Q046"),  # the lengths of both ids in one byte
        ("c9faceb0010872", "mvfst-22"),
        ("43000000010872", None),  # a short header
        ("c3000000000872", None),  # a version negotiation
        ("c30a0a0a0a0872", None),  # a version that is reserved
        ("c3000000011572", None),  # a connection id of 21 bytes
        ("c30000000100ff", None),  # the other one of 255
        ("c30000000108", None),  # cut
    ],
)
def test_version(datagram: str, version: str | None) -> None:
    """A long header of a known version gives it; what cannot be one gives nothing."""
    assert quic_version(bytes.fromhex(datagram)) == version


@given(st.binary(max_size=60))
def test_any_bytes(raw: bytes) -> None:
    """Any bytes end in one of the known versions or nothing."""
    assert (quic_version(b"\xc0" + raw) or "1").isprintable()
