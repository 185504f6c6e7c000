"""The agreement benchmark on captures and references made by hand: every number below was counted on paper."""

import struct
from pathlib import Path

import pytest

from benchmarks.agreement.checksums import ones_sum
from benchmarks.agreement.frames import End, Frame, address_bytes, locate
from benchmarks.agreement.references import read_listings, read_zeek, without_repeats
from benchmarks.agreement.report import markdown, plain, share
from benchmarks.agreement.rules import Cause, Reason, cut
from benchmarks.agreement.survey import Tally, survey
from features.captures.packet import SkipReason

CLIENT, SERVER = bytes((10, 0, 0, 1)), bytes((10, 0, 0, 2))
SYN, ACK, FIN_ACK, RST = 2, 16, 17, 4
TCP, UDP, GRE = 6, 17, 47
EMPTY_ETHERNET = bytes(12)


def ipv4(protocol: int, payload: bytes, back: bool = False, length: int | None = None, fragment: int = 0) -> bytes:
    """An IPv4 datagram from client to server, or back, with a right header checksum."""
    ends = SERVER + CLIENT if back else CLIENT + SERVER
    size = 20 + len(payload) if length is None else length
    head = struct.pack(">BBHHHBBH", 0x45, 0, size, 7, fragment, 64, protocol, 0) + ends
    return head[:10] + struct.pack(">H", 0xFFFF - ones_sum(head)) + head[12:] + payload


def udp(size: int, back: bool = False, ports: tuple[int, int] = (1000, 53)) -> bytes:
    """A UDP packet with so many bytes of payload, and no checksum."""
    source, target = ports[::-1] if back else ports
    return ipv4(UDP, struct.pack(">HHHH", source, target, 8 + size, 0) + bytes(size), back)


def tcp(flags: int, back: bool = False) -> bytes:
    """A TCP packet without payload."""
    ports = (80, 2000) if back else (2000, 80)
    return ipv4(TCP, struct.pack(">HHIIBBHHH", *ports, 0, 0, 0x50, flags, 0, 0, 0), back)


def ethernet(datagram: bytes, vlan: int | None = None) -> bytes:
    """A frame that adds 14 bytes, 18 with a VLAN tag."""
    tag = b"" if vlan is None else struct.pack(">HH", 0x8100, vlan)
    return EMPTY_ETHERNET + tag + b"\x08\x00" + datagram


def capture(path: Path, *frames: bytes) -> None:
    """A pcap file of Ethernet frames, one a millisecond, from the second 100 on."""
    records = (struct.pack("<IIII", 100, 1000 * at, len(one), len(one)) + one for at, one in enumerate(frames))
    path.write_bytes(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1) + b"".join(records))


def ndpi_flow(protocol: str, ports: tuple[int, int], counts: tuple[int, int, int, int], vlan: str = "") -> str:
    """A line of ndpiReader's listing: packets and bytes from the client, then from the server."""
    told = "[{} pkts/{} bytes <-> {} pkts/{} bytes]".format(*counts)
    ends = f"{protocol} 10.0.0.1:{ports[0]} <-> 10.0.0.2:{ports[1]}"
    return f"\t1\t{ends} {vlan}[proto: 0/Unknown]{told}[Goodput ratio: 0/0][< 1 sec]\n"


def compared(folder: Path, frames: list[bytes], listing: str) -> Tally:
    """Compare one capture with what nDPI is said to have listed of it."""
    capture(folder / "a.pcap", *frames)
    (folder / "a.out").write_text(listing, "utf-8")
    (folder / "pairs.csv").write_text("pcap,reference,kind\na.pcap,a.out,ndpi-flows\n", "utf-8")
    return survey(folder, read_listings(folder))["nDPI"]


def test_same_flow_agrees(tmp_path: Path) -> None:
    """A question of 20 and an answer of 40 bytes are 62 and 82 bytes of frames, and 32 % and 48 % of them payload."""
    listing = ndpi_flow("UDP", (1000, 53), (1, 62, 1, 82)).replace("0/0]", "32/48]")
    tally = compared(tmp_path, [ethernet(udp(20)), ethernet(udp(40, back=True))], listing)
    assert tally.agree == {"found": 1, "packets": 1, "bytes": 1, "both": 1}
    assert {(name, agrees) for name, agrees, _ in tally.fields} == {
        ("direction", True),
        ("duration", True),
        ("payload share", True),
    }


