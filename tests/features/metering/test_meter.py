"""Metering: every flow field against a plain-Python oracle, and each rule by a small capture of its own."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoReply, ICMPv6EchoRequest, IPv6, IPv6ExtHdrFragment, fragment6
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Packet, Raw
from scapy.utils import RawPcapWriter

from features.captures.capture import open_capture
from features.captures.packet import PACKET, SkipReason, decode_frames, new_fragments
from features.errors import CaptureError, ConfigError
from features.kernel_types import NEVER
from features.metering import meter
from features.metering.flow_record import FLOW, MOST_PACKETS, EndReason
from features.metering.flow_table import LIVE, new_table
from features.metering.meter import CaptureMeter, FlowBatch, MeterSettings
from features.metering.meter_kernel import meter_packets, with_more_slots
from tests.features.metering import meter_oracle
from tests.features.metering.meter_oracle import Seen, assert_same_flows, seen_by_scapy

CAPTURE = Path(__file__).parents[3] / "captures" / "demo-score.pcap.zst"
START_S = 1_700_000_000
SECOND = 1_000_000_000
ETHERNET = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
SHORT = MeterSettings(idle_timeout_s=5, active_timeout_s=12, tcp_grace_s=1, activity_gap_s=0.5)
Timed = tuple[float, Packet]


def write(path: Path, packets: Sequence[Timed]) -> Path:
    """Write packets, with their seconds after START_S, as an Ethernet capture with nanoseconds."""
    with RawPcapWriter(str(path), linktype=1, nano=True) as writer:
        writer.write_header(None)
        for seconds, packet in packets:
            time_ns = START_S * SECOND + round(seconds * SECOND)
            writer.write_packet(bytes(ETHERNET / packet), sec=time_ns // SECOND, usec=time_ns % SECOND)
    return path


@dataclass(frozen=True)
class Metered:
    """What a meter made of captures."""

    batches: list[FlowBatch]
    counts: dict[str, int]

    @property
    def flows(self) -> np.ndarray:
        """All flows, in the order in which they were handed out."""
        return np.concatenate([np.zeros(0, dtype=FLOW), *(batch.flows for batch in self.batches)])

    @property
    def reasons(self) -> list[EndReason]:
        """Why each flow ended, in order of their beginnings."""
        flows = self.flows[np.argsort(self.flows["first_ns"], kind="stable")]
        return [EndReason(reason) for reason in flows["end_reason"]]


def metered(paths: Sequence[Path], limits: MeterSettings = SHORT, block_bytes: int = 1 << 19) -> Metered:
    """Meter files as one capture."""
    capture_meter = CaptureMeter(limits, block_bytes)
    batches = list(capture_meter.meter(paths))
    return Metered(batches, capture_meter.counts)


def flows_of(folder: Path, packets: Sequence[Timed], limits: MeterSettings = SHORT) -> Metered:
    """Meter a few packets."""
    return metered([write(folder / "capture", packets)], limits)


def tcp(flags: str, *, back: bool = False, sport: int = 1000, seq: int = 0, payload: bytes = b"") -> Packet:
    """Return a segment between two hosts, backward if asked."""
    addresses = IP(src="10.0.0.2", dst="10.0.0.1") if back else IP(src="10.0.0.1", dst="10.0.0.2")
    ports = {"sport": 80, "dport": sport} if back else {"sport": sport, "dport": 80}
    return addresses / TCP(flags=flags, seq=seq, **ports) / Raw(payload)


def udp(sport: int = 1000) -> Packet:
    """Return a datagram with a port of one's choice."""
    return IP(src="10.0.0.1", dst="10.0.0.2") / UDP(sport=sport, dport=53) / Raw(b"?")


# --- against the oracle


def decoded(path: Path) -> Iterator[Seen]:
    """Yield a capture's packets as the oracle writes them (the decoder has its own oracle in test_packet)."""
    packets, skipped = np.zeros(8192, dtype=PACKET), np.zeros(len(SkipReason), dtype=np.int64)
    fragments = new_fragments(4096, np.arange(6, dtype=np.uint64))
    with open_capture(path) as capture:
        for block, rows in capture:
            for row in packets[: decode_frames(block, rows, packets, skipped, fragments)]:
                values = dict(zip(PACKET.names or (), row.tolist(), strict=True))
                del values["ip_id"], values["vlan"], values["payload_start"], values["payload_captured"]
                ends = {
                    end: values.pop(f"{end}_high").to_bytes(8) + values.pop(f"{end}_low").to_bytes(8)
                    for end in ("src", "dst")
                }
                yield Seen(version=values.pop("ip_version"), **ends, **values)


