"""Decoding frames: against scapy on real and on made frames, and by hand where a frame has no place in a flow."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.contrib.mpls import MPLS
from scapy.layers.dot11 import Dot11, Dot11QoS, RadioTap
from scapy.layers.inet import IP, TCP, UDP, IPOption_NOP, IPOption_RR
from scapy.layers.inet6 import (
    ICMPv6EchoRequest,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
)
from scapy.layers.l2 import ARP, LLC, CookedLinux, CookedLinuxV2, Dot1AD, Dot1Q, Dot3, Ether, Loopback
from scapy.layers.l2 import SNAP as SNAP_HEADER
from scapy.layers.ppp import PPP, PPPoE
from scapy.layers.sctp import SCTP
from scapy.packet import Packet, Raw

from features.captures.capture import open_capture
from features.captures.frames import FRAME
from features.captures.link_kernel import LINKS
from features.captures.packet import PACKET, SkipReason, decode_bytes, decode_frames, new_fragments
from tests.features.metering.meter_oracle import Seen, seen_by_scapy

CAPTURE = Path(__file__).parents[3] / "captures" / "demo-score.pcap.zst"
BYTES_4, BYTES_6 = b"\x0a\x00\x00\x01", bytes.fromhex("20010db8000000000000000000000001")
LINK_HEADER = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")


def seen(packet: np.void) -> Seen:
    """Return a PACKET row as the oracle writes it."""
    ends = {
        end: b"".join(int(packet[f"{end}_{half}"]).to_bytes(8) for half in ("high", "low")) for end in ("src", "dst")
    }
    same = ("protocol", "ttl", "length", "payload", "src_port", "dst_port", "flags", "seq", "window", "fragment")
    icmp = {name: int(packet[name]) for name in ("icmp_type", "icmp_code")}
    numbers = {name: int(packet[name]) for name in same}
    return Seen(time_ns=int(packet["time_ns"]), version=int(packet["ip_version"]), **ends, **numbers, **icmp)


def frames(path: Path) -> Iterator[tuple[int, bytes, int]]:
    """Yield time, captured bytes and original length of a capture's frames."""
    with open_capture(path) as capture:
        for block, rows in capture:
            for row in rows:
                content = block[row["start"] : row["start"] + row["captured"]].tobytes()
                yield int(row["time_ns"]), content, int(row["original"])


def test_real_frames_as_scapy_decodes_them() -> None:
    """Every 40th frame of a recorded capture, cut at 96 bytes, decodes to what scapy says."""
    compared = 0
    for _, content, original in islice(frames(CAPTURE), 0, None, 40):
        reason, packet = decode_bytes(content, original=original)
        right = seen_by_scapy(Ether(content), 0)
        assert (reason == SkipReason.NONE) == (right is not None)
        if right:
            assert seen(packet) == right
            compared += 1
    assert compared > 5000


ports = st.integers(0, 65535)
transports = st.one_of(
    st.builds(
        lambda s, d, seq, flags, window, options: TCP(
            sport=s, dport=d, seq=seq, flags=flags, window=window, options=options
        ),
        *(ports, ports, st.integers(0, 2**32 - 1), st.integers(0, 255), ports),
        st.sampled_from([[], [("MSS", 1460)], [("Timestamp", (1, 2)), ("NOP", None), ("NOP", None)]]),
    ),
    # ports at which scapy expects no protocol of its own
    st.builds(lambda s, d: UDP(sport=s, dport=d), st.integers(50_000, 50_999), st.integers(51_000, 51_999)),
)
networks_4 = st.builds(
    lambda ttl, options, more: IP(src="10.0.0.1", dst="192.0.2.255", ttl=ttl, options=options, flags="MF" * more),
    st.integers(0, 255),
    st.sampled_from([[], [IPOption_NOP()] * 4, [IPOption_RR(length=11, routers=["0.0.0.0", "0.0.0.0"])]]),  # noqa: S104
    st.booleans(),
)
extensions = st.lists(
    st.sampled_from([IPv6ExtHdrHopByHop(), IPv6ExtHdrDestOpt(), IPv6ExtHdrRouting(), IPv6ExtHdrFragment(m=1)]),
    max_size=3,
)
tags = st.lists(st.sampled_from([Dot1Q(vlan=5), Dot1AD(vlan=7)]), max_size=3)


