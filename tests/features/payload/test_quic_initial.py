"""The ClientHello of QUIC's first packet: the RFC's own packet, packets made here, and what is none."""

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st

from features.payload.flow_facts import UDP, flow_facts
from features.payload.quic_initial import client_handshake, initial_keys

KEY_ID = bytes.fromhex("8394c8f03e515708")
RFC_HELLO = bytes.fromhex(
    "010000ed0303ebf8fa56f12939b9584a3896472ec40bb863cfd3e86804fe3a47f06a2b69484c00000413011302010000c000000010000e"
    "00000b6578616d706c652e636f6dff01000100000a00080006001d0017001800100007000504616c706e00050005010000000000330026"
    "0024001d00209370b2c9caa47fbabaf4559fedba753de171fa71f50f1ce15d43e994ec74d748002b0003020304000d0010000e04030503"
    "06030203080408050806002d00020101001c00024001003900320408ffffffffffffffff05048000ffff07048000ffff08011001048000"
    "75300901100f088394c8f03e51570806048000ffff"
)
"""RFC 9001, A.2: the ClientHello of its example."""
RFC_START = bytes.fromhex(
    "c000000001088394c8f03e5157080000449e7b9aec34d1b1c98dd7689fb8ec11d242b123dc9bd8bab936b47d92ec356c"
)
"""The beginning of the packet that protects it."""


def test_keys_of_the_rfc() -> None:
    """RFC 9001, A.1, and RFC 9369, A.1, print the client's key, nonce and header protection key."""
    assert [part.hex() for part in initial_keys(1, KEY_ID)] == [
        "1f369613dd76d5467730efcbe3b1a22d",
        "fa044b2f42a3fd3b46fb255c",
        "9f50449e04a0e810283a1e9933adedd2",
    ]
    assert [part.hex() for part in initial_keys(0x6B3343CF, KEY_ID)] == [
        "8b1a0bc121284290a29e0971b5cd045d",
        "91f73e2351d8fa91660e909f",
        "45b95e15235d6f45a6b19cbcb0294ba9",
    ]


def protected(
    frames: bytes, version: int = 1, kind: int = 0, number: int = 2, size: int = 1178, token: bytes = b""
) -> bytes:
    """Return an Initial of the RFC's key id that holds some frames, filled up, as RFC 9001, 5 protects it."""
    key, nonce, mask_key = initial_keys(version, KEY_ID)
    body = frames + bytes(size - 16 - 4 - len(frames))
    header = bytes((0xC3 | kind << 4,)) + version.to_bytes(4) + b"\x08" + KEY_ID + b"\0" + bytes((len(token),)) + token
    header += (0x4000 | size).to_bytes(2) + number.to_bytes(4)
    made_nonce = (int.from_bytes(nonce) ^ number).to_bytes(12)
    sealed = AESGCM(key).encrypt(made_nonce, body, header)
    mask = Cipher(algorithms.AES(mask_key), modes.ECB()).encryptor().update(sealed[:16])  # noqa: S305 (RFC 9001)
    hidden = bytes(one ^ over for one, over in zip(header[-4:], mask[1:], strict=False))
    return bytes((header[0] ^ mask[0] & 0x0F,)) + header[1:-4] + hidden + sealed


def crypto(offset: int, data: bytes) -> bytes:
    """Return a CRYPTO frame, its numbers in two bytes each."""
    return b"\x06" + (0x4000 | offset).to_bytes(2) + (0x4000 | len(data)).to_bytes(2) + data


def test_the_packet_of_the_rfc() -> None:
    """The packet made here of the RFC's hello begins as the RFC prints it, and its hello is read."""
    packet = protected(b"\x06\0\x40\xf1" + RFC_HELLO, size=1182)
    assert packet.startswith(RFC_START)
    assert len(packet) == 1200
    assert client_handshake(packet) == RFC_HELLO
    facts = flow_facts(UDP, (50_000, 443), packet, b"")
    assert (facts["quic_version"], facts["tls_server_name"], facts["tls_alpn"]) == ("1", "example.com", "alpn")
    assert str(facts["tls_ja4"]).startswith("q13d0211an_")


@pytest.mark.parametrize(("version", "kind"), [(1, 0), (0x6B3343CF, 1), (0xFF00001D, 0), (0xFF00001C, 0)])
def test_versions(version: int, kind: int) -> None:
    """Version 2 and drafts have salts, and version 2 a packet type, of their own."""
    assert client_handshake(protected(crypto(0, RFC_HELLO), version, kind)) == RFC_HELLO
    assert client_handshake(protected(crypto(0, RFC_HELLO), version, 1 - kind)) == b""


def test_shuffled_pieces() -> None:
    """Pieces in any order, with padding and pings between them, are joined; behind a gap nothing is."""
    first, second, third = RFC_HELLO[:50], RFC_HELLO[50:90], RFC_HELLO[90:]
    shuffled = crypto(90, third) + bytes(9) + crypto(0, first) + b"\x01\0" + crypto(50, second)
    assert client_handshake(protected(shuffled, token=b"token")) == RFC_HELLO
    assert client_handshake(protected(crypto(90, third) + crypto(0, first))) == first


def test_what_is_none() -> None:
    """A cut packet, one with a byte changed, and one under other keys say nothing but their version."""
    packet = protected(crypto(0, RFC_HELLO))
    changed = packet[:600] + bytes((packet[600] ^ 1,)) + packet[601:]
    other_id = packet[:6] + b"\xff" + packet[7:]
    for one in (packet[:-1], changed, other_id):
        assert flow_facts(UDP, (50_000, 443), one, b"") == {"quic_version": "1"}


@given(st.binary(max_size=120), st.sampled_from([1, 0x6B3343CF, 0xFF00001D]), st.booleans())
@settings(deadline=None)
def test_any_bytes(raw: bytes, version: int, sealed: bool) -> None:
    """Any bytes, also well protected ones, end in a hello's beginning or in nothing."""
    kind = int(version == 0x6B3343CF)
    datagram = protected(raw, version, kind) if sealed else bytes((0xC0 | kind << 4,)) + version.to_bytes(4) + raw
    assert isinstance(client_handshake(datagram), bytes)
    flow_facts(UDP, (50_000, 443), datagram, b"")