def test_recorded_capture() -> None:
    """On a recorded capture of 212,578 packets every field of every flow is what plain Python computes."""
    limits = MeterSettings(idle_timeout_s=4, active_timeout_s=15, tcp_grace_s=0.5, activity_gap_s=0.1)
    result = metered([CAPTURE], limits)
    assert_same_flows(result.flows, meter_oracle.meter(decoded(CAPTURE), limits))
    assert result.counts["packets_read"] == 212_578


hosts = st.sampled_from(["10.0.0.1", "10.0.0.2", "10.0.0.3"])
steps = st.sampled_from(
    [
        0,
        0,
        1e-9,
        1e-6,
        0.01,
        0.3,
        0.5,
        0.500000001,
        0.999999999,
        1,
        1,
        4,
        4.5,
        5,
        6,
        13,
        -1e-6,
        -0.7,
        -3,
        3600,
        3600.000000001,
        9000,
        -3600.000000001,
        -9000,
    ]
)
flag_sets = st.sampled_from(
    ["S", "S", "SA", "SA", "A", "A", "A", "PA", "PA", "FA", "FA", "F", "R", "RA", "", "SF", "SR"]
)
segments = st.builds(
    lambda flags, seq, window, sport, dport: TCP(flags=flags, seq=seq, window=window, sport=sport, dport=dport),
    *(flag_sets, st.sampled_from([0, 1, 5, 2**31, 2**32 - 3, 2**32 - 1]), st.sampled_from([0, 7, 65535])),
    *(st.sampled_from([1000, 80]), st.sampled_from([1000, 80])),
)
datagrams = st.builds(lambda sport: UDP(sport=sport, dport=7), st.sampled_from([7, 9]))
transports = st.one_of(segments, segments, segments, datagrams, st.builds(ICMP, type=st.sampled_from([0, 3, 8])))


@st.composite
def traffic(draw: st.DrawFn) -> list[Timed]:
    """Packets among three hosts whose gaps meet the timeouts from both sides, some of them going back in time."""
    packets, clock = [], 10.0
    for _ in range(draw(st.integers(0, 40))):
        clock += draw(steps)
        src, dst, ttl = draw(hosts), draw(hosts), draw(st.sampled_from([1, 64, 255]))
        payload = Raw(b"p" * draw(st.sampled_from([0, 0, 1, 30])))
        if draw(st.integers(0, 9)):
            network = IP(src=src, dst=dst, ttl=ttl, flags=draw(st.sampled_from(["", "", "MF"]))) / draw(transports)
        else:
            echo = draw(st.sampled_from([ICMPv6EchoRequest(), ICMPv6EchoReply()]))
            network = IPv6(src=f"::ffff:{src}", dst=f"::{dst}", hlim=ttl) / echo
        packets.append((max(clock, 0.0), network / payload))
    return packets


def as_seen(packets: Sequence[Timed]) -> list[Seen]:
    """Return packets as scapy decodes the bytes that are written of them."""
    timed = [
        (START_S * SECOND + round(seconds * SECOND), Ether(bytes(ETHERNET / packet))) for seconds, packet in packets
    ]
    return [seen for time_ns, packet in timed if (seen := seen_by_scapy(packet, time_ns))]


@settings(max_examples=150, deadline=None)
@given(traffic(), st.integers(1, 3000))
def test_made_traffic(tmp_path_factory: pytest.TempPathFactory, packets: list[Timed], block_bytes: int) -> None:
    """Whatever the order of flags, times and ends, every field of every flow is what plain Python computes."""
    path = write(tmp_path_factory.mktemp("traffic") / "capture", packets)
    result = metered([path], SHORT, block_bytes)
    expected = meter_oracle.meter(as_seen(packets), SHORT)
    assert_same_flows(result.flows, expected)
    assert result.counts["flows"] == len(expected)


# --- the rules, one by one


@pytest.mark.parametrize(("silence_s", "flows"), [(4.999999999, 1), (5.0, 2), (5.000000001, 2)])
def test_idle_timeout(tmp_path: Path, silence_s: float, flows: int) -> None:
    """A packet that comes when the silence has reached the idle timeout begins a new flow, one before it does not."""
    result = flows_of(tmp_path, [(0, udp()), (silence_s, udp())])
    assert result.reasons == [EndReason.IDLE, EndReason.CAPTURE_END][-flows:]


