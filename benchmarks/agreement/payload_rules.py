"""Why a value of a payload differs from nDPI's: each rule tells from the flow's own payload whether it holds."""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass

from features.payload.flow_facts import DNS_PORTS, TCP, UDP, flow_facts
from features.payload.quic import quic_version
from features.payload.quic_initial import client_handshake
from features.payload.snippets import HELLO_BYTES, SIDE_BYTES

KEPT_BYTES = SIDE_BYTES[0]
DNS_HEADER_BYTES = 12
EMPTY_HASH = hashlib.sha256(b"").hexdigest()[:12]
NDPI_VERSIONS = {0x0300: "SSLv3", 0x0301: "TLSv1", 0x0302: "TLSv1.1", 0x0303: "TLSv1.2", 0x0304: "TLSv1.3"}
QUIC_VERSIONS = {"1": "V-1", "2": "V-2"}
ESCAPE = re.compile(r"\\\d{3}|\\.")

Sides = tuple[list[bytes], list[bytes]]
"""Payloads of each packet, of the flow's sender and of the other side."""


@dataclass(frozen=True)
class Value:
    """One value of a flow's payload as both tell it, None where one does not."""

    ours: str | None
    theirs: str | None
    sides: Sides

    @property
    def firsts(self) -> list[bytes]:
        """The first payload of each side that has one."""
        return [side[0] for side in self.sides if side]

    @property
    def every(self) -> list[bytes]:
        """All payloads."""
        return [*self.sides[0], *self.sides[1]]


def begins_later(value: Value) -> bool:
    """Tell whether no side begins with TLS, but a later packet does."""
    return all(first[:1] != b"\x16" for first in value.firsts) and any(one[:2] == b"\x16\x03" for one in value.every)


def behind_zeros(value: Value) -> bool:
    """Tell whether the sender's first payload is zeros alone."""
    return bool(value.sides[0]) and not any(value.sides[0][0])


def unkept(value: Value) -> bool:
    """Tell whether the host ends behind the bytes of a request that we keep."""
    head = b"".join(value.sides[0])
    at = head.lower().find(b"\nhost:")
    return value.ours is None and at + len("\nHost: ") + len(value.theirs or "") > KEPT_BYTES - 2


def later_name(value: Value) -> bool:
    """Tell whether a message of the flow asks for their name, of whatever class, and however many records it counts."""
    return _plain(value.theirs or "?") in {_plain(_first_name(one)) for one in value.every}


def _first_name(message: bytes) -> str:
    """Return the labels behind a DNS header, whatever stands before and behind them."""
    labels, at = [], DNS_HEADER_BYTES
    while at < len(message) and message[at]:
        labels.append(message[at + 1 : at + 1 + message[at]].decode("latin-1").lower())
        at += 1 + message[at]
    return ".".join(labels)


def _question(message: bytes) -> str:
    return str(flow_facts(UDP, (0, DNS_PORTS[0]), message, b"").get("dns_query", ""))


def without_question(value: Value) -> bool:
    """Tell whether neither side begins with a message that has a whole question."""
    return value.ours is None and not any(map(_question, value.firsts))


def masked(value: Value) -> bool:
    """Tell whether the names are equal but for bytes that nDPI does not show."""
    return _plain(value.ours or "") == _plain(value.theirs or "")


def _plain(name: str) -> str:
    """Return a name with a question mark for every byte that nDPI may show as one, or as a line."""
    return re.sub(r"[^a-z0-9.-]", "?", ESCAPE.sub("?", name))


def ends(value: Value) -> bool:
    """Tell whether theirs is a beginning or an end of ours."""
    ours, theirs = (_plain(name or "") for name in (value.ours, value.theirs))
    return bool(theirs) and (ours.startswith(theirs) or ours.endswith(theirs))


def silent(value: Value) -> bool:
    """Tell whether they say nothing."""
    return value.theirs is None


