"""How fast captures become flows, beside scapy in the same run: python benchmarks/meter.py CAPTURE.

Prints packets per CPU-second (user and system, all threads) of: the meter alone, the whole way to feature rows, and
scapy's reader, which decodes packets and does nothing else. The first pass is not counted: it loads compiled kernels.
"""

import sys
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
from scapy.all import PcapReader

from features.extract import extract
from features.metering.meter import CaptureMeter, MeterSettings

SCAPY_PACKETS = 5_000


def main(capture: Path) -> None:
    """Measure each way and print its speed and its ratio to scapy's."""
    with TemporaryDirectory() as folder:
        plain = Path(folder) / "plain.pcap"
        plain.write_bytes(content(capture))
        metered(plain)
        speeds = {
            "scapy PcapReader, first 5,000 packets": speed(lambda: decoded_by_scapy(plain)),
            "meter, to flows": speed(lambda: metered(plain)),
            "extract, to feature rows": speed(lambda: extracted(plain)),
        }
    slowest = min(speeds.values())
    print("| | packets per CPU-second | ratio |\n|---|---|---|")
    for name, value in speeds.items():
        print(f"| {name} | {value:,.0f} | {value / slowest:,.0f} |")


def content(capture: Path) -> bytes:
    """Return the bytes of a capture, decompressed where its name says that it is compressed."""
    with pa.input_stream(str(capture), compression="detect") as stream:
        return bytes(stream.read())


def metered(capture: Path) -> int:
    """Return the packets of a capture after metering it."""
    meter = CaptureMeter(MeterSettings())
    consume(meter.meter([capture]))
    return meter.counts["packets_read"]


def extracted(capture: Path) -> int:
    """Return the packets of a capture after computing every feature of its flows."""
    extraction = extract([capture], MeterSettings())
    consume(iter(extraction))
    return extraction.counts["packets_read"]


def decoded_by_scapy(capture: Path) -> int:
    """Return how many packets scapy decoded."""
    with PcapReader(str(capture)) as packets:
        return sum(1 for _ in islice(packets, SCAPY_PACKETS))


def consume(items: Iterator[object]) -> None:
    """Take every item and keep none."""
    for _ in items:
        pass


def speed(work: Callable[[], int], times: int = 3) -> float:
    """Return packets per CPU-second, the best of some times."""
    best = 0.0
    for _ in range(times):
        begun = time.process_time()
        packets = work()
        best = max(best, packets / (time.process_time() - begun))
    return best


main(Path(sys.argv[1]))