@pytest.mark.parametrize(("last_s", "flows"), [(12.0, 1), (12.000000001, 2)])
def test_active_timeout(tmp_path: Path, last_s: float, flows: int) -> None:
    """A packet later than the active timeout after the first begins a new flow, one exactly then does not."""
    result = flows_of(tmp_path, [(0, udp()), (4, udp()), (8, udp()), (last_s, udp())])
    assert result.reasons == [EndReason.ACTIVE, EndReason.CAPTURE_END][-flows:]


def test_idle_flow_leaves_without_a_packet_of_its_own(tmp_path: Path) -> None:
    """A flow is handed out within a second of its timeout though only others send, so it comes before a later end."""
    others = [(0.5 * n, tcp("A")) for n in range(1, 13)]
    result = flows_of(tmp_path, [(0, udp()), *others, (6.5, tcp("R")), (7.5, udp(7))])
    assert result.flows["end_reason"].tolist() == [EndReason.IDLE, EndReason.TCP_END, EndReason.CAPTURE_END]


def test_flows_left_at_the_end(tmp_path: Path) -> None:
    """At the capture's end a flow is idle if its timeout has passed, tcp_end if closed, else cut by capture_end."""
    result = flows_of(tmp_path, [(0, udp()), (1, udp(7)), (4.8, tcp("R")), (5, tcp("S", sport=7))])
    assert result.reasons == [EndReason.IDLE, EndReason.CAPTURE_END, EndReason.TCP_END, EndReason.CAPTURE_END]


@pytest.mark.parametrize("closing", [[tcp("FA"), tcp("FA", back=True)], [tcp("R")], [tcp("RA", back=True)]])
def test_tcp_end_and_stragglers(tmp_path: Path, closing: list[Packet]) -> None:
    """After FIN both ways or a RST a flow takes stragglers until the grace is over; what comes then is a new flow."""
    packets = [(0, tcp("S")), *((0.1, packet) for packet in closing), (1.0, tcp("A")), (1.1, tcp("A"))]
    result = flows_of(tmp_path, packets)
    assert result.reasons == [EndReason.TCP_END, EndReason.CAPTURE_END]
    assert result.flows["packets"].sum(axis=1).tolist() == [2 + len(closing), 1]


def test_one_fin_closes_nothing(tmp_path: Path) -> None:
    """A half-closed connection goes on."""
    result = flows_of(tmp_path, [(0, tcp("A")), (0.1, tcp("FA")), (2, tcp("A", back=True)), (4, tcp("FA"))])
    assert result.reasons == [EndReason.CAPTURE_END]


@pytest.mark.parametrize(("flags", "flows"), [("S", 2), ("SA", 1), ("A", 1), ("SF", 1)])
def test_new_syn_after_the_end(tmp_path: Path, flags: str, flows: int) -> None:
    """A pure SYN within the grace begins a new flow at once; no other flags do."""
    assert len(flows_of(tmp_path, [(0, tcp("R")), (0.1, tcp(flags))]).flows) == flows


def test_syn_on_an_open_flow(tmp_path: Path) -> None:
    """A SYN on a flow that has not ended is a packet of it: a retransmission if its number was seen."""
    result = flows_of(tmp_path, [(0, tcp("S", seq=9)), (1, tcp("S", seq=9))])
    assert result.flows["retransmissions"].tolist() == [[1, 0]]