def same_but(*parts: slice) -> Callable[[Value], bool]:
    """Return what tells whether two fingerprints differ in these characters alone."""

    def holds(value: Value) -> bool:
        if value.ours is None or value.theirs is None:
            return False
        texts = [list(value.ours), list(value.theirs)]
        for text in texts:
            for part in parts:
                text[part] = "?" * len(text[part])
        return texts[0] == texts[1]

    return holds


def offered(value: Value) -> bool:
    """Tell whether theirs is what the client offers, by the hello's own field or by the extension."""
    streams = [b"".join(side) for side in value.sides]
    hellos = [stream for stream in streams if stream[:1] == b"\x16" and stream[5:6] == b"\x01"]
    offered = {int.from_bytes(stream[9:11]) for stream in hellos}
    offered |= {0x0300 + int(fingerprint[2]) for stream in hellos if (fingerprint := _fingerprint(stream))}
    return value.theirs in {NDPI_VERSIONS.get(version) for version in offered}


def _fingerprint(stream: bytes) -> str:
    return str(flow_facts(TCP, (0, 0), stream, b"").get("tls_ja4", ""))


def of_nothing(value: Value) -> bool:
    """Tell whether they hash an empty list where the description wants zeros."""
    return (value.ours or "").endswith("0" * 12) and (value.theirs or "").endswith(EMPTY_HASH)


def unkept_hello(value: Value) -> bool:
    """Tell whether a hello is longer than what we keep."""
    hellos = [first for first in value.firsts if first[:1] == b"\x16"]
    return value.ours is None and any(5 + int.from_bytes(hello[3:5]) > HELLO_BYTES for hello in hellos)


def further_datagrams(value: Value) -> bool:
    """Tell whether the hello goes on, or begins, behind the first datagram."""
    first, *others = value.sides[0] or [b""]
    begun = client_handshake(first)
    goes_on = bool(begun) and len(begun) < 4 + int.from_bytes(begun[1:4])
    return value.ours is None and (goes_on or any(client_handshake(other) for other in others))


def google(value: Value) -> bool:
    """Tell whether a side begins with one of Google's versions that carry TLS."""
    return any(re.match(rb"T0\d\d", one[1:5]) for one in value.firsts)


def other_side(value: Value) -> bool:
    """Tell whether a packet of the flow says what they tell."""
    return any((value.theirs or "?").encode() in one for one in value.every)


def forbidden(value: Value) -> bool:
    """Tell whether no side begins with a request that we take for one."""
    return value.ours is None and not any(
        "http_method" in flow_facts(TCP, (0, 0), first, b"") for first in value.firsts
    )


def c_string(value: Value) -> bool:
    """Tell whether theirs is ours up to a zero byte."""
    return (value.ours or "").startswith(f"{value.theirs}\\x00")


def later_version(value: Value) -> bool:
    """Tell whether a packet of the flow has their version."""
    return any(quic(quic_version(one)) == value.theirs for one in value.every)


def negotiated(value: Value) -> bool:
    """Tell whether a packet has version 0, or one that RFC 9000, 15, reserves to provoke that."""
    versions = {int.from_bytes(one[1:5]) for one in value.every}
    return value.theirs == "Ver-Negotiation" and any(not one or one & 0x0F0F0F0F == 0x0A0A0A0A for one in versions)


def before_long_headers(value: Value) -> bool:
    """Tell whether a packet without a long header says their version."""
    return value.ours is None and any(
        not one[0] & 0x80 and (value.theirs or "?").encode() in one for one in value.every
    )


def quic(version: str | None) -> str:
    """Return a QUIC version of ours as nDPI writes it."""
    text = version or ""
    return QUIC_VERSIONS.get(text, text.upper() if text.startswith("mvfst") else text.replace("draft", "Draft"))


def status_later(value: Value) -> bool:
    """Tell whether a packet of the flow begins with a response of their status."""
    return any(re.match(rb"HTTP/1\.\d %b[ \r]" % str(value.theirs).encode(), one) for one in value.every)
