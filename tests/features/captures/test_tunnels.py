"""Tunnels: the packet inside is the one that scapy finds there, whatever it is wrapped in and however deep."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.contrib.erspan import ERSPAN_I, ERSPAN_II, ERSPAN_III
from scapy.contrib.geneve import GENEVE
from scapy.contrib.gtp import GTP_U_Header, GTPPDUSessionContainer
from scapy.contrib.mpls import MPLS
from scapy.layers.dot11 import Dot11
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment
from scapy.layers.l2 import ARP, GRE, GRE_PPTP, LLC, SNAP, Dot1Q, Ether
from scapy.layers.l2tp import L2TP
from scapy.layers.ppp import PPP
from scapy.layers.vxlan import VXLAN
from scapy.packet import Packet, Raw

from features.captures.packet import SkipReason, decode_bytes, new_tunnels
from features.captures.packet_record import Tunnel
from tests.features.captures.test_packet import seen
from tests.features.metering.meter_oracle import Seen, mapped, seen_by_scapy

ETHER = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
OUT = IP(src="192.0.2.1", dst="192.0.2.2", ttl=9)
OUT_6 = IPv6(src="2001:db8::1", dst="2001:db8::2", hlim=9)
IN = IP(src="10.0.0.1", dst="10.0.0.2") / TCP(sport=51_000, dport=50_000, flags="S") / Raw(b"12345")
IN_6 = IPv6(src="2001:db8:1::1", dst="2001:db8:1::2") / TCP(sport=51_000, dport=50_000, flags="S") / Raw(b"12345")
WIFI_LLC = LLC(dsap=0xAA, ssap=0xAA, ctrl=3) / SNAP(OUI=0, code=0x800)


def udp(port: int) -> Packet:
    """UDP to a port, from one that means nothing."""
    return UDP(sport=50_001, dport=port)


def unwrapped(frame: Packet | bytes, original: int | None = None) -> tuple[SkipReason, Seen | None, dict[Tunnel, int]]:
    """Decode one Ethernet frame's innermost packet: the reason, the packet, and the tunnels counted."""
    tunnels = new_tunnels(1)
    reason, packet = decode_bytes(bytes(frame), original=original, tunnels=tunnels)
    counts = {Tunnel(i): int(n) for i, n in enumerate(tunnels.counts) if n}
    return reason, seen(packet) if reason == SkipReason.NONE else None, counts


def known(datagram: Packet) -> Seen | None:
    """What scapy makes of a packet on its own."""
    return seen_by_scapy(type(datagram)(bytes(datagram)), 0)


