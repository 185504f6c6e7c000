"""What the first payload says beside what ndpiReader read of it: each value, and where it differs by which rule.

Asked only of flows that agree in packets and bytes, and only of values that one of the two tells. A rule is named only
where the flow's own payload shows it.
"""

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from benchmarks.agreement.fields import Comparison
from benchmarks.agreement.flows import Flow
from benchmarks.agreement.frames import TCP, Frame, locate
from benchmarks.agreement.joining import Pair
from benchmarks.agreement.references import Reference
from features.payload.dns import dns_facts
from features.payload.http import http_request_facts
from features.payload.quic import quic_version
from features.payload.quic_initial import client_handshake
from features.payload.snippets import HELLO_BYTES, SIDE_BYTES
from features.payload.tls import VERSIONS as TLS_VERSIONS
from features.payload.tls import tls_facts

KEPT_BYTES = SIDE_BYTES[0]
EMPTY_HASH = hashlib.sha256(b"").hexdigest()[:12]
DNS, HTTP, SSH = frozenset(("5", "8", "154")), frozenset(("7", "130", "131")), frozenset(("92",))
"""nDPI's numbers of DNS, multicast DNS and LLMNR; of HTTP, with proxies; and of SSH."""
NDPI_VERSIONS = {0x0300: "SSLv3", 0x0301: "TLSv1", 0x0302: "TLSv1.1", 0x0303: "TLSv1.2", 0x0304: "TLSv1.3"}
VERSIONS = {name: NDPI_VERSIONS[number] for number, name in TLS_VERSIONS.items()}
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


Told = Callable[[Reference], str | None]
Rule = tuple[str, Callable[[Value], bool]]


def compare_payloads(pair: Pair, flow: Flow, frames: Sequence[Frame]) -> Iterator[Comparison]:
    """Yield the values of a flow's payload that nDPI or we tell."""
    theirs, facts = pair.theirs, flow.facts
    sides = payloads(flow, frames)
    for name, told, rules in FIELDS:
        ours = facts.get(name)
        value = Value(None if ours is None else OURS.get(name, str)(str(ours)), told(theirs), sides)
        if value.ours != value.theirs:
            yield Comparison(name, False, next((text for text, holds in rules if holds(value)), ""))
        elif value.ours is not None:
            yield Comparison(name, agrees=True)


def payloads(flow: Flow, frames: Sequence[Frame]) -> Sides:
    """Return the payload of each packet that has one, of the flow's sender and of the other side."""
    mine = [frames[index] for index in flow.frames]
    sides: Sides = ([], [])
    other = next((end for end in (flow.key.low, flow.key.high) if end != flow.src), flow.src)
    for seen in locate(mine, flow.key.protocol, flow.src, other):
        data, at = mine[seen.index].data, seen.transport
        size = (data[at + 12] >> 4) * 4 if flow.key.protocol == TCP else 8
        if payload := data[at + size : seen.at + (seen.length or seen.held)]:
            sides[seen.way].append(payload)
    return sides


def _of(protocols: frozenset[str], word: str = "Hostname/SNI") -> Told:
    """Return what reads a word that nDPI tells of flows of some of its protocols."""

    def told(theirs: Reference) -> str | None:
        known = set(str(theirs.details.get("proto", "")).split("/")[0].split("."))
        text = theirs.details.get(word)
        return str(text) if text and protocols & known else None

    return told


def _lower(told: Told) -> Told:
    return lambda theirs: (told(theirs) or "").lower() or None


def _host(theirs: Reference) -> str | None:
    return re.sub(r":\d+$", "", _lower(_of(HTTP))(theirs) or "") or None


def _of_hello(name: str) -> Told:
    """Return what reads a word about a ClientHello over TCP or QUIC, of which nDPI tells a fingerprint too."""
    return lambda theirs: (
        theirs.details.get(name) if str(theirs.details.get("JA4", "")).startswith(("t", "q")) else None
    )


def _alpn(theirs: Reference) -> str | None:
    return (_of_hello("(Advertised) ALPNs")(theirs) or "").replace(";", ",") or None


