"""TLS: what a ClientHello offers, with its JA4 fingerprint, and the version that a ServerHello chooses.

Sources: RFC 8446, 4.1 and 5.1 (hellos, records; RFC 5246 and 6101 before it), RFC 6066, 3 (server name), RFC 7301
(ALPN), RFC 8701 (GREASE); FoxIO's public technical details of JA4, which is free to use (its siblings are not).
"""

import hashlib
from functools import lru_cache
from typing import NamedTuple

from features.payload.facts import Facts
from features.payload.text import LONGEST_TEXT, safe_text

HANDSHAKE_RECORD = 22
CLIENT_HELLO, SERVER_HELLO = 1, 2
SERVER_NAME, SIGNATURE_ALGORITHMS, ALPN, SUPPORTED_VERSIONS = 0, 13, 16, 43
TLS_1_3, TLS_1_3_CIPHERS = 0x0304, 0x13
VERSIONS = {0x0300: "SSL 3.0", 0x0301: "TLS 1.0", 0x0302: "TLS 1.1", 0x0303: "TLS 1.2", TLS_1_3: "TLS 1.3"}
JA4_VERSIONS = {0x0002: "s2", 0x0300: "s3", 0x0301: "10", 0x0302: "11", 0x0303: "12", TLS_1_3: "13"}
EMPTY_HASH = "0" * 12
OVER_TCP, OVER_QUIC = "t", "q"
Numbers = tuple[int, ...]


class Hello(NamedTuple):
    """The parts of a hello that were captured."""

    version: int  # legacy_version
    ciphers: Numbers  # offered, or the one chosen
    extensions: dict[int, bytes]  # whole ones, in order
    whole: bool  # nothing was cut


def tls_facts(stream: bytes) -> Facts:
    """Return what the hello at the beginning of one side's bytes says; nothing where there is none.

    Returns:
        From a ClientHello tls_server_name and tls_alpn ("h2,http/1.1", as offered), as far as the bytes reach, and
        tls_ja4 and the counts once all of it is there; from a ServerHello tls_version ("TLS 1.3").
    """
    if len(stream) < 6 or stream[0] != HANDSHAKE_RECORD or stream[1] != 3 or stream[2] > 4:
        return {}
    return hello_facts(_handshake(stream), OVER_TCP)


def hello_facts(handshake: bytes, transport: str) -> Facts:
    """Return what the hello at the beginning of some handshake bytes says.

    Args:
        handshake: The bytes, without the records around them.
        transport: OVER_TCP or OVER_QUIC, which a fingerprint begins with.
    """
    if len(handshake) < 4 or handshake[0] not in (CLIENT_HELLO, SERVER_HELLO):
        return {}
    end = 4 + int.from_bytes(handshake[1:4])
    hello = _hello(handshake[4:end], end - 4, handshake[0])
    if hello is None:
        return {}
    return _client_facts(hello, transport) if handshake[0] == CLIENT_HELLO else _server_facts(hello)


def _handshake(stream: bytes) -> bytes:
    """Return the handshake bytes of the records at the beginning."""
    bodies, at = [], 0
    while len(stream) - at > 5 and stream[at] == HANDSHAKE_RECORD:
        size = int.from_bytes(stream[at + 3 : at + 5])
        bodies.append(stream[at + 5 : at + 5 + size])
        at += 5 + size
    return b"".join(bodies)


def _hello(body: bytes, size: int, kind: int) -> Hello | None:
    """Return the hello whose first bytes these are, of so many; None if it cannot be one or is cut before the list."""
    if len(body) < 35 or body[34] > 32 or body[0] != 3:
        return None
    version, at = int.from_bytes(body[:2]), 35 + body[34]
    if kind == CLIENT_HELLO:
        listed = int.from_bytes(body[at : at + 2])
        ciphers = _numbers(body[at + 2 : at + 2 + listed])
        at += 2 + listed
        at += 1 + body[at] if at < len(body) else 1
    else:
        ciphers = _numbers(body[at : at + 2])
        at += 3
    if at > size:
        return None
    extensions, whole = _extensions(body, at)
    return Hello(version, ciphers, extensions, whole and len(body) == size)


