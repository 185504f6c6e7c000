"""What the first payload says beside what ndpiReader read of it: each value, and where it differs by which rule.

Asked only of flows that agree in packets and bytes, and only of values that one of the two tells. A rule is named only
where the flow's own payload shows it.
"""

import re
from collections.abc import Callable, Iterator, Sequence

from benchmarks.agreement.fields import Comparison
from benchmarks.agreement.flows import Flow
from benchmarks.agreement.frames import TCP, Frame, locate
from benchmarks.agreement.joining import Pair
from benchmarks.agreement.payload_rules import (
    KEPT_BYTES,
    NDPI_VERSIONS,
    Sides,
    Value,
    before_long_headers,
    begins_later,
    behind_zeros,
    c_string,
    ends,
    forbidden,
    further_datagrams,
    google,
    later_name,
    later_version,
    masked,
    negotiated,
    of_nothing,
    offered,
    other_side,
    quic,
    same_but,
    silent,
    status_later,
    unkept,
    unkept_hello,
    without_question,
)
from benchmarks.agreement.references import Reference
from features.payload.snippets import HELLO_BYTES
from features.payload.tls import VERSIONS as TLS_VERSIONS

DNS, HTTP, SSH = frozenset(("5", "8", "154")), frozenset(("7", "130", "131")), frozenset(("92",))
"""nDPI's numbers of DNS, multicast DNS and LLMNR; of HTTP, with proxies; and of SSH."""
VERSIONS = {name: NDPI_VERSIONS[number] for number, name in TLS_VERSIONS.items()}

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


BEGUN_INSIDE = ("not read: TLS that begins inside another protocol (STARTTLS)", begins_later)
ZEROS = ("theirs: zeros behind the header of an ACK are passed over", behind_zeros)
FURTHER = ("ours: the first datagram is read", further_datagrams)
GOOGLE = ("not read: Google's versions before QUIC's", google)
SPOKE_FIRST = ("theirs: the server is who spoke first", other_side)
UNTOLD = ("theirs: not told of this flow", silent)

FIELDS: tuple[tuple[str, Told, tuple[Rule, ...]], ...] = (
    (
        "dns_query",
        _lower(_of(DNS)),
        (
            UNTOLD,
            ("theirs: a byte that a host name has not is ? or _", masked),
            ("theirs: an end of a long name", ends),
            ("theirs: a name where there is no whole question", without_question),
            ("theirs: a later message's name", later_name),
        ),
    ),
    ("tls_server_name", _lower(_of_hello("Hostname/SNI")), (UNTOLD, ZEROS, BEGUN_INSIDE, FURTHER, GOOGLE)),
    ("tls_alpn", _alpn, (UNTOLD, ZEROS, BEGUN_INSIDE, FURTHER, GOOGLE)),
    (
        "tls_ja4",
        _of_hello("JA4"),
        (
            UNTOLD,
            ("theirs: the first two characters of the ALPN, not its ends", same_but(slice(8, 10))),
            ("theirs: whether a name is known, not whether the extension is there", same_but(slice(3, 4))),
            ("theirs: both of these", same_but(slice(3, 4), slice(8, 10))),
            ("theirs: the hash of an empty list, not zeros", of_nothing),
            (f"ours: {HELLO_BYTES} bytes of a hello are kept", unkept_hello),
            ZEROS,
            BEGUN_INSIDE,
            FURTHER,
            GOOGLE,
        ),
    ),
    (
        "tls_version",
        lambda theirs: theirs.details.get("version") if theirs.protocol == TCP else None,
        (UNTOLD, ZEROS, BEGUN_INSIDE, ("theirs: what the client offers", offered)),
    ),
    (
        "http_host",
        _host,
        (
            UNTOLD,
            ZEROS,
            (f"ours: {KEPT_BYTES} bytes of the request are kept", unkept),
            ("not read: a request line that HTTP does not allow", forbidden),
            ("theirs: ends at a zero byte", c_string),
        ),
    ),
    (
        "http_status",
        lambda theirs: theirs.details.get("StatusCode"),
        (UNTOLD, ("theirs: a later response's", status_later)),
    ),
    ("ssh_client_software", _banner(_of(SSH, "Server")), (UNTOLD, SPOKE_FIRST)),
    ("ssh_server_software", _banner(_of(SSH)), (UNTOLD, SPOKE_FIRST)),
    (
        "quic_version",
        lambda theirs: theirs.details.get("QUIC ver"),
        (
            ("theirs: a version negotiation, which names none", negotiated),
            ("theirs: a later packet's", later_version),
            ("not read: Google's header before it became QUIC's", before_long_headers),
        ),
    ),
)
"""Each column, how the listing tells its value, and the rules by which that may differ.

ndpiReader calls the banner of SSH's server the flow's name, and the client's "Server".
"""
OURS: dict[str, Callable[[str], str]] = {"tls_version": lambda text: VERSIONS.get(text, text), "quic_version": quic}