def stacked(*layers: Packet) -> Packet:
    """Put copies of layers on top of each other."""
    whole = layers[0].copy()
    for layer in layers[1:]:
        whole = whole / layer.copy()
    return whole


@settings(max_examples=150, deadline=None)
@given(tags, networks_4, transports, st.binary(max_size=40), st.binary(max_size=8))
def test_made_ipv4_frames_as_scapy_decodes_them(
    vlan: list[Packet], network: Packet, transport: Packet, payload: bytes, trailer: bytes
) -> None:
    """Any number of VLAN tags, IP options, TCP options and an Ethernet trailer leave the numbers what scapy says."""
    content = bytes(stacked(LINK_HEADER, *vlan, network, transport, Raw(payload)))
    reason, packet = decode_bytes(content + trailer)
    assert reason == SkipReason.NONE
    assert seen(packet) == seen_by_scapy(Ether(content), 0)


@settings(max_examples=150, deadline=None)
@given(tags, extensions, st.one_of(transports, st.just(ICMPv6EchoRequest(id=3))), st.binary(max_size=40))
def test_made_ipv6_frames_as_scapy_decodes_them(
    vlan: list[Packet], headers: list[Packet], transport: Packet, payload: bytes
) -> None:
    """Extension headers are walked to the transport header, and what they take is no payload."""
    network = IPv6(src="2001:db8::1", dst="ff02::2", hlim=9)
    content = bytes(stacked(LINK_HEADER, *vlan, network, *headers, transport, Raw(payload)))
    reason, packet = decode_bytes(content)
    assert reason == SkipReason.NONE
    assert seen(packet) == seen_by_scapy(Ether(content), 0)


@pytest.mark.parametrize(
    ("link", "link_type"),
    [
        (Ether(), 1),
        (CookedLinux(proto=0x800), 113),
        (CookedLinuxV2(proto=0x800), 276),
        (Loopback(type=2), 0),
        (Raw(b"\x00\x00\x00\x02"), 108),
        (None, 101),
        (None, 12),
        (None, 228),
    ],
)
def test_link_types(link: Packet | None, link_type: int) -> None:
    """Every decoded link type leads to the same IPv4 packet."""
    datagram = IP(src="10.0.0.1", dst="10.0.0.2") / UDP(sport=51_000, dport=50_000) / b"12345"
    reason, packet = decode_bytes(bytes(link / datagram if link else datagram), link_type)
    assert reason == SkipReason.NONE
    assert seen(packet) == seen_by_scapy(IP(bytes(datagram)), 0)


HOME = "02:00:00:00:00:09"
SNAP = LLC(dsap=0xAA, ssap=0xAA, ctrl=3) / SNAP_HEADER(OUI=0, code=0x800)
WIFI = Dot11(type=2, subtype=0, FCfield=2)
WIFI_QUALITY = Dot11(type=2, subtype=8, FCfield=1) / Dot11QoS()
BRIDGED = Dot11(type=2, subtype=8, FCfield=3, addr4="02:00:00:00:00:04") / Dot11QoS()
RADIOTAP = RadioTap(present="TSFT+Flags+Rate+Channel", mac_timestamp=7, Flags="", Rate=2, ChannelFrequency=2412)
LABELS = MPLS(label=16, s=0) / MPLS(label=17, s=1)


