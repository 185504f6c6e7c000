"""Labelling rules: who attacked whom and when. A flow carries the union of the tags of all rules that match it."""

import ipaddress
from dataclasses import dataclass

FOREVER = (-(2**63), 2**63 - 1)
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Ports = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of truth; what is empty or None matches anything.

    Attributes:
        name: What reports call it; several rules may share a name.
        tags: At least one, parents included, in the vocabulary's order.
        line: Where it stands in its file, from 1.
        start_ns: First moment, nanoseconds UTC; a flow matches whose packets overlap the time, both ends included.
        end_ns: Last moment.
        protocol: IANA number.
        src_ip: Networks of the attacking side; one of them must hold the address.
        src_port: Ranges of its port, both ends included.
        dst_ip: Networks of the attacked side.
        dst_port: Ranges of its port.
        both_ways: Whether a flow that the attacked side began matches too.
        key: An identity column and the value it must have, such as ("community_id", "1:LQU9qZlK+B5F3KDmev6m5PMibrg=").
    """

    name: str
    tags: tuple[str, ...]
    line: int
    start_ns: int = FOREVER[0]
    end_ns: int = FOREVER[1]
    protocol: int | None = None
    src_ip: tuple[Network, ...] = ()
    src_port: tuple[Ports, ...] = ()
    dst_ip: tuple[Network, ...] = ()
    dst_port: tuple[Ports, ...] = ()
    both_ways: bool = True
    key: tuple[str, str] | None = None


@dataclass(frozen=True)
class Truth:
    """What a file of truth says.

    Attributes:
        kind: "rules", "suricata alerts", "zeek notices" or "zeek weirds".
        rules: All of it as rules.
        allow_unmatched: Whether the file itself says that rules may match nothing.
        speaks_of: Tags that it can speak of; of others it says nothing. Empty: of all.
        ignored: Entries that say nothing about a flow, by reason.
        unmapped: Words that the vocabulary maps to no tags, and how often they came up.
    """

    kind: str
    rules: tuple[Rule, ...]
    allow_unmatched: bool = False
    ignored: tuple[tuple[str, int], ...] = ()
    unmapped: tuple[tuple[str, int], ...] = ()
    speaks_of: tuple[str, ...] = ()
