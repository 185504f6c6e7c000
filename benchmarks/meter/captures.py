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
FIELDS = ("time_ns", "start", "captured", "original", "link_type")
RECORD = np.dtype([("seconds", "<u4"), ("nanoseconds", "<u4"), ("captured", "<u4"), ("original", "<u4")])
HEADER = np.array([0xA1B23C4D, 0x00040002, 0, 0, 262_144, LINK_ETHERNET], dtype="<u4")
START_S = 1_700_000_000
TINY_BYTES = 60
PACKETS_PER_FLOW = 8 / 3
CHUNK = 250_000
LONGEST_NS = 600 * 10**9
"""What a capture of recorded traffic lasts at most: later frames come at that time."""
SPAN_S = 40
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


def build_mix(sources: Iterable[Path], target: Path, size: int) -> None:
    """Write recorded traffic again and again until the file has the size."""
    traffic = _recorded(sources)
    with target.open("wb") as file:
        HEADER.tofile(file)
        replica = 0
        while file.tell() < size:
            _replica(traffic, replica).tofile(file)
            replica += 1


def build_small(source: Path, target: Path, packets: int) -> None:
    """Write the first packets of a recorded capture."""
    traffic = _recorded([source])
    with target.open("wb") as file:
        HEADER.tofile(file)
        _replica(traffic, 0)[: traffic.headers[packets]].tofile(file)


def _recorded(sources: Iterable[Path]) -> Traffic:
    """Return the Ethernet frames of captures, one capture after the other in time."""
    records, addresses, headers = [], [], []
    at, start_ns, latest_ns = 0, 0, 0
    for source in sources:
        offset_ns = None
        for time_ns, frame, original in _frames(source):
            offset_ns = start_ns - time_ns if offset_ns is None else offset_ns
            moment = min(max(time_ns + offset_ns, start_ns), start_ns + LONGEST_NS)
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
                for time_ns, start, captured, original, link_type in rows[list(FIELDS)].tolist():
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


def build_tiny(target: Path, packets: int) -> None:
    """Write UDP packets of 60 bytes, 8 in 3 flows on average, all live at the end."""
    flows = int(packets / PACKETS_PER_FLOW)
    random = np.random.default_rng(1)
    order = random.integers(0, flows, packets)
    order[:flows] = np.arange(flows)
    random.shuffle(order)
    _write_datagrams(target, order // 60_000 + 0x0A000000, order % 60_000 + 1024, SPAN_S)


def build_flood(target: Path, packets: int) -> None:
    """Write packets that open a flow each, their keys in steps that a hash which only masks would put in few slots."""
    number = np.arange(packets)
    _write_datagrams(target, 0x0A000000 + (number >> 4 << 8), (number & 0xF) << 12, SPAN_S)


def build_random(target: Path, packets: int) -> None:
    """Write packets that open a flow each, their keys drawn at random: what a flood is compared to."""
    keys = np.random.default_rng(3).choice(1 << 30, packets, replace=False)
    _write_datagrams(target, 0x0A000000 + (keys >> 12), keys & 0xFFF, SPAN_S)


def _write_datagrams(target: Path, sources: np.ndarray, ports: np.ndarray, span_s: int) -> None:
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


def _datagrams(sources: np.ndarray, ports: np.ndarray) -> np.ndarray:
    """Return Ethernet frames with UDP over IPv4 to one server's port 9000, shape (n, TINY_BYTES)."""
    frames = np.zeros((len(sources), TINY_BYTES), np.uint8)
    frames[:, 12:14] = [8, 0]
    frames[:, 14:24] = [0x45, 0, 0, TINY_BYTES - 14, 0, 0, 0, 0, 64, 17]
    frames[:, 26:30] = sources.astype(">u4").view(np.uint8).reshape(-1, 4)
    frames[:, 30:34] = [192, 0, 2, 1]
    frames[:, 34:36] = ports.astype(">u2").view(np.uint8).reshape(-1, 2)
    frames[:, 36:40] = [9000 >> 8, 9000 & 0xFF, 0, TINY_BYTES - 34]
    return frames
