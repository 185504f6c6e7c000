"""One measured process of ours: python -m benchmarks.meter.ours HOW CAPTURE OUTPUT; prints what it found as JSON."""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

from features.captures.capture import open_capture
from features.extract import extract
from features.metering.meter import CaptureMeter, MeterSettings
from features.schema import arrow_schema
from features.table import write_table

SETTINGS = MeterSettings(max_flows=2_000_000)


def to_parquet(capture: Path, output: Path) -> int:
    """Write the feature table and return its rows."""
    return write_table(extract([capture], SETTINGS), output, arrow_schema()).rows


def to_flows(capture: Path, _output: Path) -> int:
    """Meter, make no columns, and return the number of flows."""
    return sum(len(batch.flows) for batch in CaptureMeter(SETTINGS).meter([capture]))


def to_frames(capture: Path, _output: Path) -> int:
    """Read the file, find every record, and return their number: what no meter can be faster than."""
    with open_capture(capture) as frames:
        return sum(len(found.rows) for found in frames)


WAYS: dict[str, Callable[[Path, Path], int]] = {"parquet": to_parquet, "flows": to_flows, "walk": to_frames}


def warm(capture: Path, output: Path) -> dict[str, float]:
    """Return CPU seconds of each way in a process that has its kernels loaded and its libraries imported."""
    seconds = {}
    for name, way in WAYS.items():
        begun = time.process_time()
        way(capture, output)
        seconds[name] = time.process_time() - begun
    return seconds


def main(how: str, capture: Path, output: Path) -> None:
    """Run one way, or all of them twice to tell what a warm process takes."""
    if how == "warm":
        warm(capture, output)
        print(json.dumps(warm(capture, output)))
    else:
        print(json.dumps({"rows": WAYS[how](capture, output)}))


if __name__ == "__main__":
    main(sys.argv[1], *map(Path, sys.argv[2:]))
