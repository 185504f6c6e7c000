"""The facts of flows: which parser reads which side.

Nothing is believed for its port alone: DNS is read at its own ports, everything else is told by its first bytes.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from features.payload.columns import Texts, said_columns
from features.payload.dns_kernel import read_dns
from features.payload.facts import Facts
from features.payload.http import read_http
from features.payload.quic import could_be_quic, quic_version
from features.payload.quic_initial import client_handshake
from features.payload.said import Sides, joined_sides, nothing_said, who_said
from features.payload.ssh import begin_like_ssh, ssh_software
from features.payload.tls_kernel import Scratch, read_hellos, read_tls, scratch_for

TCP, UDP = 6, 17
DNS_PORTS = (53, 5353, 5355)
"""DNS (RFC 1035), multicast DNS (RFC 6762) and LLMNR (RFC 4795)."""

Indices = npt.NDArray[np.int64]


def read_payloads(
    protocols: npt.NDArray[np.uint8], ports: npt.NDArray[np.uint16], sides: Sides
) -> tuple[Indices, pa.RecordBatch]:
    """Return the flows whose first payloads say something, in order, and their columns of the group "payload".

    Args:
        protocols: IANA protocol numbers, shape (n,).
        ports: Both ports, in any order, shape (n, 2).
        sides: Their first bytes, in order; written to behind them.
    """
    is_dns = np.isin(ports, DNS_PORTS).any(axis=1)
    said, scratch = nothing_said(len(protocols)), scratch_for(sides)
    counts = np.zeros(256, np.int64)
    for protocol in (UDP, TCP):
        read_dns(sides, np.flatnonzero(is_dns & (protocols == protocol)), protocol == TCP, said, counts)
    streams, datagrams = (np.flatnonzero(~is_dns & (protocols == protocol)) for protocol in (TCP, UDP))
    read_http(sides, streams, said)
    free = read_tls(sides, streams, scratch, said)
    quic = _versions(sides, datagrams)
    _read_initials(sides, quic.places, free, scratch, said)
    others = {"quic_version": quic, **dict(_software(sides, streams))}
    speaking = np.union1d(who_said(said), np.array([flow for one in others.values() for flow in one.places], np.int64))
    placed = {name: Texts(np.searchsorted(speaking, one.places).tolist(), one.values) for name, one in others.items()}
    return speaking, said_columns(said[speaking], sides.raw, (protocols == UDP)[speaking], placed)


def flow_facts(protocol: int, ports: Sequence[int], forward: bytes, backward: bytes) -> Facts:
    """Return what the first payload of each side of one flow says.

    Args:
        protocol: IANA protocol number.
        ports: Both ports, in any order.
        forward: First bytes of the forward side, in order; empty where there are none.
        backward: The same of the other side.
    """
    sides = joined_sides([(forward, backward)])
    _, rows = read_payloads(np.array([protocol], np.uint8), np.array([ports], np.uint16), sides)
    return {name: value for row in rows.to_pylist() for name, value in row.items() if value is not None}


def _versions(sides: Sides, flows: Indices) -> Texts:
    """Return the QUIC version that a side says, by flow."""
    found: dict[int, str] = {}
    for side in could_be_quic(sides, flows).tolist():
        version = quic_version(sides.bytes_of(side))
        if version:
            found.setdefault(side // 2, version)
    return Texts(list(found), list(found.values()))


def _read_initials(sides: Sides, flows: Sequence[int], free: int, scratch: Scratch, said: npt.NDArray[np.void]) -> None:
    """Fill what the ClientHello in the forward side's Initial says."""
    opened = [(flow, client_handshake(sides.bytes_of(2 * flow))) for flow in flows]
    clear = [(flow, handshake) for flow, handshake in opened if handshake]
    stops = free + np.cumsum([0, *(len(handshake) for _, handshake in clear)])
    sides.raw[free : stops[-1]] = np.frombuffer(b"".join(handshake for _, handshake in clear), np.uint8)
    read_hellos(sides.raw, stops, np.array([flow for flow, _ in clear], np.int64), scratch, said)


def _software(sides: Sides, flows: Indices) -> Iterator[tuple[str, Texts]]:
    """Yield the SSH software of each side by flow."""
    found = np.empty(2 * len(flows), np.int64)
    count = begin_like_ssh(sides, flows, found)
    said = [(side, ssh_software(sides.bytes_of(side))) for side in found[:count].tolist()]
    for way, name in enumerate(("client", "server")):
        one = [(side // 2, software) for side, software in said if side % 2 == way and software]
        yield f"ssh_{name}_software", Texts([flow for flow, _ in one], [text for _, text in one])
