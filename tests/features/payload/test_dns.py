"""DNS messages: names, types and codes as scapy built them; nothing from what is no message or is cut."""

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.dns import DNS, DNSQR, DNSRR

from features.payload.dns import RESPONSE_CODES, entropy_bits
from features.payload.facts import Facts
from features.payload.flow_facts import TCP, UDP, flow_facts


def dns_facts(message: bytes) -> Facts:
    """Return what a message says that stands in a flow's first datagram."""
    return flow_facts(UDP, (50_000, 53), message, b"")


def query(name: str | bytes, kind: str = "A", **fields: Any) -> bytes:
    """Return a query as scapy builds it."""
    return bytes(DNS(id=0x1234, rd=1, qd=DNSQR(qname=name, qtype=kind), **fields))


def raw_query(name: bytes) -> bytes:
    """Return a query for a name given in wire format."""
    return bytes.fromhex("123401000001000000000000") + name + b"\0\1\0\1"


def test_query() -> None:
    """A query gives its name in lower case, its type and the measures of the name."""
    facts = dns_facts(query("www.Example.COM", "TXT"))
    assert facts.pop("dns_query_entropy") == pytest.approx(_entropy("wwwexamplecom"))
    assert facts == {
        "dns_query": "www.example.com",
        "dns_query_type": "TXT",
        "dns_query_length": 15,
        "dns_label_count": 3,
        "dns_longest_label": 7,
    }


def _entropy(text: str) -> float:
    shares = [text.count(letter) / len(text) for letter in set(text)]
    return -sum(share * math.log2(share) for share in shares)


@pytest.mark.parametrize("code", range(12))
def test_response(code: int) -> None:
    """A response gives its code, named as IANA names it, and its question."""
    answer = DNSRR(rrname="a.example", rdata="10.0.0.1")
    facts = dns_facts(query("a.example", "AAAA", qr=1, rcode=code, an=answer))
    assert facts["dns_response_code"] == RESPONSE_CODES[code]
    assert facts["dns_failed"] == (code != 0)
    assert (facts["dns_query"], facts["dns_query_type"]) == ("a.example", "AAAA")


def test_several_questions() -> None:
    """Of several questions, as multicast DNS asks them, the first is read."""
    asked = [DNSQR(qname=name, qtype="PTR") for name in ("_ipps._tcp.local", "_ipp._tcp.local")]
    assert dns_facts(bytes(DNS(qd=asked)))["dns_query"] == "_ipps._tcp.local"


def test_root_and_unknown_type() -> None:
    """The root is a dot of no length; a type without a name is written by RFC 3597."""
    facts = dns_facts(raw_query(b"\0")[:-4] + b"\xff\x1a\0\1")
    assert (facts["dns_query"], facts["dns_query_length"], facts["dns_query_entropy"]) == (".", 0, 0)
    assert facts["dns_query_type"] == "TYPE65306"


def test_escapes() -> None:
    """Dots inside a label, control and high bytes are escaped in RFC 1035's presentation."""
    assert dns_facts(raw_query(b"\4a.b\\\3\0\xe9 \0"))["dns_query"] == "a\\.b\\\\.\\000\\233\\032"


def test_over_tcp() -> None:
    """Over TCP the first message is the one that the length before it spans."""
    first, second = query("one.example"), query("two.example")
    stream = b"".join(len(message).to_bytes(2) + message for message in (first, second))
    assert flow_facts(TCP, (50_000, 53), stream, b"") == dns_facts(first)


def test_both_sides() -> None:
    """The question is the forward side's, the code the other's; a side that is no message takes nothing away."""
    asked, answered = query("one.example"), query("two.example", qr=1, rcode=3)
    facts = flow_facts(UDP, (50_000, 53), asked, answered)
    assert (facts["dns_query"], facts["dns_response_code"]) == ("one.example", "NXDOMAIN")
    assert flow_facts(UDP, (53, 50_000), b"?", answered) == dns_facts(answered)


def test_cut_query() -> None:
    """A question that is cut anywhere says nothing; a response's code is known from the header on."""
    message = query("www.example.com", qr=1, rcode=3)
    for size in range(len(message)):
        expected = {"dns_response_code": "NXDOMAIN", "dns_failed": 1} if size >= 12 else {}
        assert dns_facts(message[:size]) == expected


@pytest.mark.parametrize(
    "name",
    [
        b"\xc0\x0c",  # a pointer to itself
        b"\1a\xc0\x0c",  # a pointer back into the name
        b"\x40aa",  # a label type that was given up
        b"\x3f" + 63 * b"a" + b"\x3f" + 63 * b"a" + b"\x3f" + 63 * b"a" + b"\x3f" + 63 * b"a" + b"\0",
    ],
)
def test_no_name(name: bytes) -> None:
    """Pointers before which nothing stands, unknown label types and names above 255 bytes make no question."""
    assert dns_facts(raw_query(name)) == {}


def test_longest_name() -> None:
    """A name of 255 bytes on the wire is read."""
    wire = 3 * (b"\x3f" + 63 * b"a") + b"\x3d" + 61 * b"a" + b"\0"
    assert len(wire) == 255
    assert dns_facts(raw_query(wire))["dns_query_length"] == 253


@given(st.binary(max_size=300), st.booleans())
@settings(deadline=None)
def test_any_bytes(raw: bytes, begins_well: bool) -> None:
    """Any bytes end in facts whose text is printable ASCII."""
    facts = dns_facts(bytes.fromhex("123481000001000100000000") + raw if begins_well else raw)
    assert all(str(value).isascii() and str(value).isprintable() for value in facts.values())
    assert facts.get("dns_query_length", 0) <= 253


def test_entropy() -> None:
    """Entropy is 0 for nothing and equal bytes, 1 bit for two equally frequent ones, 8 for all."""
    assert [entropy_bits(raw) for raw in (b"", b"aaa", b"abab", bytes(range(256)))] == [0, 0, 1, 8]