CASES = [
    (OUT / GRE() / IN, IN, Tunnel.GRE),
    (OUT_6 / GRE() / IN_6, IN_6, Tunnel.GRE),
    (OUT / GRE(chksum_present=1, key_present=1, seqnum_present=1, key=7) / IN, IN, Tunnel.GRE),
    (OUT / GRE(proto=0x6558) / ETHER / Dot1Q(vlan=4) / IN, IN, Tunnel.GRE),
    (OUT / GRE(proto=0x8847) / MPLS(label=9, s=1) / IN, IN, Tunnel.GRE),
    (OUT / GRE(proto=0x883E) / Raw(bytes(4)) / IN, IN, Tunnel.GRE),
    (OUT / GRE(proto=0x883E) / IN, IN, Tunnel.GRE),
    (OUT / udp(4754) / GRE() / IN, IN, Tunnel.GRE),
    (OUT / GRE_PPTP(seqnum_present=1, sequence_number=1) / PPP(proto=0x21) / IN, IN, Tunnel.PPTP),
    (OUT / GRE_PPTP(acknum_present=1, ack_number=4) / Raw(b""), None, None),
    (OUT / GRE(proto=0x88BE) / ERSPAN_I() / ETHER / IN, IN, Tunnel.ERSPAN),
    (OUT / GRE(proto=0x88BE, seqnum_present=1) / ERSPAN_II() / ETHER / IN, IN, Tunnel.ERSPAN),
    (OUT / GRE(proto=0x22EB, seqnum_present=1) / ERSPAN_III() / ETHER / IN, IN, Tunnel.ERSPAN),
    (OUT / GRE(proto=0x22EB, seqnum_present=1) / ERSPAN_III(o=1) / Raw(bytes(8)) / ETHER / IN, IN, Tunnel.ERSPAN),
    (OUT / udp(4789) / VXLAN(vni=77, flags=8) / ETHER / IN, IN, Tunnel.VXLAN),
    (OUT_6 / udp(8472) / VXLAN(vni=77, flags=8) / ETHER / Dot1Q(vlan=3) / IN_6, IN_6, Tunnel.VXLAN),
    (OUT / udp(4789) / Raw(b"\x88\x00\x12\x34\x00\x00\x01\x00") / ETHER / IN, IN, Tunnel.VXLAN),
    (OUT / udp(4790) / Raw(b"\x0c\x00\x00\x01\x00\x00\x01\x00") / IN, IN, Tunnel.VXLAN),
    (OUT / udp(4790) / Raw(b"\x0c\x00\x00\x02\x00\x00\x01\x00") / IN_6, IN_6, Tunnel.VXLAN),
    (OUT / udp(4790) / Raw(b"\x0c\x00\x00\x03\x00\x00\x01\x00") / ETHER / IN, IN, Tunnel.VXLAN),
    (OUT / udp(6081) / GENEVE(vni=5) / ETHER / IN, IN, Tunnel.GENEVE),
    (OUT / udp(6081) / GENEVE(vni=5, proto=0x86DD) / IN_6, IN_6, Tunnel.GENEVE),
    (OUT / udp(6081) / Raw(b"\x02\x00\x08\x00\x00\x00\x05\x00" + bytes(8)) / IN, IN, Tunnel.GENEVE),
    (OUT / udp(2152) / GTP_U_Header(teid=1) / IN, IN, Tunnel.GTP_U),
    (OUT / udp(2152) / GTP_U_Header(teid=1, S=1) / IN, IN, Tunnel.GTP_U),
    (OUT / udp(2152) / GTP_U_Header(teid=1, E=1) / GTPPDUSessionContainer() / IN_6, IN_6, Tunnel.GTP_U),
    (OUT / IN, IN, Tunnel.IP_IN_IP),
    (OUT / IN_6, IN_6, Tunnel.IP_IN_IP),
    (OUT_6 / IN, IN, Tunnel.IP_IN_IP),
    (OUT_6 / IPv6ExtHdrDestOpt() / IN_6, IN_6, Tunnel.IP_IN_IP),
    (OUT.__class__(src="192.0.2.1", dst="192.0.2.2", proto=97) / Raw(b"\x30\x00") / ETHER / IN, IN, Tunnel.ETHER_IP),
    (OUT.__class__(src="192.0.2.1", dst="192.0.2.2", proto=137) / MPLS(s=1) / IN, IN, Tunnel.MPLS),
    (OUT / udp(6635) / MPLS(s=1) / IN, IN, Tunnel.MPLS),
    (OUT / udp(3544) / IN_6, IN_6, Tunnel.TEREDO),
    (OUT / udp(3544) / Raw(b"\0\0" + bytes(6)) / IN_6, IN_6, Tunnel.TEREDO),
    (OUT / udp(3544) / Raw(b"\0\1\2\3" + bytes(14) + b"\0\0" + bytes(6)) / IN_6, IN_6, Tunnel.TEREDO),
    (OUT / udp(1701) / L2TP(session_id=1, tunnel_id=2) / PPP(proto=0x21) / IN, IN, Tunnel.L2TP),
    (OUT / udp(1701) / Raw(b"\x4a\x02\0\0" + bytes(8) + b"\0\2\0\0\xff\x03\0\x21") / IN, IN, Tunnel.L2TP),
    (OUT / udp(5247) / Raw(b"\0\x10\0\0" + bytes(4)) / ETHER / IN, IN, Tunnel.CAPWAP),
    (OUT / udp(5247) / Raw(b"\0\x10\x03\0" + bytes(4)) / Dot11(type=2) / WIFI_LLC / IN, IN, Tunnel.CAPWAP),
    (
        OUT / udp(5247) / Raw(b"\0\x10\x03\0" + bytes(4) + b"\x00\x08" + bytes(22)) / WIFI_LLC / IN,
        IN,
        Tunnel.CAPWAP,
    ),
    (OUT / udp(5072) / Raw(b"\x41\x51\x11\x29" + bytes(4 + 16 + 20)) / IN_6, IN_6, Tunnel.AYIYA),
    (OUT / udp(37008) / Raw(b"\1\0\0\1\x0a\1\xff\0\1") / ETHER / IN, IN, Tunnel.TZSP),
    (OUT / udp(37008) / Raw(b"\1\0\0\x12\1") / Dot11(type=2) / WIFI_LLC / IN, IN, Tunnel.TZSP),
]


