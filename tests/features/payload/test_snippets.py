"""The first payload bytes of a flow: in order, per side, bounded, whatever the blocks."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw
from scapy.utils import RawPcapWriter

from features.captures.capture import open_capture
from features.captures.packet import PACKET, SkipReason, decode_frames, new_fragments
from features.kernel_types import NEVER
from features.metering.flow_table import Table, new_table
from features.metering.meter import MeterSettings
from features.metering.meter_kernel import end_capture, meter_packets
from features.payload.said import Sides
from features.payload.snippets import HELLO_BYTES, SIDE_BYTES, new_snippets, taken_out

LIMITS = MeterSettings().limits()
HOUR_AND_MORE = 4000
Timed = tuple[float, Packet]


def tcp(payload: bytes, seq: int = 1, flags: str = "PA", back: bool = False) -> Packet:
    """Return a segment of one connection."""
    one, other = ("10.0.0.1", 1000), ("10.0.0.2", 80)
    (src, sport), (dst, dport) = (other, one) if back else (one, other)
    return IP(src=src, dst=dst) / TCP(sport=sport, dport=dport, seq=seq, flags=flags) / Raw(payload)


def udp(payload: bytes, sport: int = 1000) -> Packet:
    """Return a datagram."""
    return IP(src="10.0.0.1", dst="10.0.0.2") / UDP(sport=sport, dport=53) / Raw(payload)


def write(path: Path, packets: Sequence[Timed], snap: int = 65_535) -> Path:
    """Write packets with their seconds as a capture cut to a snap length."""
    with RawPcapWriter(str(path), linktype=1) as writer:
        writer.write_header(None)
        for seconds, packet in packets:
            frame = bytes(Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / packet)
            writer.write_packet(frame[:snap], sec=1000 + int(seconds), usec=0, caplen=None, wirelen=len(frame))
    return path


def sides(path: Path, block_bytes: int = 1 << 19, chunks: int = 1000) -> tuple[list[tuple[bytes, bytes]], int]:
    """Return the snippets of a capture's flows in the order of their ports, and the sides without room."""
    table = new_table(64, 64, np.zeros(12, dtype=np.uint64))._replace(snippets=new_snippets(64, chunks))
    fragments = new_fragments(64, np.zeros(6, dtype=np.uint64))
    packets, skipped = np.zeros(8192, dtype=PACKET), np.zeros(len(SkipReason), dtype=np.int64)
    with open_capture(path, block_bytes) as capture:
        for block, rows in capture:
            kept = decode_frames(block, rows, packets, skipped, fragments)
            assert meter_packets(table, LIMITS, packets[:kept], 0, block) == kept
    _believe_held(table)
    assert end_capture(table, LIMITS)
    count = int(table.state["exported"][0])
    order = np.argsort(table.export["src_port"][:count], kind="stable")
    return pairs(taken_out(table.snippets, order)), int(table.snippets.state["without_room"][0])


def pairs(found: Sides) -> list[tuple[bytes, bytes]]:
    """Return the forward and the backward side of each flow."""
    return [(found.bytes_of(side), found.bytes_of(side + 1)) for side in range(0, len(found.stops) - 1, 2)]


def _believe_held(table: Table) -> None:
    if table.state["holding"][0]:
        held = table.held.copy()
        table.state["holding"], table.state["clock_ns"] = 0, held["time_ns"]
        meter_packets(table, LIMITS, held, 0, table.snippets.held)


def only(path: Path, block_bytes: int = 1 << 19) -> tuple[bytes, bytes]:
    """Return the snippets of a capture's only flow."""
    [pair], without_room = sides(path, block_bytes)
    assert without_room == 0
    return pair


def hello(size: int) -> bytes:
    """Return so many bytes that look like a TLS hello of that size, record header included."""
    return (
        b"\x16\3\1" + (size - 5).to_bytes(2) + b"\1" + (size - 9).to_bytes(3) + bytes(i % 251 for i in range(size - 9))
    )


def in_segments(stream: bytes, sizes: Sequence[int]) -> list[Packet]:
    """Cut a stream into segments of these sizes, in order."""
    stops = np.minimum(np.cumsum([0, *sizes]), len(stream)).tolist()
    return [tcp(stream[a:b], seq=1 + a) for a, b in pairwise(stops) if b > a]