def _banner(told: Told) -> Told:
    return lambda theirs: re.sub(r"^SSH-[\d.]+-", "", told(theirs) or "") or None


def _begins_later(value: Value) -> bool:
    """Tell whether no side begins with TLS, but a later packet does."""
    return all(first[:1] != b"\x16" for first in value.firsts) and any(one[:2] == b"\x16\x03" for one in value.every)


def _behind_zeros(value: Value) -> bool:
    return bool(value.sides[0]) and not any(value.sides[0][0])


def _unkept(value: Value) -> bool:
    head = b"".join(value.sides[0])
    at = head.lower().find(b"\nhost:")
    return value.ours is None and at + len("\nHost: ") + len(value.theirs or "") > KEPT_BYTES - 2


def _later_name(value: Value) -> bool:
    names = {_plain(str(dns_facts(one).get("dns_query", ""))) for one in value.every}
    return _plain(value.theirs or "?") in names


def _without_question(value: Value) -> bool:
    return value.ours is None and not any("dns_query" in dns_facts(one) for one in value.firsts)


def _masked(value: Value) -> bool:
    return _plain(value.ours or "") == _plain(value.theirs or "")


def _plain(name: str) -> str:
    """Return a name with a question mark for every byte that nDPI may show as one, or as a line."""
    return re.sub(r"[^a-z0-9.-]", "?", ESCAPE.sub("?", name))


def _ends(value: Value) -> bool:
    """Tell whether theirs is a beginning or an end of ours."""
    ours, theirs = (_plain(name or "") for name in (value.ours, value.theirs))
    return bool(theirs) and (ours.startswith(theirs) or ours.endswith(theirs))


def _silent(value: Value) -> bool:
    return value.theirs is None


def _same_but(*parts: slice) -> Callable[[Value], bool]:
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


def _offered(value: Value) -> bool:
    """Tell whether theirs is what the client offers, by the hello's own field or by the extension."""
    streams = [b"".join(side) for side in value.sides]
    hellos = [stream for stream in streams if stream[:1] == b"\x16" and stream[5:6] == b"\x01"]
    offered = {int.from_bytes(stream[9:11]) for stream in hellos}
    offered |= {0x0300 + int(fingerprint[2]) for stream in hellos if (fingerprint := _fingerprint(stream))}
    return value.theirs in {NDPI_VERSIONS.get(version) for version in offered}


def _fingerprint(stream: bytes) -> str:
    return str(tls_facts(stream).get("tls_ja4", ""))


def _of_nothing(value: Value) -> bool:
    """Tell whether they hash an empty list where the description wants zeros."""
    return (value.ours or "").endswith("0" * 12) and (value.theirs or "").endswith(EMPTY_HASH)


def _unkept_hello(value: Value) -> bool:
    hellos = [first for first in value.firsts if first[:1] == b"\x16"]
    return value.ours is None and any(5 + int.from_bytes(hello[3:5]) > HELLO_BYTES for hello in hellos)


def _further_datagrams(value: Value) -> bool:
    """Tell whether the hello goes on, or begins, behind the first datagram."""
    first, *others = value.sides[0] or [b""]
    begun = client_handshake(first)
    goes_on = bool(begun) and len(begun) < 4 + int.from_bytes(begun[1:4])
    return value.ours is None and (goes_on or any(client_handshake(other) for other in others))


def _google(value: Value) -> bool:
    return any(re.match(rb"T0\d\d", one[1:5]) for one in value.firsts)


def _other_side(value: Value) -> bool:
    return any((value.theirs or "?").encode() in one for one in value.every)


def _forbidden(value: Value) -> bool:
    return value.ours is None and not any(http_request_facts(first) for first in value.firsts)


def _c_string(value: Value) -> bool:
    return (value.ours or "").startswith(f"{value.theirs}\\x00")


def _later_version(value: Value) -> bool:
    return any(_quic(quic_version(one)) == value.theirs for one in value.every)


def _negotiated(value: Value) -> bool:
    """Tell whether a packet has version 0, or one that RFC 9000, 15, reserves to provoke that."""
    versions = {int.from_bytes(one[1:5]) for one in value.every}
    return value.theirs == "Ver-Negotiation" and any(not one or one & 0x0F0F0F0F == 0x0A0A0A0A for one in versions)