@pytest.mark.parametrize(("outer", "inner", "tunnel"), CASES)
def test_the_packet_inside(outer: Packet, inner: Packet | None, tunnel: Tunnel | None) -> None:
    """The packet inside is the same as on its own, an Ethernet trailer outside changes nothing, and it is counted."""
    reason, packet, counts = unwrapped(bytes(ETHER / outer) + bytes(6))
    assert reason == SkipReason.NONE
    assert packet == known(inner if inner is not None else outer)
    assert counts == ({tunnel: 1} if tunnel else {})


@pytest.mark.parametrize(("outer", "_inner", "_tunnel"), CASES)
def test_the_packet_outside(outer: Packet, _inner: Packet | None, _tunnel: Tunnel | None) -> None:
    """Without the option the outer packet is the one."""
    reason, packet = decode_bytes(bytes(ETHER / outer))
    header = type(outer)(bytes(outer))
    following = header[IPv6ExtHdrDestOpt].nh if IPv6ExtHdrDestOpt in header else header.fields.get("nh")
    protocol = header.proto if isinstance(header, IP) else following
    assert reason == SkipReason.NONE
    assert (int(packet["protocol"]), int(packet["length"])) == (protocol, len(outer))
    assert (seen(packet).src, seen(packet).dst) == (mapped(header.src), mapped(header.dst))


def test_nested() -> None:
    """Tunnels in tunnels are taken off down to the last packet, each counted."""
    frame = ETHER / OUT / GRE() / OUT_6 / udp(4789) / VXLAN(vni=1, flags=8) / ETHER / OUT / IN_6
    assert unwrapped(frame) == (SkipReason.NONE, known(IN_6), {Tunnel.GRE: 1, Tunnel.VXLAN: 1, Tunnel.IP_IN_IP: 1})


def test_as_deep_as_a_frame_reaches() -> None:
    """Two thousand headers of IP in IP end at the packet inside the last one."""
    depth, inside = 2000, bytes(IN)
    for _ in range(depth):
        inside = bytes.fromhex("4500") + (len(inside) + 20).to_bytes(2) + bytes(4) + b"\x40\x04\0\0" + bytes(8) + inside
    assert unwrapped(bytes(ETHER)[:12] + b"\x08\x00" + inside) == (SkipReason.NONE, known(IN), {Tunnel.IP_IN_IP: depth})


@pytest.mark.parametrize(
    "outer",
    [
        OUT / GRE(proto=0x806) / ARP(),
        OUT / GRE(proto=0x6558) / ETHER / ARP(),
        OUT / udp(4789) / VXLAN(vni=1, flags=8) / Ether(type=0x88CC) / Raw(bytes(60)),
        OUT / udp(2152) / GTP_U_Header(teid=1, gtp_type=255) / Raw(b"\x00" * 40),
        OUT / udp(6635) / Raw(b"no label"),
        OUT.__class__(src="192.0.2.1", dst="192.0.2.2", proto=4) / Raw(b"\x45"),
    ],
)
def test_what_cannot_be_decoded_inside(outer: Packet) -> None:
    """Where no packet can be found inside, the outer one is metered and the case is counted."""
    reason, packet, counts = unwrapped(ETHER / outer)
    assert reason == SkipReason.NONE
    assert packet
    assert (packet.length, counts) == (len(outer), {Tunnel.UNDECODED: 1})


@pytest.mark.parametrize(
    ("port", "payload"),
    [
        (4789, b"\x12\x34\x81\x80\0\1\0\1"),
        (2152, b"\x32\x01\0\4\0\0\0\0\0\0\0\0"),
        (6081, b"\x12\x34\x81\x80"),
        (3544, b"\0\0\x12"),
        (3544, bytes(IN_6) + b"more"),
        (5247, b"\1\0\0\0\x16\xfe\xff"),
        (5247, b"\0\x10\0\x08" + bytes(20)),
        (1701, b"\xc8\2" + bytes(18)),
        (5072, b"GET / HT"),
        (37008, b"\1\4\0\0\1"),
        (4754, b"\0"),
        (9999, bytes(IN)),
    ],
)
def test_a_port_is_no_tunnel(port: int, payload: bytes) -> None:
    """A tunnel's port on its own, or its signalling, is a packet like any other, and nothing is counted."""
    outer = OUT / udp(port) / Raw(payload)
    reason, packet, counts = unwrapped(ETHER / outer)
    assert (reason, counts) == (SkipReason.NONE, {})
    assert packet
    assert (packet.dst_port, packet.length) == (port, len(outer))


