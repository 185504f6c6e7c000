"""Compiling the kernels ahead: two packets go all the way to feature rows."""

import struct
from pathlib import Path
from tempfile import TemporaryDirectory

from features.extract import extract
from features.meter import MeterSettings

HEADER = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65_535, 1)
FROM, TO = bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2])


def compile_kernels() -> int:
    """Meter a TCP SYN and its answer, which compiles and caches every kernel, and return the number of flows: 1."""
    with TemporaryDirectory() as folder:
        capture = Path(folder) / "two.pcap"
        capture.write_bytes(HEADER + _record(0, FROM, TO, 0x02) + _record(1, TO, FROM, 0x14))
        return sum(batch.num_rows for batch in extract([capture], MeterSettings()))


def _record(seconds: int, source: bytes, target: bytes, flags: int) -> bytes:
    """Return a pcap record of a TCP segment without payload over IPv4 and Ethernet."""
    ports = (50_000, 443) if source < target else (443, 50_000)
    segment = struct.pack(">HHIIBBHHH", *ports, 1, 1, 5 << 4, flags, 1024, 0, 0)
    datagram = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(segment), 1, 0, 64, 6, 0, source, target) + segment
    frame = bytes(12) + b"\x08\x00" + datagram
    return struct.pack("<IIII", seconds, 0, len(frame), len(frame)) + frame