def test_direction_of_a_handshake_seen_late(tmp_path: Path) -> None:
    """A flow whose first packet is a SYN-ACK has that packet's receiver as its source."""
    flow = flows_of(tmp_path, [(0, tcp("SA", back=True)), (0.1, tcp("A"))]).flows[0]
    assert (flow["src_port"], flow["dst_port"], flow["src"][-1]) == (1000, 80, 1)
    assert flow["packets"].tolist() == [1, 1]
    assert flow["first_backward"] == 0b01
    assert (flow["established"], flow["syn_ns"], flow["handshake_ns"] - flow["syn_ack_ns"]) == (0, NEVER, SECOND // 10)


def test_handshake(tmp_path: Path) -> None:
    """SYN, SYN-ACK and ACK make an established flow with the three times."""
    packets = [(0, tcp("S")), (0.2, tcp("SA", back=True)), (0.5, tcp("A")), (0.6, tcp("A"))]
    flow = flows_of(tmp_path, packets).flows[0]
    times = [(int(flow[name]) - START_S * SECOND) / SECOND for name in ("syn_ns", "syn_ack_ns", "handshake_ns")]
    assert (flow["established"], times) == (1, [0, 0.2, 0.5])


def test_refused_after_syn_ack(tmp_path: Path) -> None:
    """A half-open scan, whose third packet is a RST, establishes nothing."""
    flow = flows_of(tmp_path, [(0, tcp("S")), (0.2, tcp("SA", back=True)), (0.3, tcp("RA"))]).flows[0]
    assert (flow["established"], flow["handshake_ns"], flow["end_reason"]) == (0, NEVER, EndReason.TCP_END)


def test_time_going_backwards(tmp_path: Path) -> None:
    """A late packet keeps its time but neither moves the clock nor last_ns; one hours late counts as a second late."""
    result = flows_of(tmp_path, [(7200, udp()), (7199.5, udp()), (0, udp(7)), (7200, udp(9))])
    first, *_ = (flow for flow in result.flows if flow["src_port"] == 1000)
    late = next(flow for flow in result.flows if flow["src_port"] == 7)
    assert first["last_ns"] == (START_S + 7200) * SECOND
    assert first["out_of_order"].tolist() == [1, 0]
    assert first["gap_max_s"].tolist() == [0, 0, 0]
    assert late["first_ns"] == (START_S + 7199) * SECOND
    assert result.counts["packets_out_of_order"] == 2


def test_a_time_far_ahead(tmp_path: Path) -> None:
    """A packet dated years ahead of its neighbours is metered at the clock's time, and ends no flow."""
    packets = [(0, udp()), (1, udp()), (10**8, udp(7)), (2, udp()), (3, udp(7))]
    result = flows_of(tmp_path, packets)
    assert result.reasons == [EndReason.CAPTURE_END] * 2
    stray = next(flow for flow in result.flows if flow["src_port"] == 7)
    assert [(int(stray[name]) - START_S * SECOND) / SECOND for name in ("first_ns", "last_ns")] == [1, 3]
    assert (result.counts["packets_astray_in_time"], result.counts["packets_out_of_order"]) == (1, 0)


def test_a_capture_that_begins_far_ahead(tmp_path: Path) -> None:
    """A first packet that the second one does not bear out has the second one's time."""
    result = flows_of(tmp_path, [(10**8, udp()), (2, udp()), (3, udp())])
    assert result.flows["packets"].tolist() == [[3, 0]]
    assert result.flows["first_ns"][0] == (START_S + 2) * SECOND


@pytest.mark.parametrize("after", [[], [(10**8 + 1, udp())], [(2 * 10**8, udp())], [(10**8 - 3600, udp())]])
def test_a_real_pause(tmp_path: Path, after: list[Timed]) -> None:
    """A pause of years that the next packet bears out, or the capture's end, is a pause."""
    result = flows_of(tmp_path, [(0, udp()), (10**8, udp(7)), *after])
    assert EndReason.IDLE in result.reasons
    assert result.counts["packets_astray_in_time"] == 0
    assert next(int(flow["first_ns"]) for flow in result.flows if flow["src_port"] == 7) == (START_S + 10**8) * SECOND


def test_icmp_has_no_ports(tmp_path: Path) -> None:
    """Echo request and reply are one flow without ports that remembers the request's type."""
    there, back = IP(src="10.0.0.1", dst="10.0.0.2"), IP(src="10.0.0.2", dst="10.0.0.1")
    result = flows_of(tmp_path, [(0, there / ICMP(type=8)), (0.1, back / ICMP(type=0)), (0.2, there / ICMP(type=3))])
    flow = result.flows[0]
    assert [int(flow[name]) for name in ("src_port", "dst_port", "icmp_type", "icmp_code")] == [0, 0, 8, 0]
    assert flow["packets"].tolist() == [2, 1]


def test_same_ports_of_two_protocols(tmp_path: Path) -> None:
    """TCP and UDP between the same ends are two flows, and so are IPv4 and the IPv6 of other addresses."""
    datagram = IP(src="10.0.0.1", dst="10.0.0.2") / UDP(sport=1000, dport=80)
    six = IPv6(src="::1", dst="::2") / UDP(sport=1000, dport=80)
    assert len(flows_of(tmp_path, [(0, tcp("S")), (0, datagram), (0, six)]).flows) == 3


def test_packet_to_its_own_sender(tmp_path: Path) -> None:
    """With the same end twice every packet is forward, a SYN-ACK too."""
    land = IP(src="10.0.0.1", dst="10.0.0.1") / TCP(sport=80, dport=80, flags="SA")
    assert flows_of(tmp_path, [(0, land), (0.1, land)]).flows["packets"].tolist() == [[2, 0]]


def fragments_of(sport: int, ip_id: int, size: int, six: bool = False) -> list[Packet]:
    """Return the fragments, of 16 bytes of payload or less, of a datagram of this payload."""
    transport = UDP(sport=sport, dport=53) / Raw(b"x" * size)
    if six:
        header = IPv6(src="::1", dst="::2") / IPv6ExtHdrFragment(id=ip_id)
        return [packet for packet in fragment6(header / transport, 64) if bytes(packet)]
    return IP(bytes(IP(src="10.0.0.1", dst="10.0.0.2", id=ip_id) / transport)).fragment(16)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 200), st.booleans()), min_size=1, max_size=6), st.data())
