"""QUIC: the ClientHello in a client's first Initial packet, which is encrypted under a key that anyone can derive.

Sources: RFC 9000, 16 (variable-length integers), 17.2.2 (Initial), 19 (frames); RFC 9001, 5 (protection), 5.2 (salt);
RFC 9369, 3.3 (version 2); RFC 5869 (HKDF), RFC 8446, 7.1 (labels). The salts of drafts are those of QUIC-TLS 21 to 33.
"""

import hmac
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

SECOND_VERSION = 0x6B3343CF
SALTS = {SECOND_VERSION: "0dede3def700a6db819381be6e269dcbf9bd2ed9"}
SALTS |= dict.fromkeys((1, 0xFF000021, 0xFF000022), "38762cf7f55934b34d179ae6a4c80cadccbb7f0a")
SALTS |= dict.fromkeys(range(0xFF00001D, 0xFF000021), "afbfec289993d24c9e9786f19c6111e04390a899")
SALTS |= dict.fromkeys(
    (*range(0xFF000017, 0xFF00001D), 0xFACEB002, 0xFACEB00E), "c3eef712c72ebb5a11a7d2432bb46365bef9f502"
)
SALTS |= dict.fromkeys((0xFF000015, 0xFF000016, 0xFACEB001), "7fbcdb0e7c66bbe9193a96cd21519ebd7a02644a")
"""Of each version, hexadecimal: 1 and 2, drafts 21 to 34, and Facebook's, which took those of drafts."""
INITIAL = {SECOND_VERSION: 1}
"""Number of the packet type in versions where it is not 0."""
LONGEST_ID, SAMPLE_BYTES, SAMPLE_AHEAD = 20, 16, 4
PADDING, PING, CRYPTO = 0, 1, 6


class Initial(NamedTuple):
    """Where the parts of a protected Initial lie.

    Attributes:
        version: Of its header.
        key_id: The id that the keys are derived from: the destination's.
        number_at: Offset of the packet number.
        end: Offset behind the packet; others may follow in the datagram.
    """

    version: int
    key_id: bytes
    number_at: int
    end: int


def client_handshake(datagram: bytes) -> bytes:
    """Return the TLS handshake bytes of a datagram that begins with a client's Initial, as far as they are in order.

    Empty where it is none, or not whole: its tag proves that every byte is there.
    """
    initial = _initial(datagram)
    if initial is None:
        return b""
    frames = _opened(datagram, initial)
    return _in_order(_crypto_frames(frames))


def _initial(datagram: bytes) -> Initial | None:
    if len(datagram) < 7 or datagram[0] & 0xC0 != 0xC0:
        return None
    version, size = int.from_bytes(datagram[1:5]), datagram[5]
    if version not in SALTS or datagram[0] >> 4 & 3 != INITIAL.get(version, 0) or size > LONGEST_ID:
        return None
    at = 6 + size
    at += 1 + datagram[at] if at < len(datagram) else 1  # the source's id
    token, at = _integer(datagram, at)
    length, at = _integer(datagram, at + token)
    if length < SAMPLE_AHEAD + SAMPLE_BYTES or at + length > len(datagram):
        return None
    return Initial(version, datagram[6 : 6 + size], at, at + length)


def _integer(raw: bytes, at: int) -> tuple[int, int]:
    """Return a variable-length integer and the offset behind it, which is beyond the end if it is cut."""
    if at >= len(raw):
        return 0, at + 1
    size = 1 << (raw[at] >> 6)
    value = int.from_bytes(raw[at : at + size]) & (1 << 8 * size - 2) - 1
    return value, at + size


def _opened(datagram: bytes, initial: Initial) -> bytes:
    """Return what an Initial holds, empty if it was not made with its keys."""
    key, nonce, mask_key = initial_keys(initial.version, initial.key_id)
    at = initial.number_at
    sample = datagram[at + SAMPLE_AHEAD : at + SAMPLE_AHEAD + SAMPLE_BYTES]
    mask = Cipher(algorithms.AES(mask_key), modes.ECB()).encryptor().update(sample)  # noqa: S305 (RFC 9001, 5.4.3)
    first = datagram[0] ^ mask[0] & 0x0F
    size = (first & 3) + 1
    number = bytes(byte ^ over for byte, over in zip(datagram[at : at + size], mask[1:], strict=False))
    nonce = (int.from_bytes(nonce) ^ int.from_bytes(number)).to_bytes(len(nonce))
    header = bytes((first,)) + datagram[1:at] + number
    try:
        return AESGCM(key).decrypt(nonce, datagram[at + size : initial.end], header)
    except InvalidTag:
        return b""


def initial_keys(version: int, key_id: bytes) -> tuple[bytes, bytes, bytes]:
    """Return the client's key, nonce and header protection key for Initial packets."""
    secret = hmac.digest(bytes.fromhex(SALTS[version]), key_id, "sha256")
    client = _labelled(secret, "client in", 32)
    prefix = "quicv2" if version == SECOND_VERSION else "quic"
    return (
        _labelled(client, f"{prefix} key", 16),
        _labelled(client, f"{prefix} iv", 12),
        _labelled(client, f"{prefix} hp", 16),
    )


def _labelled(secret: bytes, label: str, size: int) -> bytes:
    """Return HKDF-Expand-Label of at most one hash's length, with an empty context."""
    named = b"tls13 " + label.encode()
    return hmac.digest(secret, size.to_bytes(2) + bytes((len(named),)) + named + b"\0\1", "sha256")[:size]


def _crypto_frames(frames: bytes) -> dict[int, bytes]:
    """Return the data of the CRYPTO frames by its offset; what a client's first Initial may not hold ends it."""
    found: dict[int, bytes] = {}
    at = 0
    while at < len(frames):
        if frames[at] == CRYPTO:
            offset, at = _integer(frames, at + 1)
            size, at = _integer(frames, at)
            found[offset] = frames[at : at + size]
            at += size
        elif frames[at] in (PADDING, PING):
            at = len(frames) - len(frames[at:].lstrip(bytes((PADDING, PING))))
        else:
            break
    return found


def _in_order(pieces: dict[int, bytes]) -> bytes:
    """Join pieces while each begins where the one before ended; clients shuffle them."""
    joined = bytearray()
    while piece := pieces.pop(len(joined), b""):
        joined += piece
    return bytes(joined)
