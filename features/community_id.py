"""Community ID v1: the flow hash Zeek, Suricata, Wireshark and others join on.

Source: https://github.com/corelight/community-id-spec, version 1, seed 0.
"""

import base64
import hashlib
import struct

import numpy as np
import numpy.typing as npt

_ICMP_PAIRS = ((8, 0), (13, 14), (15, 16), (17, 18), (10, 9))
_ICMPV6_PAIRS = ((128, 129), (133, 134), (135, 136), (130, 131), (144, 145), (139, 140))
COUNTERPARTS = {
    protocol: {**dict(pairs), **{answer: request for request, answer in pairs}}
    for protocol, pairs in ((1, _ICMP_PAIRS), (58, _ICMPV6_PAIRS))
}
"""By protocol, message types that have a counterpart: type of one direction to type of the other."""

WITH_PORTS = (6, 17, 132)


def community_ids(flows: npt.NDArray[np.void], seed: int = 0) -> list[str]:
    """Return the Community ID v1 of each flow, such as 1:LQU9qZlK+B5F3KDmev6m5PMibrg=."""
    names = ("ip_version", "protocol", "src_port", "dst_port", "icmp_type", "icmp_code")
    plain = zip(*(flows[name].tolist() for name in names), strict=True)
    src, dst = flows["src"].tobytes(), flows["dst"].tobytes()
    return [
        _community_id(src[at : at + 16], dst[at : at + 16], key, seed)
        for at, key in zip(range(0, 16 * len(flows), 16), plain, strict=True)
    ]


def _community_id(src: bytes, dst: bytes, key: tuple[int, ...], seed: int) -> str:
    version, protocol, src_port, dst_port, icmp_type, icmp_code = key
    if version == 4:
        src, dst = src[12:], dst[12:]
    one_way = False
    if protocol in COUNTERPARTS:
        replies = COUNTERPARTS[protocol]
        one_way = icmp_type not in replies
        src_port, dst_port = icmp_type, replies.get(icmp_type, icmp_code)
    if not one_way and (src, src_port) > (dst, dst_port):
        src, dst, src_port, dst_port = dst, src, dst_port, src_port
    text = struct.pack("!H", seed) + src + dst + struct.pack("!BB", protocol, 0)
    if protocol in (*WITH_PORTS, *COUNTERPARTS):
        text += struct.pack("!HH", src_port, dst_port)
    return "1:" + base64.b64encode(hashlib.sha1(text, usedforsecurity=False).digest()).decode()