def test_fragments_join_the_flow_of_their_first(
    tmp_path_factory: pytest.TempPathFactory, datagrams: list[tuple[int, bool]], data: st.DataObject
) -> None:
    """However fragments of several datagrams mix behind their firsts, each flow has all of its datagram's payload."""
    pieces = [fragments_of(1000 + n, 7 * n, size, six) for n, (size, six) in enumerate(datagrams)]
    later = data.draw(st.permutations([piece for whole in pieces for piece in whole[1:]]))
    packets = [(0.001 * n, packet) for n, packet in enumerate([*(whole[0] for whole in pieces), *later])]
    result = flows_of(tmp_path_factory.mktemp("fragments"), packets)
    by_port = {int(flow["src_port"]): flow for flow in result.flows}
    assert len(result.flows) == len(by_port) == len(datagrams)
    for n, (size, _) in enumerate(datagrams):
        flow = by_port[1000 + n]
        assert (flow["payload_bytes"].sum(), flow["packets"].sum()) == (size, len(pieces[n]))
        assert flow["fragments"].sum() == (len(pieces[n]) if len(pieces[n]) > 1 else 0)
    assert result.counts["skipped.fragment"] == 0


@pytest.mark.parametrize(
    ("change", "metered_packets"),
    [({}, 2), ({"id": 8}, 1), ({"proto": 6}, 1), ({"src": "10.0.0.3"}, 1), ({"dst": "10.0.0.1"}, 1)],
)
def test_what_makes_a_fragment_of_a_datagram(tmp_path: Path, change: dict[str, object], metered_packets: int) -> None:
    """A later fragment has its first one's addresses, identification and protocol; any other is skipped."""
    first, second = fragments_of(1000, 7, 8)[0], IP(src="10.0.0.1", dst="10.0.0.2", id=7, frag=2, proto=17) / Raw(b"x")
    first[IP].flags = "MF"
    for name, value in change.items():
        setattr(second, name, value)
    counts = flows_of(tmp_path, [(0, first), (0.1, second)]).counts
    assert (counts["packets_metered"], counts["skipped.fragment"]) == (metered_packets, 2 - metered_packets)


@pytest.mark.parametrize(("wait_s", "skipped"), [(60.0, 0), (60.000000001, 1), (-60.0, 0), (-60.000000001, 1)])
def test_how_long_a_first_fragment_is_remembered(tmp_path: Path, wait_s: float, skipped: int) -> None:
    """A later fragment more than a minute from its first is skipped."""
    first, second = fragments_of(1000, 7, 20)
    limits = MeterSettings(idle_timeout_s=1000, active_timeout_s=1000)
    assert flows_of(tmp_path, [(100, first), (100 + wait_s, second)], limits).counts["skipped.fragment"] == skipped


def test_a_fragment_before_its_first(tmp_path: Path) -> None:
    """A fragment that overtakes its first one is skipped and counted."""
    first, second, third = fragments_of(1000, 7, 40)
    counts = flows_of(tmp_path, [(0, second), (0, first), (0, third)]).counts
    assert (counts["packets_metered"], counts["skipped.fragment"]) == (2, 1)


def test_the_latest_first_fragments_are_remembered(tmp_path: Path) -> None:
    """Of more datagrams than there is room for, the oldest are forgotten, whatever the run's random keys."""
    pieces = [fragments_of(n, n, 20) for n in range(1, 4200)]
    packets = [*(whole[0] for whole in pieces), *(whole[1] for whole in pieces)]
    result = flows_of(tmp_path, [(0.001, packet) for packet in packets])
    assert result.counts["skipped.fragment"] == 4199 - 4096
    whole = result.flows["src_port"][result.flows["packets"].sum(axis=1) == 2]
    assert sorted(whole.tolist()) == list(range(4200 - 4096, 4200))