def _extensions(body: bytes, at: int) -> tuple[dict[int, bytes], bool]:
    """Return the extensions listed from an index on, and whether they are all there."""
    if at >= len(body):
        return {}, at == len(body)
    found: dict[int, bytes] = {}
    end = at + 2 + int.from_bytes(body[at : at + 2])
    at += 2
    while at + 4 <= min(end, len(body)):
        size = int.from_bytes(body[at + 2 : at + 4])
        if at + 4 + size > min(end, len(body)):
            break
        found.setdefault(int.from_bytes(body[at : at + 2]), body[at + 4 : at + 4 + size])
        at += 4 + size
    return found, at == end == len(body)


def _numbers(raw: bytes) -> Numbers:
    return tuple([raw[at] << 8 | raw[at + 1] for at in range(0, len(raw) - 1, 2)])


def _without_grease(numbers: Numbers) -> Numbers:
    return tuple([number for number in numbers if number & 0x0F0F != 0x0A0A or number >> 8 != number & 0xFF])


def _client_facts(hello: Hello, transport: str) -> Facts:
    facts: Facts = {}
    name, protocols = _server_name(hello.extensions), _alpn(hello.extensions)
    if name:
        facts["tls_server_name"] = safe_text(name).lower()
    if protocols:
        facts["tls_alpn"] = ",".join(map(safe_text, protocols))[:LONGEST_TEXT]
    if hello.whole:
        ciphers, extensions = _without_grease(hello.ciphers), _without_grease(tuple(hello.extensions))
        facts["tls_ja4"] = transport + _ja4(hello, ciphers, extensions, protocols)
        facts["tls_cipher_count"], facts["tls_extension_count"] = len(ciphers), len(extensions)
        facts["tls_names_server"] = int(SERVER_NAME in hello.extensions)
    return facts


def _server_facts(hello: Hello) -> Facts:
    """Return the version: 1.3, and drafts of it, have cipher suites of their own, and say it in an extension too."""
    if not hello.ciphers:
        return {}
    chosen = hello.extensions.get(SUPPORTED_VERSIONS)
    version = int.from_bytes(chosen[:2]) if chosen else hello.version
    if hello.ciphers[0] >> 8 == TLS_1_3_CIPHERS:
        version = TLS_1_3
    return {"tls_version": VERSIONS[version]} if version in VERSIONS else {}


def _server_name(extensions: dict[int, bytes]) -> bytes:
    """Return the first host name of the extension, empty if there is none."""
    raw = extensions.get(SERVER_NAME, b"")
    return raw[5 : 5 + int.from_bytes(raw[3:5])] if len(raw) > 5 and raw[2] == 0 else b""


def _alpn(extensions: dict[int, bytes]) -> list[bytes]:
    raw, at = extensions.get(ALPN, b""), 2
    protocols = []
    while at < len(raw):
        protocols.append(raw[at + 1 : at + 1 + raw[at]])
        at += 1 + raw[at]
    return protocols


def _ja4(hello: Hello, ciphers: Numbers, extensions: Numbers, protocols: list[bytes]) -> str:
    versions = _without_grease(_numbers(hello.extensions.get(SUPPORTED_VERSIONS, b"")[1:]))
    algorithms = _without_grease(_numbers(hello.extensions.get(SIGNATURE_ALGORITHMS, b"")[2:]))
    version = JA4_VERSIONS.get(max(versions, default=hello.version), "00")
    named = "d" if SERVER_NAME in extensions else "i"
    counts = f"{min(len(ciphers), 99):02}{min(len(extensions), 99):02}"
    listed = tuple(sorted(set(extensions) - {SERVER_NAME, ALPN}))
    head = f"{version}{named}{counts}{_ja4_protocol(protocols)}"
    return f"{head}_{_ja4_hash(tuple(sorted(ciphers)), ())}_{_ja4_hash(listed, algorithms)}"


def _ja4_protocol(protocols: list[bytes]) -> str:
    """Return the ends of the first protocol's name, of its hexadecimal digits where one is not alphanumeric."""
    if not protocols or not protocols[0]:
        return "00"
    ends = protocols[0][:1] + protocols[0][-1:]
    if ends.isalnum():
        return ends.decode("ascii")
    digits = protocols[0].hex()
    return digits[0] + digits[-1]


@lru_cache(maxsize=4096)
def _ja4_hash(sorted_numbers: Numbers, in_order: Numbers) -> str:
    if not sorted_numbers:
        return EMPTY_HASH
    lists = (sorted_numbers, in_order) if in_order else (sorted_numbers,)
    text = "_".join([",".join([f"{number:04x}" for number in numbers]) for numbers in lists])
    return hashlib.sha256(text.encode()).hexdigest()[:12]