VLAN_FRAMES = [ethernet(udp(20), vlan=5), ethernet(udp(20), vlan=6), ethernet(udp(40, back=True), vlan=5)]
TUNNEL_FRAMES = [ethernet(ipv4(GRE, b"\0\0\x08\0" + udp(20)))]
FIRST_FRAGMENT, LAST_FRAGMENT = 0x2000, 4
FRAGMENT_FRAMES = [
    ethernet(ipv4(UDP, struct.pack(">HHHH", 1000, 53, 56, 0) + bytes(24), fragment=FIRST_FRAGMENT)),
    ethernet(ipv4(UDP, bytes(24), fragment=LAST_FRAGMENT)),
]
REOPENED = [tcp(SYN), tcp(RST, back=True), tcp(SYN), tcp(RST, back=True)]


def test_inner_layer(tmp_path: Path) -> None:
    """A flow that lies in GRE agrees on the inner layer, in the frame's bytes; one that lies nowhere does not."""
    tally = compared(tmp_path, TUNNEL_FRAMES, ndpi_flow("UDP", (1000, 53), (1, 86, 0, 0)))
    assert (tally.agree["both"], tally.agree["inside"]) == (0, 1)
    tally = compared(tmp_path, TUNNEL_FRAMES, ndpi_flow("UDP", (1000, 53), (2, 172, 0, 0)))
    assert (tally.agree["both"], tally.agree["inside"]) == (0, 0)


def question(name: bytes, space: int = 1) -> bytes:
    """A DNS query for the address of one label under example, of the class of the internet or another one."""
    labels = bytes((len(name),)) + name + b"\7example\0"
    payload = bytes.fromhex("123401000001000000000000") + labels + b"\0\1" + space.to_bytes(2)
    return ipv4(UDP, struct.pack(">HHHH", 1000, 53, 8 + len(payload), 0) + payload)


@pytest.mark.parametrize(
    ("told", "outcome"),
    [
        ("[proto: 5/DNS][Hostname/SNI: A.example]", (True, "")),
        ("[proto: 5/DNS]", (False, "theirs: not told of this flow")),
        ("[proto: 5/DNS][Hostname/SNI: b.example]", (False, "theirs: a later message's name")),
        ("[proto: 5/DNS][Hostname/SNI: c.example]", (False, "theirs: a later message's name")),
        ("[proto: 5/DNS][Hostname/SNI: d.example]", (False, "")),
    ],
)
def test_payload_is_compared(told: str, outcome: tuple[bool, str], tmp_path: Path) -> None:
    """The first question's name is ours; what the payload shows of theirs is a rule, all else is none."""
    listing = ndpi_flow("UDP", (1000, 53), (3, 207, 0, 0)).replace("[proto: 0/Unknown]", told)
    asked = [question(b"a"), question(b"b"), question(b"c", space=0x9401)]
    tally = compared(tmp_path, [ethernet(one) for one in asked], listing)
    assert tally.payloads == {("dns_query", *outcome): 1}


@pytest.mark.parametrize(
    ("cause", "frames", "listing"),
    [
        (Cause.VLAN, VLAN_FRAMES, ndpi_flow("UDP", (1000, 53), (1, 66, 1, 86), "[VLAN: 5]")),
        (Cause.TUNNEL, TUNNEL_FRAMES, ndpi_flow("UDP", (1000, 53), (1, 86, 0, 0))),
        (Cause.FRAGMENTS, FRAGMENT_FRAMES, ndpi_flow("UDP", (1000, 53), (1, 66, 0, 0))),
        (Cause.TCP_END, [ethernet(one) for one in REOPENED], ndpi_flow("TCP", (2000, 80), (2, 108, 2, 108))),
        (Cause.UNKNOWN, [ethernet(udp(20))], ndpi_flow("UDP", (1000, 53), (3, 62, 0, 0))),
    ],
)
def test_cause_is_named_by_the_packets(cause: Cause, frames: list[bytes], listing: str, tmp_path: Path) -> None:
    """A class is named when the packets that its rule leaves over are their flow, and none when no rule gives it."""
    tally = compared(tmp_path, frames, listing)
    assert {reason.cause for reason in tally.causes} == {cause}
    assert tally.agree["both"] == 0


@pytest.mark.parametrize(
    ("original", "metered", "cause"),
    [(62, 9000, Cause.TOO_LONG), (62, 48, Cause.LYING), (9014, 9000, Cause.SNAPPED)],
)
def test_cut_packet_is_told_from_a_lying_one(original: int, metered: int, cause: Cause) -> None:
    """A datagram of 9000 bytes of which 48 were captured was cut, unless the frame itself was no longer."""
    data = ethernet(ipv4(UDP, udp(20)[20:], length=9000))
    frame = Frame(0, data, original, 1, SkipReason.NONE, length=metered)
    (seen,) = locate([frame], UDP, End(CLIENT, 1000), End(SERVER, 53))
    assert cut(seen, frame) == Reason(cause)


