"""The facts of a flow: which parser reads which side.

Nothing is believed for its port alone: DNS is read at its own ports, everything else is told by its first bytes.
"""

from collections.abc import Sequence

from features.payload.dns import dns_facts, dns_stream_facts
from features.payload.facts import Facts
from features.payload.http import http_request_facts, http_response_facts
from features.payload.quic import quic_version
from features.payload.quic_initial import client_handshake
from features.payload.ssh import ssh_software
from features.payload.tls import OVER_QUIC, hello_facts, tls_facts

TCP, UDP = 6, 17
DNS_PORTS = frozenset((53, 5353, 5355))
"""DNS (RFC 1035), multicast DNS (RFC 6762) and LLMNR (RFC 4795)."""


def flow_facts(protocol: int, ports: Sequence[int], forward: bytes, backward: bytes) -> Facts:
    """Return what the first payload of each side says.

    Args:
        protocol: IANA protocol number.
        ports: Both ports, in any order.
        forward: First bytes of the forward side, in order; empty where there are none.
        backward: The same of the other side.
    """
    is_dns = not DNS_PORTS.isdisjoint(ports)
    if protocol == UDP:
        if is_dns:
            return dns_facts(backward) | dns_facts(forward)
        return _quic_facts(forward, backward)
    if protocol != TCP:
        return {}
    if is_dns:
        return dns_stream_facts(backward) | dns_stream_facts(forward)
    return _stream_facts(forward, backward)


def _quic_facts(forward: bytes, backward: bytes) -> Facts:
    version = quic_version(forward) or quic_version(backward)
    if version is None:
        return {}
    return {"quic_version": version, **hello_facts(client_handshake(forward), OVER_QUIC)}


def _stream_facts(forward: bytes, backward: bytes) -> Facts:
    facts: Facts = {}
    for stream in (forward, backward):
        if stream[:1] == b"\x16":
            facts |= tls_facts(stream)
    # a flow whose beginning was not recorded may begin with the response
    facts |= http_request_facts(forward) or http_request_facts(backward)
    facts |= http_response_facts(backward) or http_response_facts(forward)
    for side, stream in (("client", forward), ("server", backward)):
        software = ssh_software(stream)
        if software:
            facts[f"ssh_{side}_software"] = software
    return facts