def test_a_later_fragment_says_nothing_of_tcp(tmp_path: Path) -> None:
    """A later fragment of a segment adds to volumes, not to flags, windows or retransmissions."""
    segment = IP(bytes(tcp("PA", seq=5, payload=b"x" * 60))).fragment(40)
    flow = flows_of(tmp_path, [(0, packet) for packet in segment]).flows[0]
    assert (flow["packets"][0], flow["payload_bytes"][0], flow["retransmissions"][0]) == (2, 60, 0)
    assert (flow["flags"][0].tolist(), flow["zero_windows"][0]) == ([0, 0, 0, 1, 1, 0, 0, 0], 0)


def test_full_table(tmp_path: Path) -> None:
    """When max_flows are live the one silent for longest is forced out; its next packet begins a new flow."""
    limits = MeterSettings(idle_timeout_s=60, max_flows=3)
    packets = [(0, udp(1)), (2, udp(2)), (4, udp(3)), (6, udp(1)), (8, udp(4)), (9, udp(2))]
    result = flows_of(tmp_path, packets, limits)
    forced = [int(flow["src_port"]) for flow in result.flows if flow["end_reason"] == EndReason.FORCED]
    assert forced == [2, 3]
    assert (result.counts["ended.forced"], result.counts["flows"]) == (2, 5)


def test_full_table_of_closed_flows(tmp_path: Path) -> None:
    """A table full of closed flows in their grace hands out the one that closed first."""
    packets = [(0.1 * n, tcp("R", sport=n)) for n in range(1, 5)]
    result = flows_of(tmp_path, packets, MeterSettings(max_flows=3))
    assert result.flows["src_port"].tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf")])
def test_settings_out_of_range(value: float) -> None:
    """A timeout that is no positive number is refused by its name."""
    with pytest.raises(ConfigError, match="active_timeout_s"):
        MeterSettings(active_timeout_s=value)


def test_grace_longer_than_idle_timeout() -> None:
    """A grace that outlives the idle timeout is refused."""
    with pytest.raises(ConfigError, match="tcp_grace_s"):
        MeterSettings(idle_timeout_s=1, tcp_grace_s=2)


# --- what must not matter, and what must add up


@pytest.fixture(scope="module")
def content() -> bytes:
    """The recorded capture uncompressed."""
    with pa.input_stream(str(CAPTURE), compression="zstd") as stream:
        return bytes(stream.read())


@pytest.fixture(scope="module")
def starts(content: bytes) -> list[int]:
    """Where its records start, and its end."""
    starts, at = [], 24
    while at < len(content):
        starts.append(at)
        at += 16 + int.from_bytes(content[at + 8 : at + 12], "little")
    return [*starts, at]


@pytest.fixture(scope="module")
def whole() -> Metered:
    """The recorded capture metered in one piece."""
    return metered([CAPTURE])


@pytest.mark.parametrize("block_bytes", [997, 100_003])
def test_block_size_changes_nothing(whole: Metered, block_bytes: int) -> None:
    """Flows come out the same, in the same order, whatever the block size and the run's random hash."""
    result = metered([CAPTURE], block_bytes=block_bytes)
    assert np.array_equal(result.flows, whole.flows)
    assert result.counts == whole.counts


@settings(max_examples=8, deadline=None)
@given(st.lists(st.integers(0, 212_578), min_size=1, max_size=3).map(sorted))
def test_cuts_between_files_change_nothing(
    tmp_path_factory: pytest.TempPathFactory, whole: Metered, content: bytes, starts: list[int], cuts: list[int]
) -> None:
    """A capture cut into files between any two packets gives the flows and the counts of the whole."""
    folder = tmp_path_factory.mktemp("cut")
    borders = [starts[cut] for cut in (0, *cuts, -1)]
    paths = [folder / str(n) for n in range(len(borders) - 1)]
    for path, start, end in zip(paths, borders[:-1], borders[1:], strict=True):
        path.write_bytes(content[:24] + content[start:end])
    result = metered(paths)
    assert np.array_equal(result.flows, whole.flows)
    assert result.counts == whole.counts


def metered_with_one_hash(path: Path) -> np.ndarray:
    """Return the flows of a meter in whose table all keys collide."""
    run = meter._Run(SHORT)
    run._table = run._table._replace(hash_keys=np.zeros_like(run._table.hash_keys))
    return Metered([*run.file(path, 1 << 19), *run.end()], {}).flows


@settings(max_examples=100, deadline=None)
@given(traffic())
def test_colliding_keys(tmp_path_factory: pytest.TempPathFactory, packets: list[Timed]) -> None:
    """When all keys have one hash the flows are still the same."""
    path = write(tmp_path_factory.mktemp("colliding") / "capture", packets)
    assert np.array_equal(metered_with_one_hash(path), metered([path]).flows)