@pytest.mark.parametrize(
    ("outer", "is_counted"),
    [
        (IP(src="192.0.2.1", dst="192.0.2.2", flags="MF") / GRE() / IN, True),
        (IP(src="192.0.2.1", dst="192.0.2.2", flags="MF") / udp(4789) / VXLAN(vni=1, flags=8) / ETHER / IN, True),
        (IP(src="192.0.2.1", dst="192.0.2.2", flags="MF") / udp(53) / Raw(b"part"), False),
        (OUT_6 / IPv6ExtHdrFragment(m=1) / IN, True),
        (OUT_6 / IPv6ExtHdrFragment() / IN, None),
    ],
)
def test_fragmented_outside(outer: Packet, is_counted: bool | None) -> None:
    """A fragment holds only a part of what is inside: it is metered itself; one that is the whole is unwrapped."""
    reason, packet, counts = unwrapped(ETHER / outer)
    assert reason == SkipReason.NONE
    if is_counted is None:
        assert (packet, counts) == (known(IN), {Tunnel.IP_IN_IP: 1})
    else:
        assert packet
        assert (packet.fragment, counts) == (1, {Tunnel.FRAGMENTED: 1} if is_counted else {})


def test_cut_inside() -> None:
    """A snap length that keeps the inner headers changes nothing; one that does not leaves the outer packet."""
    whole = bytes(ETHER / OUT / GRE() / IP(src="10.0.0.1", dst="10.0.0.2") / UDP(sport=51_000) / Raw(bytes(1000)))
    reason, packet, counts = unwrapped(whole[:70], original=len(whole))
    assert packet
    assert (reason, packet.payload, counts) == (SkipReason.NONE, 1000, {Tunnel.GRE: 1})
    reason, packet, counts = unwrapped(whole[:59], original=len(whole))
    assert packet
    assert (reason, packet.protocol, counts) == (SkipReason.NONE, 47, {Tunnel.UNDECODED: 1})


@pytest.mark.parametrize(
    ("frame", "vlan"),
    [
        (ETHER / IN, 0),
        (ETHER / Dot1Q(vlan=0) / IN, 0),
        (ETHER / Dot1Q(vlan=5) / IN, 5),
        (ETHER / Dot1Q(vlan=7) / Dot1Q(vlan=5) / IN, 7 << 12 | 5),
        (ETHER / Dot1Q(vlan=9) / OUT / udp(4789) / VXLAN(vni=77, flags=8) / ETHER / IN, 77),
        (ETHER / OUT / udp(6081) / GENEVE(vni=77) / ETHER / Dot1Q(vlan=5) / IN, 77 << 12 | 5),
        (ETHER / Dot1Q(vlan=9) / OUT / GRE() / IN, 0),
    ],
)
def test_networks(frame: Packet, vlan: int) -> None:
    """A packet knows the VLAN tags around it, and within a tunnel the network's id and the tags inside alone."""
    _, packet = decode_bytes(bytes(frame), tunnels=new_tunnels(1))
    assert int(packet["vlan"]) == vlan


@settings(max_examples=300, deadline=None)
@given(
    case=st.sampled_from(CASES),
    cut=st.integers(0, 120),
    changes=st.lists(st.tuples(st.integers(14, 120), st.integers(0, 255)), max_size=5),
)
def test_hostile_tunnels(case: tuple[Packet, Packet, Tunnel], cut: int, changes: list[tuple[int, int]]) -> None:
    """Whatever the bytes, a frame has the same reason with and without the option, or its inner packet is whole."""
    content = bytearray(bytes(ETHER / case[0]))
    for at, value in changes:
        if at < len(content):
            content[at] = value
    frame = bytes(content[: max(len(content) - cut, 0)])
    tunnels = new_tunnels(1)
    (outside, _), (reason, packet) = decode_bytes(frame), decode_bytes(frame, tunnels=tunnels)
    if reason == SkipReason.NONE:
        assert 0 <= packet["payload"] <= packet["length"] <= len(frame)
    if not tunnels.counts[: Tunnel.UNDECODED].any():
        assert reason == outside