@pytest.mark.parametrize(
    ("link", "link_type"),
    [
        (Dot3(dst=HOME, src=HOME) / SNAP, 1),
        (Dot3(dst=HOME, src=HOME) / LLC(dsap=6, ssap=6, ctrl=3), 1),
        (
            LINK_HEADER
            / Dot1Q(vlan=3, type=60)
            / LLC(dsap=0xAA, ssap=0xAA, ctrl=3)
            / SNAP_HEADER(OUI=0xF8, code=0x800),
            1,
        ),
        (LINK_HEADER / LABELS, 1),
        (LINK_HEADER / Dot1Q() / LABELS, 1),
        (Ether(dst=HOME, src=HOME, type=0x8848) / LABELS, 1),
        (Ether(dst=HOME, src=HOME, type=0x8847) / MPLS(s=1) / Raw(bytes(4)) / Ether(dst=HOME, src=HOME, type=0x800), 1),
        (LINK_HEADER / PPPoE(sessionid=1) / PPP(proto=0x21), 1),
        (LINK_HEADER / Dot1Q() / PPPoE(sessionid=1) / Raw(b"\x21"), 1),
        (LINK_HEADER / PPPoE(sessionid=1) / PPP(proto=0x281) / LABELS, 1),
        (CookedLinux(proto=4) / SNAP, 113),
        (CookedLinux(proto=0x8100) / Dot1Q(type=0x800), 113),
        (PPP(proto=0x21), 9),
        (Raw(b"\xff\x03") / PPP(proto=0x21), 9),
        (Raw(b"\xff\x03\x21"), 50),
        (Raw(b"\x0f\x00\x08\x00"), 50),
        (PPPoE(sessionid=1) / PPP(proto=0x21), 51),
        (Raw(b"\x0f\x00\x08\x00"), 104),
        (Raw(b"\x18\x41\x03\xcc"), 107),
        (Raw(b"\x18\x41\x03\x00\x80\x00\x00\x00\x08\x00"), 107),
        (Raw(b"\x18\x41\x08\x00"), 107),
        (WIFI / SNAP, 105),
        (WIFI_QUALITY / SNAP, 105),
        (BRIDGED / SNAP, 105),
        (RADIOTAP / WIFI / SNAP, 127),
        (RADIOTAP / WIFI_QUALITY / SNAP, 127),
        (RadioTap(present="TSFT+Flags", mac_timestamp=7, Flags="pad") / WIFI_QUALITY / Raw(bytes(2)) / SNAP, 127),
        (RadioTap(present="TSFT+Flags", mac_timestamp=7, Flags="pad") / WIFI / SNAP, 127),
        (Raw(bytes(144)) / WIFI / SNAP, 119),
        (Raw(b"\x80\x21\x10\x01\x00\x00\x00\x40" + bytes(56)) / WIFI / SNAP, 163),
        (Raw(b"\x00\x00\x0c\x00\x69\x00\x00\x00" + bytes(4)) / WIFI / SNAP, 192),
        (Raw(b"\x00\x00\x08\x00\x01\x00\x00\x00") / Ether(dst=HOME, src=HOME, type=0x800), 192),
        (Raw(b"\x00\x00\x08\x00\x71\x00\x00\x00") / CookedLinux(proto=0x800), 192),
        (Raw(b"\x10\0\0\0\1\0\0\0\1\0\0\0" + bytes(4)) / Ether(dst=HOME, src=HOME, type=0x800), 258),
        (Raw(b"\2\0\0\1\x08\0\1\0\x08\0\1\0\x05\0\x0a\0x\0\0\0\x21\0\x09\0"), 239),
        (Raw(bytes(12) + b"\1\2\3\4\x08\0"), 281),
        (Raw(bytes(4)) / Ether(dst=HOME, src=HOME, type=0x800), 282),
        (Raw(bytes(12) + b"\1\2\3\4\x08\0"), 284),
        (Raw(bytes(12) + b"\xda\xda\0\0\1\2\3\4\x08\0"), 285),
        (Ether(dst=HOME, src=HOME, type=0x8903) / Raw(b"\0\x20") / LINK_HEADER / Dot1Q(type=0x800), 1),
        (Ether(dst=HOME, src=HOME, type=0x88E7) / Raw(b"\0\0\1\2") / Ether(dst=HOME, src=HOME, type=0x800), 1),
        (Raw(bytes(13)) / SNAP, 10),
        (SNAP, 100),
        (Raw(bytes(12)), 109),
        (Raw(b"\x3d" + bytes(63)), 117),
        (Raw(bytes(16)), 8),
        (Raw(bytes(4)) / Ether(dst=HOME, src=HOME, type=0x800), 240),
    ],
)
def test_framings(link: Packet, link_type: int) -> None:
    """Whatever lies around an IPv4 packet, it is the same packet."""
    datagram = bytes(IP(src="10.0.0.1", dst="10.0.0.2") / UDP(sport=51_000, dport=50_000) / b"12345")
    reason, packet = decode_bytes(bytes(link) + datagram, link_type)
    assert reason == SkipReason.NONE
    assert seen(packet) == seen_by_scapy(IP(datagram), 0)


