"""How fast and small the meter is, beside others in the same run.

python -m benchmarks.meter WORK [--data DATA] [--picture docs/speed.svg] [--json OUT]

Builds its captures in WORK once (2 GB of recorded traffic over and over, tiny packets in many live flows, a flood aimed
at the hash table and its harmless twin) and runs every meter that is installed on them. CPU seconds are user and system
of all threads and children, the median of some runs; the meters take turns, so that what else the machine does is
shared.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.meter.captures import build_flood, build_mix, build_random, build_small, build_tiny
from benchmarks.meter.measure import cost, measured, median, read_once
from benchmarks.meter.report import Row, draw, plain, table
from benchmarks.meter.tools import Tool, tools

MIX_BYTES, TINY_PACKETS, FLOOD_PACKETS, SMALL_PACKETS = 2_000_000_000, 4_000_000, 500_000, 50_000
SMALLEST_SOURCE = 200_000
COMMITTED = Path("captures")
SUFFIXES = (".pcap", ".pcapng", ".cap")
SLOW_ON_TINY = "nfstream"


@dataclass(frozen=True)
class Built:
    """A capture that was built, and what a person should know of it."""

    name: str
    path: Path
    packets: int


def main() -> int:
    """Measure and print; returns the exit status."""
    options = _options()
    (options.work / "output").mkdir(parents=True, exist_ok=True)
    print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores\n")
    found = [tool for tool in tools(options.nfstream) if _there(tool)]
    mix, tiny, flood, spread, small = _captures(options.work, options.data)
    cost(_ours("parquet", small, options))  # compiles the kernels if need be
    rows = _rows(mix, found, options) + _rows(tiny, [t for t in found if _runs_on_tiny(t, options)], options)
    print(table(rows))
    print(_warm(mix, options), _floods(flood, spread, options), _small(small, options), sep="\n\n")
    if options.picture:
        draw(rows, options.picture)
    if options.json:
        options.json.write_text(json.dumps(plain(rows), indent=1) + "\n", "utf-8")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.meter", description=__doc__)
    parser.add_argument("work", type=Path, help="folder for the captures: 2.5 GB")
    parser.add_argument("--data", type=Path, help="folder with more recorded captures for the mix")
    parser.add_argument("--nfstream", default="nfstream-python", help="interpreter of an environment with nfstream")
    parser.add_argument("--nfstream-tiny", action="store_true", help="nfstream on the tiny packets too: minutes, 5 GB")
    parser.add_argument("--times", type=int, default=3, help="runs of which the median counts")
    parser.add_argument("--picture", type=Path, help="write an SVG")
    parser.add_argument("--json", type=Path, help="write the rows as JSON")
    return parser.parse_args()


def _there(tool: Tool) -> bool:
    if not tool.is_there():
        print(f"{tool.name} is not here: {tool.install}")
    return tool.is_there()


def _runs_on_tiny(tool: Tool, options: argparse.Namespace) -> bool:
    return options.nfstream_tiny or not tool.name.startswith(SLOW_ON_TINY)


def _captures(work: Path, data: Path | None) -> list[Built]:
    more = sorted(path for path in data.rglob("*") if path.suffix in SUFFIXES) if data else []
    large = [path for path in more if path.stat().st_size >= SMALLEST_SOURCE and "fuzz" not in path.name]
    sources = [*sorted(COMMITTED.glob("*.pcap.zst")), *large]
    return [
        _built("mix", work, lambda path: build_mix(sources, path, MIX_BYTES)),
        _built("tiny", work, lambda path: build_tiny(path, TINY_PACKETS)),
        _built("flood", work, lambda path: build_flood(path, FLOOD_PACKETS)),
        _built("random", work, lambda path: build_random(path, FLOOD_PACKETS)),
        _built("small", work, lambda path: build_small(sources[0], path, SMALL_PACKETS)),
    ]


def _built(name: str, work: Path, build: Callable[[Path], None]) -> Built:
    path = work / f"{name}.pcap"
    if not path.exists():
        build(path.with_suffix(".part"))
        path.with_suffix(".part").rename(path)
    packets = json.loads(cost([sys.executable, "-m", "benchmarks.meter.ours", "walk", str(path), "-"]).output)["rows"]
    return Built(name, path, packets)


def _rows(capture: Built, found: list[Tool], options: argparse.Namespace) -> list[Row]:
    read_once(capture.path)
    output = options.work / "output"
    rounds = [[cost(tool.command(capture.path, output)) for tool in found] for _ in range(options.times)]
    return [
        Row(capture.name, capture.packets, tool.name, tool.computes, median(costs))
        for tool, costs in zip(found, zip(*rounds, strict=True), strict=True)
    ]


def _ours(how: str, capture: Built, options: argparse.Namespace) -> list[str]:
    output = options.work / "output" / "ours.parquet"
    return [sys.executable, "-m", "benchmarks.meter.ours", how, str(capture.path), str(output)]


def _warm(mix: Built, options: argparse.Namespace) -> str:
    seconds = json.loads(cost(_ours("warm", mix, options)).output)
    speeds = {name: mix.packets / seconds[name] for name in ("walk", "flows", "parquet")}
    shares = ", ".join(f"{name} {speeds[name] / speeds['walk']:.0%}" for name in ("flows", "parquet"))
    return f"read+walk when warm: {speeds['walk'] / 1e6:.1f} M packets per CPU-second; of it: {shares}"


def _floods(flood: Built, spread: Built, options: argparse.Namespace) -> str:
    aimed, random = (measured(_ours("flows", one, options), options.times) for one in (flood, spread))
    return f"flood aimed at the hash: {aimed.cpu_s:.2f} CPU s, random keys: {random.cpu_s:.2f} CPU s"


def _small(small: Built, options: argparse.Namespace) -> str:
    whole = measured(_ours("parquet", small, options), options.times)
    return f"{small.packets:,} packets to Parquet from a cold process: {whole.cpu_s:.2f} CPU s"


if __name__ == "__main__":
    sys.exit(main())