@pytest.mark.parametrize(
    "other",
    [
        IPv6(src="1:0:0:2::3", dst="2:0:0:3::4") / UDP(sport=5, dport=6),
        IPv6(src="1:0:0:2::2", dst="2:0:0:3::5") / UDP(sport=5, dport=6),
        IPv6(src="1:0:0:3::3", dst="2:0:0:3::5") / UDP(sport=5, dport=6),
        IPv6(src="1:0:0:2::3", dst="2:0:0:4::5") / UDP(sport=5, dport=6),
        IPv6(src="1:0:0:2::3", dst="2:0:0:3::5") / UDP(sport=7, dport=6),
        IPv6(src="1:0:0:2::3", dst="2:0:0:3::5") / UDP(sport=5, dport=7),
        IPv6(src="1:0:0:2::3", dst="2:0:0:3::5") / UDP(sport=6, dport=5),
        IPv6(src="1:0:0:2::3", dst="2:0:0:3::5") / TCP(sport=5, dport=6),
    ],
)
def test_every_part_of_the_key_counts(tmp_path: Path, other: Packet) -> None:
    """Packets that differ in one part of the key are two flows, even where the hash does not tell them apart."""
    first = IPv6(src="1:0:0:2::3", dst="2:0:0:3::5") / UDP(sport=5, dport=6)
    assert len(metered_with_one_hash(write(tmp_path / "capture", [(0, first), (1, other)]))) == 2


def many_flows(folder: Path, count: int) -> Path:
    """Write one datagram of each of many senders, a millisecond apart, every third half a second late."""
    datagram = bytearray(bytes(udp()))
    packets: list[Timed] = []
    for n in range(count):
        datagram[12:16] = (0x0B000000 + n).to_bytes(4)
        packets.append((n / 1000 + (0 if n % 3 else 0.5), Raw(bytes(datagram))))
    with RawPcapWriter(str(folder / "many"), linktype=101) as writer:
        writer.write_header(None)
        for seconds, packet in packets:
            writer.write_packet(packet.load, sec=START_S + int(seconds), usec=round(seconds % 1 * 1e6))
    return folder / "many"


def test_batches_and_watermarks(tmp_path: Path) -> None:
    """Batches are full but for the last, and no batch holds a flow that ended before an earlier batch's watermark."""
    batches = metered([many_flows(tmp_path, 70_000)]).batches
    assert [len(batch.flows) for batch in batches] == [*[16_384] * 4, 4464]
    for at, batch in enumerate(batches):
        later = [int(following.flows["last_ns"].min()) for following in batches[at + 1 :]]
        assert all(batch.watermark_ns <= last_ns for last_ns in later)
        assert batch.watermark_ns > batch.flows["last_ns"].max() - 8 * SECOND
    assert batches[-1].watermark_ns > batches[-1].flows["last_ns"].max()


def test_a_live_flow_is_small() -> None:
    """A live flow with three slots, the mean between the two and the four of doubling, takes 0.6 KB at most."""
    assert FLOW.itemsize + LIVE.itemsize + 3 * np.dtype(np.uint64).itemsize <= 0.6 * 1024
    assert FLOW.itemsize % 8 == 0


def datagrams(src: np.ndarray, dst: np.ndarray, src_port: np.ndarray, dst_port: np.ndarray) -> np.ndarray:
    """Return a PACKET row for each IPv4 address and port, all of one instant."""
    rows = np.zeros(len(src), dtype=PACKET)
    rows["src_low"], rows["dst_low"] = src | np.uint64(0xFFFF00000000), dst | np.uint64(0xFFFF00000000)
    rows["src_port"], rows["dst_port"], rows["protocol"], rows["length"] = src_port, dst_port, 17, 28
    return rows


def test_a_flow_of_two_billion_packets_is_cut() -> None:
    """The packet that fills a flow's counters is still its own; the next one begins a new flow."""
    same = np.zeros(3, dtype=np.uint64)
    packets = datagrams(same, same, same, same)
    table = new_table(8, 8, np.arange(12, dtype=np.uint64))
    meter_packets(table, SHORT.limits(), packets[:1], 0, table.snippets.held)
    table.flows["packets"][0, 0] = MOST_PACKETS - 1
    assert meter_packets(table, SHORT.limits(), packets, 1, table.snippets.held) == 3
    assert table.export["packets"][0].tolist() == [MOST_PACKETS, 0]
    assert table.export["end_reason"][0] == EndReason.ACTIVE
    assert table.state["live"] == 1