@pytest.mark.parametrize("link_type", sorted(LINKS))
def test_cut_framings(link_type: int) -> None:
    """A frame that ends in its framing is cut, or nothing to meter; it is never read beyond its end."""
    for content in (bytes(n) for n in range(40)):
        assert decode_bytes(content, link_type)[0] != SkipReason.NONE


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (Dot11(type=0, subtype=8) / Raw(bytes(40)), SkipReason.NOT_IP),
        (Dot11(type=2, subtype=4) / Raw(bytes(40)), SkipReason.NOT_IP),
        (Dot11(type=2, subtype=12) / Raw(bytes(40)), SkipReason.NOT_IP),
        (Dot11(type=2, FCfield=0x40) / Raw(bytes(40)), SkipReason.ENCRYPTED_LINK),
        (Dot11(type=2, SC=3) / SNAP, SkipReason.FRAGMENT),
        (Dot11(type=2, subtype=8) / Dot11QoS(A_MSDU_Present=1) / Raw(bytes(40)), SkipReason.LINK_TYPE),
    ],
)
def test_radio_frames_without_a_packet(frame: Packet, reason: SkipReason) -> None:
    """Management frames, frames without data, encrypted ones, fragments and bundles are told apart."""
    assert decode_bytes(bytes(frame), 105)[0] == reason


@pytest.mark.parametrize("network", [IP(src="10.0.0.1", dst="10.0.0.2"), IPv6(src="2001:db8::1", dst="2001:db8::2")])
def test_sctp_has_ports(network: Packet) -> None:
    """SCTP's ports are read, and its common header of 12 bytes is no payload."""
    reason, packet = decode_bytes(bytes(LINK_HEADER / network / SCTP(sport=2905, dport=7) / Raw(b"chunks")))
    assert [reason, *(int(packet[name]) for name in ("src_port", "dst_port", "payload"))] == [0, 2905, 7, 6]


@pytest.mark.parametrize("link_type", [0, 101, 229])
def test_bare_ipv6(link_type: int) -> None:
    """A datagram without EtherType is told by its version."""
    datagram = IPv6(src="2001:db8::1", dst="2001:db8::2") / TCP(flags="S")
    family = b"\x1c\x00\x00\x00" if link_type == 0 else b""
    reason, packet = decode_bytes(family + bytes(datagram), link_type)
    assert (reason, int(packet["ip_version"]), int(packet["flags"])) == (SkipReason.NONE, 6, 2)


def ipv4(protocol: int = 6, length: int = 40, header: int = 0x45, fragment: int = 0) -> bytes:
    """Return an Ethernet header and 20 bytes of IPv4 header with these fields as they are."""
    fields = bytes([header, 0]) + length.to_bytes(2) + bytes(2) + fragment.to_bytes(2) + bytes([64, protocol, 0, 0])
    return bytes(12) + b"\x08\x00" + fields + BYTES_4 * 2


def ipv6(following: int, length: int) -> bytes:
    """Return an Ethernet header and an IPv6 header with these fields as they are."""
    return bytes(12) + b"\x86\xdd\x60\x00\x00\x00" + length.to_bytes(2) + bytes([following, 64]) + BYTES_6 * 2