def test_flow_without_theirs_is_counted(tmp_path: Path) -> None:
    """A flow of ours that no rule of theirs leaves out stays unexplained."""
    tally = compared(tmp_path, [ethernet(udp(20)), ethernet(udp(20, ports=(1001, 53)))], "")
    assert {reason.cause: count for reason, count in tally.only_ours.items()} == {Cause.UNKNOWN: 2}


def test_unreadable_capture_is_counted_by_reason(tmp_path: Path) -> None:
    """A capture that our reader refuses is counted under its words, with their flows in it."""
    compared(tmp_path, [ethernet(udp(20))], ndpi_flow("UDP", (1000, 53), (1, 62, 0, 0)))
    (tmp_path / "a.pcap").write_bytes(b"no capture at all, but text")
    tally = survey(tmp_path, read_listings(tmp_path))["nDPI"]
    (reason,) = tally.captures
    assert reason != "compared"
    assert tally.flows == {reason: 1}


def test_bundle_that_is_not_unpacked_is_said(tmp_path: Path) -> None:
    """A pair without its files is counted, not an error."""
    (tmp_path / "pairs.csv").write_text("pcap,reference,kind\na.pcap,a.out,ndpi-flows\n", "utf-8")
    assert survey(tmp_path, read_listings(tmp_path))["nDPI"].captures == {"the bundle is not unpacked": 1}


COLUMNS = "id_orig_h id_orig_p id_resp_h id_resp_p proto orig_pkts orig_ip_bytes resp_pkts resp_ip_bytes history"
CONN_LOG = f"""#fields {COLUMNS}
#types addr port addr port enum count count count count string
10.0.0.1 1000 10.0.0.2 53 udp 1 48 1 68 Dd
10.0.0.1 8 10.0.0.2 0 icmp 1 84 1 84 -
"""


def test_zeek_log_is_read_by_its_fields(tmp_path: Path) -> None:
    """A conn.log gives its TCP and UDP rows, whatever a test called the columns."""
    path = tmp_path / "conn.log"
    path.write_text(CONN_LOG.replace(" ", "\t"), "utf-8")
    (flow,) = read_zeek(path)
    assert (flow.src, flow.dst) == (("10.0.0.1", 1000), ("10.0.0.2", 53))
    assert (flow.packets, flow.bytes, flow.details["history"]) == ((1, 1), (48, 68), "Dd")


def test_repeated_reference_counts_once(tmp_path: Path) -> None:
    """Two listings that say the same of a capture are one; the page and the JSON hold each tool that was there."""
    compared(tmp_path, [ethernet(udp(20))], ndpi_flow("UDP", (1000, 53), (1, 62, 0, 0)))
    (tmp_path / "pairs.csv").write_text("pcap,reference,kind\n" + 2 * "a.pcap,a.out,ndpi-flows\n", "utf-8")
    listings = read_listings(tmp_path)
    assert (len(listings), len(without_repeats(listings))) == (2, 1)
    tallies = survey(tmp_path, without_repeats(listings))
    assert "| both agree | 1 (100.00 %) |" in markdown(tallies)
    assert plain(tallies)["nDPI"]["agree"]["both"] == 1


def test_nfstream_is_joined_by_totals(tmp_path: Path) -> None:
    """A reference without ends agrees with the flow that has its packets and bytes."""
    capture(tmp_path / "a.pcap", ethernet(udp(20)), ethernet(udp(40, back=True)))
    (tmp_path / "a.csv").write_text("id,bidirectional_packets,bidirectional_bytes\n0,2,144\n", "utf-8")
    (tmp_path / "pairs.csv").write_text("pcap,reference,kind\na.pcap,a.csv,nfstream-flows\n", "utf-8")
    assert survey(tmp_path, read_listings(tmp_path))["nfstream"].agree["both"] == 1


def test_shortened_address_stands_for_every_reading() -> None:
    """`1::2::3` of nDPI is 1:0:2::3 or 1::2:0:3, and no other."""
    readings = {address.hex(":", 2) for address in address_bytes("1::2::3")}
    assert readings == {"0001:0000:0002:0000:0000:0000:0000:0003", "0001:0000:0000:0000:0000:0002:0000:0003"}


def test_sum_of_the_rfc() -> None:
    """RFC 1071's example: 0001 f203 f4f5 f6f7 add up to ddf2."""
    assert ones_sum(bytes.fromhex("0001f203f4f5f6f7")) == 0xDDF2


def test_share_is_never_rounded_up_to_all() -> None:
    """One flow of a hundred thousand that disagrees is seen."""
    assert share(99_999, 100_000) == "99.99 %"
    assert share(7, 7) == "100.00 %"
