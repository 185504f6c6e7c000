"""Small captures with every part of the demo's in them: a share of its connections, each whole."""

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

CAPTURES = Path(__file__).parents[2] / "captures"
NAMES = ("demo-train", "demo-valid", "demo-score")
HEADER = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65_535, 1)
SHARE = 6


def write_small_captures(folder: Path) -> Path:
    """Write every sixth connection of each demo capture as NAME.pcap, with the demo's rules beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in NAMES:
        raw = pa.input_stream(str(CAPTURES / f"{name}.pcap.zst"), compression="zstd").read()
        chosen = [
            raw[start:end] for start, end in records(raw) if zlib.crc32(connection(raw[start + 16 : end])) % SHARE == 0
        ]
        (folder / f"{name}.pcap").write_bytes(raw[:24] + b"".join(chosen))
        # a share of the connections leaves rules that match none
        rules = b"# allow_unmatched: true\n" + (CAPTURES / f"{name}.rules.csv").read_bytes()
        (folder / f"{name}.rules.csv").write_bytes(rules)
    return folder


def records(raw: bytes) -> Iterator[tuple[int, int]]:
    """Yield where each record of a little-endian pcap begins and ends, its header included."""
    start = 24
    while start < len(raw):
        end = start + 16 + struct.unpack_from("<I", raw, start + 8)[0]
        yield start, end
        start = end


def connection(frame: bytes) -> bytes:
    """Return the ends of an Ethernet and IPv4 frame, the same for both directions."""
    with_ports = frame[23] in (6, 17)
    source = frame[26:30] + (frame[34:36] if with_ports else b"")
    target = frame[30:34] + (frame[36:38] if with_ports else b"")
    return min(source, target) + max(source, target)


def write_capture(path: Path, frames: list[bytes]) -> Path:
    """Write frames, a second apart, as a capture."""
    packed = [struct.pack("<IIII", 1_700_000_000 + at, 0, len(one), len(one)) + one for at, one in enumerate(frames)]
    path.write_bytes(HEADER + b"".join(packed))
    return path


ARP_REQUEST = bytes.fromhex("ffffffffffff0200000000010806") + bytes.fromhex("0001080006040001") + bytes(20)
