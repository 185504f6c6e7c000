"""DNS: types and response codes by name, and the measures of a name.

Sources: RFC 4343 (names ignore case, escapes); RFC 6895 and IANA's DNS parameters (types, response codes); RFC 3597
(TYPEnnn).
"""

import math
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

from features.payload.facts import Facts

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


def type_name(number: int) -> str:
    """Return the name of a query's type, TYPEnnn for one without."""
    return TYPES.get(number, f"TYPE{number}")


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