def flooded(keys: np.ndarray, packets: np.ndarray) -> np.ndarray:
    """Return how many slots beyond its first choice each flow lies."""
    table = new_table(len(packets), 8, keys)
    at = 0
    while (at := meter_packets(table, SHORT.limits(), packets, at, table.snippets.held)) < len(packets):
        table = with_more_slots(table)
    used = np.flatnonzero(table.slots)
    return (used - (table.slots[used] >> np.uint64(32)).astype(np.int64)) & (len(table.slots) - 1)


def spread(values: np.ndarray) -> np.ndarray:
    """Return MurmurHash3's fmix32 of 32-bit values."""
    for down, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        values = (values ^ values >> np.uint64(down)) * np.uint64(factor) & np.uint64(0xFFFFFFFF)
    return np.asarray(values ^ values >> np.uint64(16))


def test_nobody_can_aim_for_collisions() -> None:
    """Flows made to collide under one run's hash keys are spread like any others under the next run's."""
    known, fresh = (np.frombuffer(np.random.default_rng(seed).bytes(96), np.uint64) for seed in (1, 2))
    address = np.arange(1 << 22, dtype=np.uint64)
    constant = sum(int(known[at]) * times for at, times in ((11, 1), (1, 17), (5, 0xFFFF), (9, 0xFFFF))) % 2**64
    tags = spread((address * known[8] + np.uint64(constant)) >> np.uint64(32))
    colliding = address[tags & np.uint64(0xFFF) == 0]
    zeros = np.zeros(len(colliding), dtype=np.uint64)
    packets = datagrams(zeros, colliding, zeros, zeros)
    assert flooded(known, packets).mean() > 100
    assert flooded(fresh, packets).mean() < 2


@pytest.mark.parametrize("varied", ["src", "dst", "src_port", "dst_port"])
def test_orderly_keys_are_spread(varied: str) -> None:
    """A scan of ports or of addresses, one after the other, needs no more probes than Knuth's half a slot a flow."""
    count = 30_000
    ends = {name: np.full(count, 7, dtype=np.uint64) for name in ("src", "dst", "src_port", "dst_port")}
    ends[varied] = np.arange(count, dtype=np.uint64)
    keys = np.frombuffer(np.random.default_rng().bytes(96), np.uint64)
    assert flooded(keys, datagrams(**ends)).mean() < 2


@pytest.mark.parametrize("max_flows", [1, 7, 4096, 5000, 1_000_000])
def test_table_growth(tmp_path: Path, max_flows: int) -> None:
    """The table grows to max_flows and no further, and no packet is lost on the way."""
    limits = MeterSettings(idle_timeout_s=600, max_flows=max_flows)
    result = metered([many_flows(tmp_path, 20_000)], limits)
    assert result.flows["packets"].sum() == 20_000
    assert result.counts["ended.forced"] == max(20_000 - max_flows, 0)


def test_counts_add_up(tmp_path: Path) -> None:
    """Packets read are packets metered and packets skipped by reason; flows are the sum of their end reasons."""
    path = write(tmp_path / "capture", [(0, udp()), (1, ARP()), (2, IP(frag=3) / Raw(b"x")), (3, tcp("R"))])
    path.write_bytes(path.read_bytes() + b"torn")
    counts = metered([path]).counts
    named = {name: count for name, count in counts.items() if count and "." in name}
    assert named == {
        "skipped.arp": 1,
        "skipped.fragment": 1,
        "skipped.torn_record": 1,
        "ended.capture_end": 1,
        "ended.tcp_end": 1,
    }
    assert (counts["packets_read"], counts["packets_metered"], counts["flows"]) == (5, 2, 2)


def test_no_ip_packets(tmp_path: Path) -> None:
    """A capture without IP gives no batch, and counts that say why."""
    result = flows_of(tmp_path, [(0, ARP())])
    assert (result.batches, result.counts["skipped.arp"], result.counts["flows"]) == ([], 1, 0)


def test_every_file_is_looked_at_first(tmp_path: Path) -> None:
    """A file that cannot be read is an error before the first packet of the others is metered."""
    with pytest.raises(CaptureError, match="nowhere"):
        next(CaptureMeter().meter([CAPTURE, tmp_path / "nowhere"]))


def test_a_meter_starts_anew(tmp_path: Path) -> None:
    """One meter gives the same for the same capture again."""
    path = write(tmp_path / "capture", [(0, udp()), (1, tcp("R"))])
    again = CaptureMeter(SHORT)
    first, second = ((list(again.meter([path])), again.counts) for _ in range(2))
    assert np.array_equal(first[0][0].flows, second[0][0].flows)
    assert first[1] == second[1]
