"""The decoded packet: what the decoder fills in and the meter reads, and why a packet may have no place in a flow."""

import enum
from typing import NamedTuple

import numpy as np

from features.captures.frames import FRAME
from features.kernel_types import NEVER


class SkipReason(enum.IntEnum):
    """Why a packet has no place in a flow; the lower-case name is the count's."""

    NONE = 0
    LINK_TYPE = 1  # a link type that is not decoded
    TRUNCATED_LINK = 2  # the captured bytes end before the network header
    NOT_IP = 3  # LLDP, spanning tree ...
    TRUNCATED_IP = 4  # the captured bytes end inside the IP header or IPv6's extension headers
    BAD_IP_HEADER = 5  # version or lengths contradict each other
    FRAGMENT = 6  # not the first fragment, and the first, which has the ports, was not seen before it
    TRUNCATED_TRANSPORT = 7  # ports, TCP flags or ICMP type were not captured
    BAD_TRANSPORT_HEADER = 8  # the datagram is too short for the header it claims
    TORN_RECORD = 9  # the capture ends inside the record
    ENCRYPTED_LINK = 10  # a radio frame whose contents are encrypted
    ARP = 11  # address resolution: no IP, and no flow


class Tunnel(enum.IntEnum):
    """What was taken off a packet to get at the one inside, and why not; the lower-case name is the count's."""

    NONE = 0
    GRE = 1
    PPTP = 2
    ERSPAN = 3
    VXLAN = 4
    GENEVE = 5
    GTP_U = 6
    IP_IN_IP = 7
    ETHER_IP = 8
    MPLS = 9  # in IP or in UDP
    TEREDO = 10
    L2TP = 11
    CAPWAP = 12
    AYIYA = 13
    TZSP = 14
    UNDECODED = 15  # what is inside is no packet that can be metered: the outer one is
    FRAGMENTED = 16  # only a part of what is inside is there: likewise


ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETHERTYPE_ARP = 0x0800, 0x86DD, 0x0806
INSIDE = 1 << 16
"""A link type of this plus an EtherType or a framing is what a tunnel carries; no capture can say so by itself."""
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
        ("payload_start", "i4"),  # its first byte, an index into the block
        ("payload_captured", "i4"),  # its bytes there, as far as they are read: 0 for later fragments, TCP and UDP only
        ("seq", "u4"),
        ("ip_id", "u4"),  # of a fragment: what it shares with the others of its datagram
        (
            "vlan",
            "u4",
        ),  # ids of the innermost tags, twelve bits each; in VXLAN and the like the network's before
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


class Tunnels(NamedTuple):
    """Room for what tunnels carry, and how many of each kind there were."""

    rows: np.ndarray  # FRAME rows
    places: np.ndarray  # int32, of each: the index of the outer packet's row
    kinds: np.ndarray  # uint8, of each: a Tunnel
    counts: np.ndarray  # int64, count a Tunnel


def new_tunnels(rows: int) -> Tunnels:
    """Return room for the tunnels among so many frames."""
    return Tunnels(
        rows=np.zeros(rows, dtype=FRAME),
        places=np.zeros(rows, dtype=np.int32),
        kinds=np.zeros(rows, dtype=np.uint8),
        counts=np.zeros(len(Tunnel), dtype=np.int64),
    )