@given(
    sizes=st.lists(st.integers(1, 700), min_size=1, max_size=12),
    stream=st.sampled_from([hello(60), hello(1800), hello(2500), b"GET / " + 3000 * b"a", b"\x16"]),
    block_bytes=st.sampled_from([1, 97, 1 << 19]),
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_segments_in_order(tmp_path: Path, sizes: list[int], stream: bytes, block_bytes: int) -> None:
    """However a stream is cut into segments and blocks, its beginning is kept: SIDE_BYTES, or a hello's own length."""
    path = write(tmp_path / "capture", [(0, packet) for packet in in_segments(stream, sizes)])
    most = HELLO_BYTES if stream[:1] == b"\x16" else SIDE_BYTES[0]
    assert only(path, block_bytes)[0] == stream[: min(sum(sizes), most)]


def test_each_side(tmp_path: Path) -> None:
    """Both sides have their own bytes, the backward one fewer."""
    request, reply = 600 * b"a", 600 * b"b"
    path = write(tmp_path / "capture", [(0, tcp(b"", 0, "S")), (0, tcp(request)), (0, tcp(reply, back=True))])
    assert only(path) == (request[: SIDE_BYTES[0]], reply[: SIDE_BYTES[1]])


def test_what_is_not_next(tmp_path: Path) -> None:
    """Repeated, missing and later data is not joined; what follows in order is."""
    segments = [tcp(b"one", 1), tcp(b"one", 1), tcp(b"four", 9), tcp(b"two", 4)]
    assert only(write(tmp_path / "capture", [(0, one) for one in segments])) == (b"onetwo", b"")


def test_first_data_lost(tmp_path: Path) -> None:
    """Data that does not follow its SYN is not the beginning; without a SYN seen, it is taken for it."""
    syn = tcp(b"", 0, "S")
    assert only(write(tmp_path / "a", [(0, syn), (0, tcp(b"later", 50)), (0, tcp(b"more", 55))])) == (b"", b"")
    assert only(write(tmp_path / "b", [(0, tcp(b"later", 50)), (0, tcp(b"more", 55))])) == (b"latermore", b"")
    keep_alive = tcp(b"", 49, "A")  # one before the next byte (RFC 9293, 3.8.4)
    assert only(write(tmp_path / "c", [(0, keep_alive), (0, tcp(b"later", 50))])) == (b"later", b"")


def test_wrapped_sequence(tmp_path: Path) -> None:
    """Sequence numbers go on after 2**32, and a SYN may carry data (RFC 7413)."""
    segments = [tcp(b"abc", 0xFFFFFFFC, "S"), tcp(b"def", 0), tcp(b"g", 3)]
    assert only(write(tmp_path / "capture", [(0, one) for one in segments])) == (b"abcdefg", b"")


def test_first_datagram(tmp_path: Path) -> None:
    """Of UDP the first datagram is kept, not the second."""
    assert only(write(tmp_path / "capture", [(0, udp(b"one")), (0, udp(b"two"))])) == (b"one", b"")


@pytest.mark.parametrize(
    ("start", "kept"),
    [("c300000001", 1400), ("d36b3343cf", 1400), ("c3ff00001d", 1400), ("c30a0a0a0a", 480), ("00", 480)],
)
def test_a_quic_datagram(tmp_path: Path, start: str, kept: int) -> None:
    """A datagram that begins a QUIC connection is kept whole: its server name is told by all of it or not at all."""
    datagram = bytes.fromhex(start).ljust(1400, b"a")
    assert only(write(tmp_path / "capture", [(0, udp(datagram))])) == (datagram[:kept], b"")


def test_snap_length(tmp_path: Path) -> None:
    """A payload that is cut is kept as far as it goes, and nothing is joined behind the hole."""
    path = write(tmp_path / "capture", [(0, tcp(100 * b"a")), (0, tcp(b"b", 101))], snap=64)
    assert only(path) == (10 * b"a", b"")


@pytest.mark.parametrize("block_bytes", [1, 1 << 19])
def test_held_packet(tmp_path: Path, block_bytes: int) -> None:
    """A packet that waits for the next one, since it leaps ahead of the clock, keeps its payload beyond its block."""
    packets = [(0, udp(b"early")), (HOUR_AND_MORE, udp(700 * b"z", 2000)), (HOUR_AND_MORE, udp(b"y", 3000))]
    path = write(tmp_path / "a", packets)
    assert [one for one, _ in sides(path, block_bytes)[0]] == [b"early", SIDE_BYTES[0] * b"z", b"y"]
    assert [one for one, _ in sides(write(tmp_path / "b", packets[:2]), block_bytes)[0]][1] == SIDE_BYTES[0] * b"z"


def test_padding_is_no_payload(tmp_path: Path) -> None:
    """Bytes behind the IP datagram, which Ethernet adds to short frames, are left out."""
    packet = udp(b"abc") / Raw(b"")
    packet[IP].len = 31
    assert only(write(tmp_path / "capture", [(0, packet / Raw(15 * b"\0"))]))[0] == b"abc"


def test_full_pool(tmp_path: Path) -> None:
    """With two chunks the third flow goes without and is counted; a side that needs more keeps what it has."""
    path = write(tmp_path / "a", [(0, udp(b"x", port)) for port in (1, 2, 3)])
    assert sides(path, chunks=2) == ([(b"x", b""), (b"x", b""), (b"", b"")], 1)
    path = write(tmp_path / "b", in_order(hello(1000)))
    assert sides(path, chunks=2) == ([(hello(1000)[: SIDE_BYTES[0]], b"")], 1)


def in_order(stream: bytes) -> list[Timed]:
    """Return a stream in segments of 100 bytes."""
    return [(0, packet) for packet in in_segments(stream, 30 * [100])]


def test_chunks_come_back() -> None:
    """Chunks that were taken out serve again: the pool's free ones are as many as were used."""
    snippets = new_snippets(2, 3)
    snippets.state["fresh"] = 3
    snippets.chunks["next"] = [1, 2, NEVER]
    snippets.chunks["length"][0] = 500
    snippets.chunks["bytes"][:] = np.array([[1], [2], [3]])
    snippets.export[1] = (0, NEVER)
    assert pairs(taken_out(snippets, np.array([1]))) == [(240 * b"\1" + 240 * b"\2" + 20 * b"\3", b"")]
    freed, at = [], int(snippets.state["free"][0])
    while at != NEVER:
        freed.append(at)
        at = int(snippets.chunks["next"][at])
    assert sorted(freed) == [0, 1, 2]
