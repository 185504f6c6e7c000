"""Community ID v1 against the values its specification publishes, and against hashlib."""

import base64
import hashlib
import ipaddress
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.community_id import COUNTERPARTS, community_ids
from features.kernel_types import NEVER
from features.metering.flow_record import FLOW


def flow(src: str, dst: str, protocol: int, ports: tuple[int, int]) -> np.ndarray:
    row = np.zeros(1, FLOW)
    for side, text in (("src", src), ("dst", dst)):
        address = ipaddress.ip_address(text)
        packed = address.packed if address.version == 6 else bytes(10) + b"\xff\xff" + address.packed
        row[side] = np.frombuffer(packed, np.uint8)
    row["ip_version"], row["protocol"] = ipaddress.ip_address(src).version, protocol
    row["icmp_type"] = row["icmp_code"] = NEVER
    names = ("icmp_type", "icmp_code") if protocol in (1, 58) else ("src_port", "dst_port")
    row[names[0]], row[names[1]] = ports
    return row


@pytest.mark.parametrize(
    ("src", "dst", "protocol", "ports", "expected"),
    [
        ("128.232.110.120", "66.35.250.204", 6, (34855, 80), "1:LQU9qZlK+B5F3KDmev6m5PMibrg="),
        ("66.35.250.204", "128.232.110.120", 6, (80, 34855), "1:LQU9qZlK+B5F3KDmev6m5PMibrg="),
        ("192.168.1.52", "8.8.8.8", 17, (54585, 53), "1:d/FP5EW3wiY1vCndhwleRRKHowQ="),
        ("192.168.0.89", "192.168.0.1", 1, (8, 0), "1:X0snYXpgwiv9TZtqg64sgzUn6Dk="),
        ("192.168.0.1", "192.168.0.89", 1, (0, 0), "1:X0snYXpgwiv9TZtqg64sgzUn6Dk="),
        ("fe80::200:86ff:fe05:80da", "fe80::260:97ff:fe07:69ea", 58, (135, 0), "1:dGHyGvjMfljg6Bppwm3bg0LO8TY="),
        ("192.168.170.8", "192.168.170.56", 132, (7, 80), "1:jQgCxbku+pNGw8WPbEc/TS/uTpQ="),
    ],
)
def test_published_values(src: str, dst: str, protocol: int, ports: tuple[int, int], expected: str) -> None:
    """The identifier is the published one, and the same from both ends."""
    assert community_ids(flow(src, dst, protocol, ports)).to_pylist() == [expected]


def by_hashlib(row: np.void, seed: int) -> str:
    """Return the identifier of a FLOW row by the specification's words."""
    src, dst = row["src"].tobytes(), row["dst"].tobytes()
    if row["ip_version"] == 4:
        src, dst = src[12:], dst[12:]
    protocol, src_port, dst_port = (int(row[name]) for name in ("protocol", "src_port", "dst_port"))
    one_way = False
    if protocol in COUNTERPARTS:
        replies, kind = COUNTERPARTS[protocol], int(row["icmp_type"])
        one_way = kind not in replies
        src_port, dst_port = kind, replies.get(kind, int(row["icmp_code"]))
    if not one_way and (src, src_port) > (dst, dst_port):
        src, dst, src_port, dst_port = dst, src, dst_port, src_port
    text = struct.pack("!H", seed) + src + dst + struct.pack("!BB", protocol, 0)
    if protocol in (6, 17, 132, *COUNTERPARTS):
        text += struct.pack("!HH", src_port, dst_port)
    return "1:" + base64.b64encode(hashlib.sha1(text, usedforsecurity=False).digest()).decode()


@given(st.integers(0, 1 << 32), st.integers(0, 65_535))
def test_any_flow_is_hashed_as_hashlib_does(number: int, seed: int) -> None:
    """Whatever the addresses, ports, types and protocol, near each other or not, in either version of IP."""
    rows = np.frombuffer(np.random.default_rng(number).bytes(64 * FLOW.itemsize), FLOW).copy()
    rows["ip_version"] = [4, 6] * 32
    rows["protocol"][:32] = [1, 58, 6, 17, 132, 47, 58, 1] * 4
    rows["icmp_type"] &= 0xFF
    rows["icmp_code"] &= 0xFF
    rows["icmp_type"][:8] = [8, 128, 0, 0, 0, 0, 135, 13]
    rows["src"][::3, :15] = rows["dst"][::3, :15]
    rows["src"][::9], rows["src_port"][::18] = rows["dst"][::9], rows["dst_port"][::18]
    assert community_ids(rows, seed).to_pylist() == [by_hashlib(row, seed) for row in rows]


def test_no_flows() -> None:
    """Of no flow there is no identifier."""
    assert community_ids(np.empty(0, FLOW)).to_pylist() == []
