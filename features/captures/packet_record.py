"""The decoded packet: what the decoder fills in and the meter reads, and why a packet may have no place in a flow."""

import enum
from typing import NamedTuple

import numpy as np

from features.kernel_types import NEVER


class SkipReason(enum.IntEnum):
    """Why a packet has no place in a flow; the lower-case name is the count's."""

    NONE = 0
    LINK_TYPE = 1  # a link type that is not decoded
    TRUNCATED_LINK = 2  # the captured bytes end before the network header
    NOT_IP = 3  # ARP, LLDP, spanning tree ...
    TRUNCATED_IP = 4  # the captured bytes end inside the IP header or IPv6's extension headers
    BAD_IP_HEADER = 5  # version or lengths contradict each other
    FRAGMENT = 6  # not the first fragment, and the first, which has the ports, was not seen before it
    TRUNCATED_TRANSPORT = 7  # ports, TCP flags or ICMP type were not captured
    BAD_TRANSPORT_HEADER = 8  # the datagram is too short for the header it claims
    TORN_RECORD = 9  # the capture ends inside the record
    ENCRYPTED_LINK = 10  # a radio frame whose contents are encrypted


ETHERTYPE_IPV4, ETHERTYPE_IPV6 = 0x0800, 0x86DD
FIRST_FRAGMENT, LATER_FRAGMENT = 1, 2

PACKET = np.dtype(
    [
        ("time_ns", "i8"),
        ("src_high", "u8"),  # the address's first and last eight bytes as numbers; IPv4 as ::ffff:a.b.c.d
        ("src_low", "u8"),
        ("dst_high", "u8"),
        ("dst_low", "u8"),
        ("length", "i8"),  # of the IP datagram
        ("payload", "i8"),  # bytes of transport payload
        ("seq", "u4"),
        ("ip_id", "u4"),  # of a fragment: what it shares with the others of its datagram
        ("window", "i4"),  # NEVER where not TCP or not captured
        ("src_port", "u2"),  # 0 where the protocol has none
        ("dst_port", "u2"),
        ("icmp_type", "i2"),  # NEVER for other protocols
        ("icmp_code", "i2"),
        ("protocol", "u1"),
        ("ip_version", "u1"),
        ("flags", "u1"),  # TCP flags, 0 for other protocols
        ("ttl", "u1"),
        ("fragment", "u1"),  # FIRST_FRAGMENT or LATER_FRAGMENT of several, else 0
    ],
    align=True,
)
"""One decoded packet."""


class Fragments(NamedTuple):
    """The latest first fragments of datagrams, so that the later ones, which have no ports, find their flow."""

    entries: np.ndarray  # PACKET rows, filled in turn; fragment is 0 where not in use
    heads: np.ndarray  # int32, a power of two of them: the newest entry of each hash chain, NEVER where empty
    links: np.ndarray  # int32, of each entry: the next older one of its chain
    places: np.ndarray  # int64, one: the entry to be filled next
    keys: np.ndarray  # uint64, random, six


def new_fragments(rows: int, keys: np.ndarray) -> Fragments:
    """Return room for the first fragments of so many datagrams; beyond that the oldest is forgotten."""
    return Fragments(
        entries=np.zeros(rows, dtype=PACKET),
        heads=np.full(1 << rows.bit_length(), NEVER, dtype=np.int32),
        links=np.full(rows, NEVER, dtype=np.int32),
        places=np.zeros(1, dtype=np.int64),
        keys=keys,
    )
