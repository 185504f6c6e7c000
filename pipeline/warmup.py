"""Compiling the kernels ahead: two packets and a fragment, as pcap and pcapng, and a record go to feature rows."""

import hashlib
import struct
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from features.columns import said_columns
from features.context_kernel import new_windows, with_room
from features.extract import extract
from features.metering import meter_kernel
from features.metering.flow_table import HASH_WORDS, new_table
from features.metering.meter import MeterSettings
from features.records.extraction import extract_records
from pipeline.progress import say

FROM, TO = bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2])
CONN_LOG = """ts,id.orig_h,id.orig_p,id.resp_h,id.resp_p,proto,duration,orig_pkts,orig_ip_bytes,resp_pkts
1600000000.5,10.0.0.1,50000,10.0.0.2,443,tcp,0.25,1,40,1
"""
SYN, RESET = 0x02, 0x14
MORE_FRAGMENTS = 0x2000
ETHERNET, WIFI = 1, 105


def is_warm() -> bool:
    """Tell whether the meter's kernel is compiled: numba's index of it on disk holds the digest of its source."""
    source = Path(meter_kernel.__file__)
    indices = Path(str(meter_kernel.meter_packets.stats.cache_path)).glob(f"{source.stem}.meter_packets-*.nbi")
    digest = hashlib.sha256(source.read_bytes()).digest()
    return any(digest in index.read_bytes() for index in indices)


def say_if_cold() -> bool:
    """Say, where it is so, that the kernels will have to be compiled, and return whether it is."""
    if is_warm():
        return False
    say("compiling the meter, once after installation: a minute or so (flowtag warmup does it ahead)")
    return True


def compile_kernels() -> int:
    """Meter a TCP SYN and its answer in both formats and in a radio frame, and read a record of them.

    That compiles and caches every kernel.

    Returns:
        The flows: 4.
    """
    frames = [_frame(FROM, TO, SYN), _frame(TO, FROM, RESET), _frame(TO, FROM, RESET, MORE_FRAGMENTS)]
    with_room(new_windows())
    said_columns({}, 1)
    meter_kernel.with_more_slots(new_table(1, 1, np.zeros(HASH_WORDS + 1, np.uint64)))
    with TemporaryDirectory() as folder:
        captures = [Path(folder) / name for name in ("two.pcap", "two.pcapng", "bundle.pcap")]
        captures[0].write_bytes(_pcap(frames))
        captures[1].write_bytes(_pcapng(frames))
        captures[2].write_bytes(_pcap([_bundle(frames[0])], WIFI))
        settings = MeterSettings(layer="inner")
        log = Path(folder) / "conn.csv"
        log.write_text(CONN_LOG)
        metered = sum(batch.num_rows for capture in captures for batch in extract([capture], settings))
        return metered + sum(batch.num_rows for batch in extract_records([log]))


def _pcap(frames: Sequence[bytes], link_type: int = ETHERNET) -> bytes:
    header = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65_535, link_type)
    return header + b"".join(struct.pack("<IIII", 0, 0, len(frame), len(frame)) + frame for frame in frames)


def _pcapng(frames: Sequence[bytes]) -> bytes:
    section = _block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1))
    interface = _block(1, struct.pack("<HHI", 1, 0, 65_535))
    packets = (_block(6, struct.pack("<IIIII", 0, 0, 0, len(frame), len(frame)) + frame) for frame in frames)
    return section + interface + b"".join(packets)


def _block(kind: int, body: bytes) -> bytes:
    padded = body + bytes(-len(body) % 4)
    length = struct.pack("<I", len(padded) + 12)
    return struct.pack("<I", kind) + length + padded + length


def _frame(source: bytes, target: bytes, flags: int, fragment: int = 0) -> bytes:
    """Return a TCP segment without payload over IPv4 and Ethernet."""
    ports = (50_000, 443) if source < target else (443, 50_000)
    segment = struct.pack(">HHIIBBHHH", *ports, 1, 1, 5 << 4, flags, 1024, 0, 0)
    datagram = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(segment), 1, fragment, 64, 6, 0, source, target) + segment
    return bytes(12) + b"\x08\x00" + datagram


def _bundle(frame: bytes) -> bytes:
    """Return an IEEE 802.11 frame that holds an Ethernet one, as the only one of an A-MSDU."""
    inner = bytes.fromhex("aaaa03000000") + frame[12:]
    return bytes.fromhex("8801") + bytes(22) + bytes.fromhex("8000") + bytes(12) + struct.pack(">H", len(inner)) + inner
