"""The fragment kernel: later fragments get the ports and the protocol of their datagram's first one.

First fragments are kept in a ring, each in a hash chain from newest to oldest; so which are remembered depends on their
order alone. Every njit function that the kernel calls lives in this file: numba's cache looks at one source file only.

Sources: RFC 791, 3.2; RFC 8200, 4.5; RFC 1122, 3.3.2 (how long the others are waited for).
"""

import numpy as np

from features.captures.packet_record import FIRST_FRAGMENT, Fragments, SkipReason
from features.kernel_types import NEVER, Int, Record, kernel, part

FRAGMENT_NS = 60_000_000_000
"""How long a first fragment is remembered."""


@part
def _bucket(fragments: Fragments, packet: Record) -> Int:
    """Return the chain in which a fragment's datagram is looked for; random keys keep senders from choosing it."""
    keys = fragments.keys
    total = (packet.src_low + keys[0]) * (packet.dst_low + keys[1])
    total += (packet.src_high + keys[2]) * (packet.dst_high + keys[3])
    total += (np.uint64(packet.ip_id) + keys[4]) * keys[5]
    return np.int64(total >> np.uint64(33)) % len(fragments.heads)


@part
def _is_of_datagram(entry: Record, packet: Record) -> bool:
    """Tell whether a fragment belongs to a first one: RFC 791, 3.2 and RFC 8200, 4.5, where the protocol is no part."""
    return (
        entry.ip_id == packet.ip_id
        and entry.src_low == packet.src_low
        and entry.dst_low == packet.dst_low
        and entry.src_high == packet.src_high
        and entry.dst_high == packet.dst_high
        and entry.ip_version == packet.ip_version
        and (entry.protocol == packet.protocol or packet.ip_version == 6)
        and abs(entry.time_ns - packet.time_ns) <= FRAGMENT_NS
    )


@part
def _remember_first(fragments: Fragments, packet: Record) -> None:
    """Put a first fragment at the head of its chain, in the place of the oldest one."""
    entries, heads, links = fragments.entries, fragments.heads, fragments.links
    place = np.int64(fragments.places[0])
    fragments.places[0] = (place + 1) % len(entries)
    if entries[place].fragment:  # in use: the oldest, so the last of its chain
        bucket = _bucket(fragments, entries[place])
        if heads[bucket] == place:
            heads[bucket] = NEVER
        else:
            at = np.int64(heads[bucket])
            while links[at] != place:
                at = np.int64(links[at])
            links[at] = NEVER
    entries[place] = packet
    bucket = _bucket(fragments, packet)
    links[place] = heads[bucket]
    heads[bucket] = place


@part
def _follow_fragment(fragments: Fragments, packet: Record) -> Int:
    """Remember a first fragment; give a later one the ports and protocol of its first."""
    if packet.fragment == FIRST_FRAGMENT:
        _remember_first(fragments, packet)
        return SkipReason.NONE.value
    at = np.int64(fragments.heads[_bucket(fragments, packet)])
    while at != NEVER:
        entry = fragments.entries[at]
        if _is_of_datagram(entry, packet):
            packet.protocol, packet.src_port, packet.dst_port = entry.protocol, entry.src_port, entry.dst_port
            packet.icmp_type, packet.icmp_code = entry.icmp_type, entry.icmp_code
            return SkipReason.NONE.value
        at = np.int64(fragments.links[at])
    return SkipReason.FRAGMENT.value


@kernel
def join_fragments(packets: np.ndarray, skipped: np.ndarray, fragments: Fragments) -> int:
    """Follow the fragments among packets, and leave out those whose first one is not known.

    Args:
        packets: PACKET rows, moved up to fill the gaps.
        skipped: Count a SkipReason, shape (len(SkipReason),); each packet left out moves from NONE to FRAGMENT.
        fragments: First fragments seen, kept from call to call.

    Returns:
        Number of packets left.
    """
    kept = 0
    for i in range(len(packets)):
        if packets[i].fragment and _follow_fragment(fragments, packets[i]):
            skipped[SkipReason.NONE] -= 1
            skipped[SkipReason.FRAGMENT] += 1
            continue
        if kept < i:
            packets[kept] = packets[i]
        kept += 1
    return kept
