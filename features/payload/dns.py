"""DNS: the first question and the response code of one message.

The question is read, the answers are not: they would need compression pointers, and a question comes before anything
that a pointer could point to. So a name is at most 255 bytes of labels in order, and reading it always ends.

Sources: RFC 1035, 4.1 (message) and 4.2.2 (length before a message over TCP); RFC 4343 (names ignore case, escapes);
RFC 2929 (opcodes); RFC 6895 and IANA's DNS parameters (types, response codes); RFC 3597 (TYPEnnn); RFC 6762, 5.3, 5.4.
"""

import math
import struct
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

from features.payload.facts import Facts

HEADER_BYTES = 12
COUNTS = struct.Struct(">4H")
"""Questions and records of the three kinds, in a header from its fifth byte on."""
LONGEST_NAME = 255
LONGEST_LABEL = 63
MOST_RECORDS = 512
"""A message of up to 64 KB cannot hold many more; a larger count says that it is no DNS message."""
CLASSES = (1, 3, 4, 254, 255)
TYPES = {
    1: "A",
    2: "NS",
    5: "CNAME",
    6: "SOA",
    10: "NULL",
    11: "WKS",
    12: "PTR",
    13: "HINFO",
    15: "MX",
    16: "TXT",
    17: "RP",
    18: "AFSDB",
    24: "SIG",
    25: "KEY",
    28: "AAAA",
    29: "LOC",
    33: "SRV",
    35: "NAPTR",
    36: "KX",
    37: "CERT",
    39: "DNAME",
    41: "OPT",
    42: "APL",
    43: "DS",
    44: "SSHFP",
    45: "IPSECKEY",
    46: "RRSIG",
    47: "NSEC",
    48: "DNSKEY",
    49: "DHCID",
    50: "NSEC3",
    51: "NSEC3PARAM",
    52: "TLSA",
    53: "SMIMEA",
    55: "HIP",
    59: "CDS",
    60: "CDNSKEY",
    61: "OPENPGPKEY",
    62: "CSYNC",
    63: "ZONEMD",
    64: "SVCB",
    65: "HTTPS",
    99: "SPF",
    249: "TKEY",
    250: "TSIG",
    251: "IXFR",
    252: "AXFR",
    253: "MAILB",
    255: "ANY",
    256: "URI",
    257: "CAA",
}
RESPONSE_CODES = (
    *("NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "YXDOMAIN", "YXRRSET"),
    *("NXRRSET", "NOTAUTH", "NOTZONE", "DSOTYPENI", "RCODE12", "RCODE13", "RCODE14", "RCODE15"),
)
_LABEL_BYTES = tuple(
    ("\\" + chr(byte) if chr(byte) in '."();@$\\' else chr(byte)) if 0x20 < byte < 0x7F else f"\\{byte:03}"
    for byte in range(256)
)
_HOST_BYTES = b"abcdefghijklmnopqrstuvwxyz0123456789-_"


def dns_facts(message: bytes) -> Facts:
    """Return what one message says, as far as its bytes reach; nothing where it is not one.

    Args:
        message: The message's first bytes, without the length that TCP puts before it.

    Returns:
        dns_query in lower case (RFC 1035's presentation without the last dot, "." for the root), dns_query_type,
        and the name's measures, once the whole question is there, the first of several (multicast DNS asks for
        several); dns_response_code from a response.
    """
    if len(message) < HEADER_BYTES:
        return {}
    questions, *records = COUNTS.unpack_from(message, 4)
    if message[2] >> 3 & 15 > 6 or max(questions, *records) > MOST_RECORDS or message[3] & 0x40:
        return {}
    facts: Facts = {}
    if message[2] & 0x80:
        facts["dns_response_code"] = RESPONSE_CODES[message[3] & 15]
        facts["dns_failed"] = int(message[3] & 15 != 0)
    if questions:
        question = _question(message)
        if question is None:
            return {}
        facts |= question
    return facts


def dns_stream_facts(stream: bytes) -> Facts:
    """Return what the first message of a TCP stream says."""
    return dns_facts(stream[2 : 2 + int.from_bytes(stream[:2])])


def _question(message: bytes) -> Facts | None:
    """Return what the first question says, nothing if it is cut, None if it cannot be one."""
    end = message.find(0, HEADER_BYTES) + 5  # unless a label holds a 0, which leaves it cut
    said = _first_question(message[HEADER_BYTES:end])
    return _question_of(message[HEADER_BYTES:]) if said == {} and end < len(message) else said


def _question_of(section: bytes) -> Facts | None:
    labels: list[bytes] = []
    at = 0
    while at < len(section) and section[at]:
        size = section[at]
        if size > LONGEST_LABEL or at + 2 + size > LONGEST_NAME:
            return None
        labels.append(section[at + 1 : at + 1 + size])
        at += 1 + size
    if at + 5 > len(section):
        return {}
    kind, space = int.from_bytes(section[at + 1 : at + 3]), int.from_bytes(section[at + 3 : at + 5])
    if space & 0x7FFF not in CLASSES:  # the highest bit asks for a unicast answer, RFC 6762
        return None
    return {**name_facts(tuple(labels)), "dns_query_type": TYPES.get(kind, f"TYPE{kind}")}


_first_question = lru_cache(maxsize=16_384)(_question_of)
"""The same, remembered: an answer repeats its question, and most questions are asked again and again."""


@lru_cache(maxsize=16_384)
def name_facts(labels: tuple[bytes, ...]) -> Facts:
    """Return a name's text and its measures, by its labels as they are on the wire."""
    folded = [label.lower() for label in labels]
    return {
        "dns_query": ".".join([_label_text(label) for label in folded]) or ".",
        "dns_query_length": max(sum(map(len, labels)) + len(labels) - 1, 0),
        "dns_query_entropy": entropy_bits(b"".join(folded)),
        "dns_label_count": len(labels),
        "dns_longest_label": max(map(len, labels), default=0),
    }


def _label_text(label: bytes) -> str:
    if not label.translate(None, _HOST_BYTES):
        return label.decode("ascii")
    return "".join([_LABEL_BYTES[byte] for byte in label])


def entropy_bits(values: Sequence[int]) -> float:
    """Return Shannon's entropy of some bytes in bits a byte: 0 for none and for equal ones, 8 at most."""
    total = len(values)
    return sum(count / total * math.log2(total / count) for count in Counter(values).values())