TCP_HEADER = b"\x00\x01\x00\x02" + bytes(8) + b"\x50\x02\x01\x00" + bytes(4)


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (b"", SkipReason.TRUNCATED_LINK),
        (bytes(13), SkipReason.TRUNCATED_LINK),
        (bytes(12) + b"\x81\x00\x00\x05", SkipReason.TRUNCATED_LINK),
        (bytes(Ether() / ARP()), SkipReason.ARP),
        (bytes(Dot3() / Raw(b"\x42\x42\x03" + bytes(40))), SkipReason.NOT_IP),
        (ipv4()[:33], SkipReason.TRUNCATED_IP),
        (ipv4(header=0x46, length=44), SkipReason.TRUNCATED_IP),
        (ipv4(header=0x65), SkipReason.BAD_IP_HEADER),
        (ipv4(header=0x44), SkipReason.BAD_IP_HEADER),
        (ipv4(length=19), SkipReason.BAD_IP_HEADER),
        (ipv4(fragment=1) + bytes(20), SkipReason.FRAGMENT),
        (ipv4() + TCP_HEADER[:13], SkipReason.TRUNCATED_TRANSPORT),
        (ipv4(length=39) + TCP_HEADER, SkipReason.BAD_TRANSPORT_HEADER),
        (ipv4() + TCP_HEADER.replace(b"\x50", b"\x40"), SkipReason.BAD_TRANSPORT_HEADER),
        (ipv4() + TCP_HEADER.replace(b"\x50", b"\x60"), SkipReason.BAD_TRANSPORT_HEADER),
        (ipv4(protocol=17, length=28) + bytes(3), SkipReason.TRUNCATED_TRANSPORT),
        (ipv4(protocol=17, length=27) + bytes(8), SkipReason.BAD_TRANSPORT_HEADER),
        (ipv4(protocol=1, length=28), SkipReason.TRUNCATED_TRANSPORT),
        (ipv4(protocol=1, length=23) + bytes(8), SkipReason.BAD_TRANSPORT_HEADER),
        (ipv6(6, 20)[:53], SkipReason.TRUNCATED_IP),
        (ipv6(0, 28) + bytes([6, 0, 0, 0]), SkipReason.TRUNCATED_IP),
        (ipv6(0, 28) + bytes([6, 9]) + bytes(100), SkipReason.BAD_IP_HEADER),
        (ipv6(44, 28) + bytes([6, 0, 0, 8]) + bytes(24), SkipReason.FRAGMENT),
        (ipv6(6, 20).replace(b"\xdd\x60", b"\xdd\x40") + TCP_HEADER, SkipReason.BAD_IP_HEADER),
    ],
)
def test_what_has_no_place_in_a_flow(frame: bytes, reason: SkipReason) -> None:
    """Each reason for leaving a packet out is told from the others, also where the snap length cut the frame."""
    assert decode_bytes(frame, original=1500)[0] == reason


def test_unknown_link_type() -> None:
    """A frame of a link type that is not decoded is counted as that."""
    assert decode_bytes(ipv4() + TCP_HEADER, link_type=195)[0] == SkipReason.LINK_TYPE
    assert decode_bytes(ipv4() + TCP_HEADER, link_type=65_535)[0] == SkipReason.LINK_TYPE


def test_segmentation_offload() -> None:
    """An IPv4 total length of 0 is replaced by the frame's original length, whatever was captured of it."""
    reason, packet = decode_bytes(ipv4(length=0) + TCP_HEADER, original=14 + 5040)
    assert (reason, int(packet["length"]), int(packet["payload"])) == (SkipReason.NONE, 5040, 5000)


@pytest.mark.parametrize("network", [IP(len=60_000), IPv6(plen=60_000)])
def test_a_length_beyond_the_frame_is_not_believed(network: Packet) -> None:
    """A header that claims more bytes than were on the wire is metered as what was on the wire."""
    frame = bytes(LINK_HEADER / network / UDP() / Raw(b"12345"))
    reason, packet = decode_bytes(frame, 1, len(frame))
    assert reason is SkipReason.NONE
    assert packet["length"] == len(frame) - 14
    assert packet["payload"] == 5