def _before_long_headers(value: Value) -> bool:
    return value.ours is None and any(
        not one[0] & 0x80 and (value.theirs or "?").encode() in one for one in value.every
    )


def _quic(version: str | None) -> str:
    text = version or ""
    return QUIC_VERSIONS.get(text, text.upper() if text.startswith("mvfst") else text.replace("draft", "Draft"))


def _status_later(value: Value) -> bool:
    return any(re.match(rb"HTTP/1\.\d %b[ \r]" % str(value.theirs).encode(), one) for one in value.every)


BEGUN_INSIDE = ("not read: TLS that begins inside another protocol (STARTTLS)", _begins_later)
ZEROS = ("theirs: zeros behind the header of an ACK are passed over", _behind_zeros)
FURTHER = ("ours: the first datagram is read", _further_datagrams)
GOOGLE = ("not read: Google's versions before QUIC's", _google)
SPOKE_FIRST = ("theirs: the server is who spoke first", _other_side)
UNTOLD = ("theirs: not told of this flow", _silent)

FIELDS: tuple[tuple[str, Told, tuple[Rule, ...]], ...] = (
    (
        "dns_query",
        _lower(_of(DNS)),
        (
            UNTOLD,
            ("theirs: a byte that a host name has not is ? or _", _masked),
            ("theirs: an end of a long name", _ends),
            ("theirs: a later message's name", _later_name),
            ("theirs: a name where there is no whole question", _without_question),
        ),
    ),
    ("tls_server_name", _lower(_of_hello("Hostname/SNI")), (UNTOLD, ZEROS, BEGUN_INSIDE, FURTHER, GOOGLE)),
    ("tls_alpn", _alpn, (UNTOLD, ZEROS, BEGUN_INSIDE, FURTHER, GOOGLE)),
    (
        "tls_ja4",
        _of_hello("JA4"),
        (
            UNTOLD,
            ("theirs: the first two characters of the ALPN, not its ends", _same_but(slice(8, 10))),
            ("theirs: whether a name is known, not whether the extension is there", _same_but(slice(3, 4))),
            ("theirs: both of these", _same_but(slice(3, 4), slice(8, 10))),
            ("theirs: the hash of an empty list, not zeros", _of_nothing),
            (f"ours: {HELLO_BYTES} bytes of a hello are kept", _unkept_hello),
            ZEROS,
            BEGUN_INSIDE,
            FURTHER,
            GOOGLE,
        ),
    ),
    (
        "tls_version",
        lambda theirs: theirs.details.get("version") if theirs.protocol == TCP else None,
        (UNTOLD, ZEROS, BEGUN_INSIDE, ("theirs: what the client offers", _offered)),
    ),
    (
        "http_host",
        _host,
        (
            UNTOLD,
            ZEROS,
            (f"ours: {KEPT_BYTES} bytes of the request are kept", _unkept),
            ("not read: a request line that HTTP does not allow", _forbidden),
            ("theirs: ends at a zero byte", _c_string),
        ),
    ),
    (
        "http_status",
        lambda theirs: theirs.details.get("StatusCode"),
        (UNTOLD, ("theirs: a later response's", _status_later)),
    ),
    ("ssh_client_software", _banner(_of(SSH, "Server")), (UNTOLD, SPOKE_FIRST)),
    ("ssh_server_software", _banner(_of(SSH)), (UNTOLD, SPOKE_FIRST)),
    (
        "quic_version",
        lambda theirs: theirs.details.get("QUIC ver"),
        (
            ("theirs: a version negotiation, which names none", _negotiated),
            ("theirs: a later packet's", _later_version),
            ("not read: Google's header before it became QUIC's", _before_long_headers),
        ),
    ),
)
"""Each column, how the listing tells its value, and the rules by which that may differ.

ndpiReader calls the banner of SSH's server the flow's name, and the client's "Server".
"""
OURS: dict[str, Callable[[str], str]] = {"tls_version": lambda text: VERSIONS.get(text, text), "quic_version": _quic}
