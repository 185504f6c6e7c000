"""TLS: versions by name, and JA4, which tells programs apart by what their ClientHello offers.

Source: FoxIO's public technical details of JA4, which is free to use (its siblings are not).
"""

import hashlib
import struct
from functools import lru_cache

VERSIONS = {0x0300: "SSL 3.0", 0x0301: "TLS 1.0", 0x0302: "TLS 1.1", 0x0303: "TLS 1.2", 0x0304: "TLS 1.3"}
JA4_VERSIONS = {0x0002: "s2", 0x0300: "s3", 0x0301: "10", 0x0302: "11", 0x0303: "12", 0x0304: "13"}
EMPTY_HASH = "0" * 12
OVER_TCP, OVER_QUIC = "t", "q"
COUNT_SHOWN = 99
KEY = struct.Struct(">H?BB?cc HH")
"""Before the numbers in what `ja4` takes: the highest version offered, whether the server is named, ciphers and
extensions at most COUNT_SHOWN each, whether there is a first protocol with a name, the ends of that name, and how many
extensions and ciphers are listed."""
KEY_BYTES = KEY.size


@lru_cache(maxsize=4096)
def ja4(offered: bytes, transport: str) -> str:
    """Return the fingerprint of a client.

    Args:
        offered: What KEY says, then 16-bit numbers without GREASE, highest byte first: extensions in rising order but
            for the server name and ALPN, ciphers in rising order, signature algorithms as they were sent.
        transport: OVER_TCP or OVER_QUIC.
    """
    version, named, ciphers, extensions, has_protocol, *ends, listed, suites = KEY.unpack_from(offered)
    numbers = [f"{number:04x}" for (number,) in struct.iter_unpack(">H", offered[KEY_BYTES:])]
    head = f"{transport}{JA4_VERSIONS.get(version, '00')}{'d' if named else 'i'}{ciphers:02}{extensions:02}"
    protocol = _protocol(b"".join(ends)) if has_protocol else "00"
    behind = listed + suites
    return f"{head}{protocol}_{_hash(numbers[listed:behind])}_{_hash(numbers[:listed], numbers[behind:])}"


def _protocol(ends: bytes) -> str:
    """Return the ends of the first protocol's name, of its hexadecimal digits where one is not alphanumeric."""
    if ends.isalnum():
        return ends.decode("ascii")
    digits = ends.hex()
    return digits[0] + digits[-1]


def _hash(rising: list[str], in_order: list[str] | None = None) -> str:
    if not rising:
        return EMPTY_HASH
    text = "_".join([",".join(numbers) for numbers in (rising, in_order) if numbers])
    return hashlib.sha256(text.encode()).hexdigest()[:12]