def test_jumbogram() -> None:
    """An IPv6 payload length of 0 is replaced by the frame's original length."""
    reason, packet = decode_bytes(ipv6(6, 0) + TCP_HEADER, original=14 + 40 + 70_020)
    assert (reason, int(packet["length"]), int(packet["payload"])) == (SkipReason.NONE, 70_060, 70_000)


def test_authentication_header() -> None:
    """IPv6's authentication header counts its length in units of four bytes (RFC 4302)."""
    reason, packet = decode_bytes(ipv6(51, 24 + 20) + bytes([6, 4]) + bytes(22) + TCP_HEADER)
    assert (reason, int(packet["dst_port"]), int(packet["payload"])) == (SkipReason.NONE, 2, 0)


@pytest.mark.parametrize("protocol", [2, 47, 50, 59, 89, 136, 255])
def test_other_protocols_have_no_ports(protocol: int) -> None:
    """Any other IP protocol is a packet without ports whose payload is the datagram's."""
    reason, packet = decode_bytes(ipv4(protocol, length=60) + b"\xff" * 40)
    assert reason == SkipReason.NONE
    assert [int(packet[name]) for name in ("protocol", "src_port", "dst_port", "payload")] == [protocol, 0, 0, 40]


def test_window_that_was_not_captured() -> None:
    """A snap length that ends behind the TCP flags keeps the packet and leaves its window unknown."""
    reason, packet = decode_bytes(ipv4() + TCP_HEADER[:14], original=1500)
    assert (reason, int(packet["flags"]), int(packet["window"])) == (SkipReason.NONE, 2, -1)


@settings(max_examples=500, deadline=None)
@given(
    start=st.sampled_from([ipv4(), ipv4(17, 36), ipv4(1), ipv6(0, 60), ipv6(44, 60), ipv6(6, 20), b""]),
    rest=st.binary(max_size=80),
    changes=st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), max_size=4),
    link_type=st.sampled_from([*LINKS, 999, -1]),
)
def test_hostile_frames(start: bytes, rest: bytes, changes: list[tuple[int, int]], link_type: int) -> None:
    """Whatever the bytes, a frame has a reason or lengths that fit together."""
    content = bytearray(start + rest)
    for at, value in changes:
        if at < len(content):
            content[at] = value
    reason, packet = decode_bytes(bytes(content), link_type)
    if reason == SkipReason.NONE:
        assert 0 <= packet["payload"] <= packet["length"]
        assert packet["ip_version"] in (4, 6)


def test_counts_add_up() -> None:
    """Of a batch, each frame is a packet or a count, and the packets keep the frames' order and times."""
    good, bad = ipv4() + TCP_HEADER, bytes(Ether() / ARP())
    contents = [good, bad, good, bad, bad, good]
    rows = np.zeros(6, dtype=FRAME)
    rows["captured"] = rows["original"] = [len(content) for content in contents]
    rows["start"][1:] = np.cumsum(rows["captured"])[:-1]
    rows["time_ns"], rows["link_type"] = range(10, 16), 1
    packets, skipped = np.zeros(6, dtype=PACKET), np.zeros(len(SkipReason), dtype=np.int64)
    kept = decode_frames(
        np.frombuffer(b"".join(contents), np.uint8), rows, packets, skipped, new_fragments(1, np.zeros(6, np.uint64))
    )
    assert packets["time_ns"][:kept].tolist() == [10, 12, 15]
    assert (skipped[SkipReason.NONE], skipped[SkipReason.ARP], skipped.sum()) == (3, 3, 6)


def test_documented() -> None:
    """docs/captures.md names every link type that is decoded and every reason for leaving a packet out."""
    text = (Path(__file__).parents[3] / "docs" / "captures.md").read_text("utf-8")
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| ")]
    numbers = {int(part) for row in rows for part in row.split(",") if part.strip().isdigit()}
    assert numbers == LINKS.keys()
    counted = {row.strip(" `").removeprefix("skipped.") for row in rows if "skipped." in row}
    assert counted == {reason.name.lower() for reason in SkipReason} - {"none"}
