"""The captures that meters are measured on: recorded traffic many times over, and two that are hard on a flow table.

Every replica of the recorded traffic has hosts of its own (bits of the second octet of IPv4 addresses are turned over)
and follows the one before in time. Frames that were cut when they were recorded are filled up with zeros, so that as
many bytes are read as were on the wire.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from features.captures.capture import open_capture
from features.errors import CaptureError

LINK_ETHERNET = 1
LARGEST_FRAME = 65_535
RECORD = np.dtype([("seconds", "<u4"), ("nanoseconds", "<u4"), ("captured", "<u4"), ("original", "<u4")])
HEADER = np.array([0xA1B23C4D, 0x00040002, 0, 0, 262_144, LINK_ETHERNET], dtype="<u4")
START_S = 1_700_000_000
TINY_FLOWS, TINY_PACKETS, TINY_BYTES = 1_500_000, 4_000_000, 60
FLOOD_PACKETS = 1_000_000
CHUNK = 250_000
TINY_SPAN_S = 40
"""Within the idle timeout: every flow is live until the end."""


@dataclass(frozen=True)
class Traffic:
    """Ethernet frames as they lie in a pcap file.

    Attributes:
        block: Records one after the other, uint8.
        headers: Where each record begins.
        addresses: Where the IPv4 source address of each frame that has one begins.
        span_s: Seconds from the first to the last, rounded up.
    """

    block: np.ndarray
    headers: np.ndarray
    addresses: np.ndarray
    span_s: int


def build_mix(sources: Iterable[Path], target: Path, size: int) -> int:
    """Write recorded traffic again and again until the file has the size, and return the number of packets."""
    traffic = _recorded(sources)
    packets = 0
    with target.open("wb") as file:
        HEADER.tofile(file)
        replica = 0
        while file.tell() < size:
            _replica(traffic, replica).tofile(file)
            packets += len(traffic.headers)
            replica += 1
    return packets


def _recorded(sources: Iterable[Path]) -> Traffic:
    """Return the Ethernet frames of captures, one capture after the other in time."""
    records, addresses, headers = [], [], []
    at, start_ns, latest_ns = 0, 0, 0
    for source in sources:
        offset_ns = None
        for time_ns, frame, original in _frames(source):
            offset_ns = start_ns - time_ns if offset_ns is None else offset_ns
            moment = max(time_ns + offset_ns, 0)
            latest_ns = max(latest_ns, moment)
            length = min(max(original, len(frame)), LARGEST_FRAME)
            header = np.array([(moment // 10**9, moment % 10**9, length, length)], RECORD)
            records.append(header.tobytes() + frame[:length] + bytes(length - len(frame[:length])))
            headers.append(at)
            if frame[12:14] == b"\x08\x00":
                addresses.append(at + RECORD.itemsize + 26)
            at += len(records[-1])
        start_ns = latest_ns + 10**9
    block = np.frombuffer(b"".join(records), np.uint8)
    return Traffic(block, np.array(headers), np.array(addresses), latest_ns // 10**9 + 1)


def _frames(source: Path) -> Iterator[tuple[int, bytes, int]]:
    """Yield time, bytes and length on the wire of the Ethernet frames of a capture, up to where it is damaged."""
    try:
        with open_capture(source) as capture:
            for block, rows in capture:
                for time_ns, start, captured, original, link_type in rows.tolist():
                    if link_type == LINK_ETHERNET:
                        yield time_ns, block[start : start + captured].tobytes(), original
    except CaptureError:
        return


def _replica(traffic: Traffic, number: int) -> np.ndarray:
    block = traffic.block.copy()
    for end in (1, 5):
        block[traffic.addresses + end] ^= np.uint8(number & 0xFF)
    places = traffic.headers[:, None] + np.arange(4)
    seconds = np.ascontiguousarray(block[places]).view("<u4").ravel() + np.uint32(START_S + number * traffic.span_s)
    block[places] = seconds.astype("<u4").view(np.uint8).reshape(-1, 4)
    return block


def build_tiny(target: Path) -> int:
    """Write 4 million UDP packets of 60 bytes in 1.5 million flows, all live at the end; return the packets."""
    order = np.random.default_rng(1).integers(0, TINY_FLOWS, TINY_PACKETS)
    order[:TINY_FLOWS] = np.arange(TINY_FLOWS)
    np.random.default_rng(2).shuffle(order)
    return _write_datagrams(target, order // 60_000 + 0x0A000000, order % 60_000 + 1024, TINY_SPAN_S)


def build_flood(target: Path) -> int:
    """Write a million packets whose keys an attacker would choose who knows the hash but for its random keys.

    Every packet opens a flow: its keys differ in high bits only, which a hash that is masked without mixing loses.
    """
    number = np.arange(FLOOD_PACKETS)
    return _write_datagrams(target, 0x0A000000 + (number % 250 << 16), (number // 250 << 4) & 0xFFFF, TINY_SPAN_S)


def build_plain(target: Path) -> int:
    """Write what build_flood writes with keys drawn at random; return the packets."""
    chosen = np.random.default_rng(3).permutation(1 << 26)[:FLOOD_PACKETS]
    return _write_datagrams(target, 0x0A000000 + (chosen >> 12), chosen & 0xFFF, TINY_SPAN_S)


def _write_datagrams(target: Path, sources: np.ndarray, ports: np.ndarray, span_s: int) -> int:
    count = len(sources)
    frame = np.dtype([("record", RECORD), ("frame", "u1", (TINY_BYTES,))])
    with target.open("wb") as file:
        HEADER.tofile(file)
        for start in range(0, count, CHUNK):
            part = slice(start, min(start + CHUNK, count))
            rows = np.zeros(part.stop - start, frame)
            times = np.arange(start, part.stop) * (span_s * 10**9 // count)
            rows["record"]["seconds"], rows["record"]["nanoseconds"] = START_S + times // 10**9, times % 10**9
            rows["record"]["captured"] = rows["record"]["original"] = TINY_BYTES
            rows["frame"] = _datagrams(sources[part], ports[part])
            rows.tofile(file)
    return count


def _datagrams(sources: np.ndarray, ports: np.ndarray) -> np.ndarray:
    """Return Ethernet frames with UDP over IPv4 to one server's port 53, shape (n, TINY_BYTES)."""
    frames = np.zeros((len(sources), TINY_BYTES), np.uint8)
    frames[:, 12:14] = [8, 0]
    frames[:, 14:24] = [0x45, 0, 0, TINY_BYTES - 14, 0, 0, 0, 0, 64, 17]
    frames[:, 26:30] = sources.astype(">u4").view(np.uint8).reshape(-1, 4)
    frames[:, 30:34] = [192, 0, 2, 1]
    frames[:, 34:36] = ports.astype(">u2").view(np.uint8).reshape(-1, 2)
    frames[:, 36:40] = [0, 53, 0, TINY_BYTES - 34]
    return frames
