"""Frames of IEEE 802.11 that hold several others: each of them is a packet, whatever is cut or lies."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from scapy.layers.dot11 import Dot11, Dot11QoS, RadioTap
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import LLC, SNAP
from scapy.utils import RawPcapWriter

from features.captures.link_kernel import LONGEST_BUNDLE, PART_HEADER
from features.metering.meter import CaptureMeter

RADIOTAP, BARE = 127, 105


def msdu(port: int, payload: int = 10) -> bytes:
    """Return a datagram from a port behind LLC and SNAP."""
    packet = IP(src="10.0.0.1", dst="10.0.0.2") / UDP(sport=port, dport=9) / bytes(payload)
    return bytes(LLC(dsap=0xAA, ssap=0xAA, ctrl=3) / SNAP(code=0x0800) / packet)


def bundle(parts: Sequence[bytes], lengths: Sequence[int] = ()) -> bytes:
    """Return an A-MSDU of some parts, each but the last filled up to four bytes; lengths may lie."""
    raw = b""
    for part, length in zip(parts, lengths or map(len, parts), strict=True):
        raw += bytes(-len(raw) % 4) + bytes(12) + length.to_bytes(2) + part
    return bytes(Dot11(type=2, subtype=8, FCfield=1) / Dot11QoS(A_MSDU_Present=1)) + raw


def metered(
    path: Path, frames: Sequence[bytes], link_type: int = BARE, snap: int = 65_535
) -> tuple[list[int], Counter[str]]:
    """Return the source ports of a capture's flows in order, and its counts that are not 0."""
    with RawPcapWriter(str(path), linktype=link_type) as writer:
        writer.write_header(None)
        for second, frame in enumerate(frames):
            writer.write_packet(frame[:snap], sec=second, usec=0, caplen=None, wirelen=len(frame))
    meter = CaptureMeter()
    ports = [int(flow["src_port"]) for batch in meter.meter([path]) for flow in batch.flows]
    return sorted(ports), +Counter(meter.counts)


@pytest.mark.parametrize("check_sequence", [0, 4])
def test_each_part_is_a_packet(tmp_path: Path, check_sequence: int) -> None:
    """Parts of any length are metered with their own bytes, between frames that are no bundles, and after radiotap."""
    plain = bytes(Dot11(type=2, subtype=0, FCfield=1)) + msdu(1)
    frames = [plain, bundle([msdu(2), msdu(3, 11), msdu(4, 0)]) + bytes(check_sequence), plain, bundle([msdu(5)])]
    expected = [1, 2, 3, 4, 5], {"packets_read": 6, "packets_metered": 6, "flows": 5, "ended.capture_end": 5}
    assert metered(tmp_path / "bare", frames) == expected
    assert metered(tmp_path / "radiotap", [bytes(RadioTap()) + one for one in frames], RADIOTAP) == expected


def test_cut_bundle(tmp_path: Path) -> None:
    """What was captured of the parts is metered; those behind the cut are one frame that is too short."""
    whole = bundle([msdu(2, 60), msdu(3, 60), msdu(4, 60)])
    ports, counts = metered(tmp_path / "capture", [whole], snap=26 + 14 + 100)
    assert ports == [2]
    assert counts["skipped.truncated_link"] == 1
    assert counts["packets_read"] == 2


@pytest.mark.parametrize("lengths", [(46, 4000), (0xFFFF, 46)])
def test_lying_lengths(tmp_path: Path, lengths: tuple[int, int]) -> None:
    """A bundle whose parts do not fit into it stays one frame, which is not decoded."""
    ports, counts = metered(tmp_path / "capture", [bundle([msdu(2), msdu(3)], lengths), bundle([msdu(4)])])
    assert ports == [4]
    assert (counts["packets_read"], counts["skipped.link_type"]) == (2, 1)


def test_many_parts(tmp_path: Path) -> None:
    """The longest bundles there can be, full of empty parts, are more rows than fit at once; longer ones stay whole."""
    empty = bundle([b"\0\0"] * (LONGEST_BUNDLE // (PART_HEADER + 2)))
    _, counts = metered(tmp_path / "capture", [empty] * 100 + [empty + bytes(20)])
    assert counts["packets_read"] == 100 * (LONGEST_BUNDLE // (PART_HEADER + 2)) + 1
    assert counts["skipped.link_type"] == 1
