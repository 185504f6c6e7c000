"""Community ID v1 against the values its specification publishes."""

import ipaddress

import numpy as np
import pytest

from features.community_id import community_ids
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
    assert community_ids(flow(src, dst, protocol, ports)) == [expected]
