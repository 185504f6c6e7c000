"""Hostile captures: whatever the bytes, flows and counts that add up, or one clear error.

NUMBA_BOUNDSCHECK=1 NUMBA_CACHE_DIR=$(mktemp -d) python benchmarks/fuzz.py FOLDER [--packets N] > docs/robustness.md

Three rounds over the captures below a folder, on both layers: each as it is; each with some of its bytes changed; and
frames of all of them, changed one by one and put together anew. The first thing that does not hold ends the run with
the seed that shows it again. A kernel that does not come back is reported and ends the run after two minutes of the
processor.
"""

import argparse
import faulthandler
import random
import resource
import signal
import struct
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numba import njit

from features.captures.capture import open_capture
from features.captures.link_kernel import LINKS
from features.errors import CaptureError
from features.extract import extract
from features.metering.meter import LAYERS, MeterSettings
from pipeline.warmup import compile_kernels

FRAMES_PER_FILE, LONGEST_FRAME = 24, 2048
PACKETS_PER_ROUND = 50_000
LONGEST_S, STUCK_S = 120, 1800
ENDINGS = (".pcap", ".pcapng", ".cap", ".dump", ".gz", ".zst", ".xz", ".lz4", ".trace", ".pcap-ng", ".dmp")
BOUNDARIES = (0, 1, 0x7F, 0x80, 0xFF, 4, 6, 17, 41, 44, 47)
"""Values that headers have a meaning for."""
Sample = tuple[int, bytes, int]
"""A frame: its link type, its bytes, its length on the wire."""


@dataclass
class Tally:
    """What a round went through.

    Attributes:
        files: Captures read, once a layer.
        packets: Frames read in them, of one layer.
        flows: Flows of both layers.
        errors: Captures refused, by what the error says.
        counts: Of the outer layer, by name; tunnels of the inner one.
        seconds: Of the processor.
    """

    files: int = 0
    packets: int = 0
    flows: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0


class BrokenPromiseError(Exception):
    """Something did not hold; the message says what, for which file, and how to see it again."""


def main() -> int:
    """Run the rounds and print the page; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python benchmarks/fuzz.py", description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("folder", type=Path, help="captures are looked for below it")
    parser.add_argument("--packets", type=int, default=10_000_000, help="changed packets to make")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    if not bounds_are_checked():
        print("bounds are not checked: set NUMBA_BOUNDSCHECK=1, and NUMBA_CACHE_DIR to a new folder", file=sys.stderr)
        return 2
    compile_kernels()
    tallies = campaign(options.folder, options.packets, options.seed)
    print(page(tallies, options.packets, options.seed), end="")
    return 0


def campaign(folder: Path, packets: int, seed: int) -> dict[str, Tally]:
    """Run the three rounds over the captures below a folder; returns their tallies by name.

    Raises:
        BrokenPromiseError: Counts do not add up, or an error says no place.
    """
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.name.endswith(ENDINGS))
    names = ("as they are", "bytes of the file changed", "bytes of packets changed")
    with TemporaryDirectory() as scratch:
        made = Path(scratch) / "made"
        rounds = (
            iter(paths),
            changed_files(paths, made, random.Random(seed)),  # noqa: S311 (nothing secret)
            changed_packets(paths, made, packets, random.Random(seed)),  # noqa: S311
        )
        return {
            name: _gone_through(captures, f"{name}, seed {seed}") for name, captures in zip(names, rounds, strict=True)
        }


@contextmanager
def watched() -> Iterator[None]:
    """End the process, and say where it was, if the block takes LONGEST_S of the processor, or STUCK_S of time.

    That works inside compiled code too.
    """
    faulthandler.register(signal.SIGPROF, chain=True)  # whose own action is to end the process
    faulthandler.dump_traceback_later(STUCK_S, exit=True)
    signal.setitimer(signal.ITIMER_PROF, LONGEST_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        faulthandler.cancel_dump_traceback_later()


def _gone_through(captures: Iterator[Path], where: str) -> Tally:
    tally, begun = Tally(), time.process_time()
    for number, path in enumerate(captures):
        with watched():
            read(path, tally, f"{where}, capture {number}, {path.name}")
        if number % 100 == 0:
            print(f"{where}: {number} captures, {tally.packets:,} packets", file=sys.stderr)
    tally.seconds = time.process_time() - begun
    return tally


def read(path: Path, tally: Tally, where: str) -> None:
    """Take one capture to feature rows on both layers, and hold what is promised against what comes out.

    Raises:
        BrokenPromiseError: It does not hold.
    """
    seen: list[dict[str, int]] = []
    for layer in LAYERS:
        tally.files += 1
        extraction = extract([path], MeterSettings(layer=layer, vlan_in_key=layer == "inner"))
        packets = rows = 0
        try:
            for batch in extraction:
                rows += batch.num_rows
                packets += int(sum(np.nansum(batch.column(f"{way}_packets").to_numpy(False)) for way in ("fwd", "bwd")))
        except CaptureError as error:
            _hold("byte" in error.where or path.name in error.where, f"{where}: the error says no place: {error}")
            tally.errors[error.what] += 1
            continue
        tally.flows += rows
        seen.append(extraction.counts)
        _hold(_adds_up(extraction.counts, rows, packets), f"{where}, {layer}: {packets}, {rows}, {extraction.counts}")
    _hold(len(seen) != 1, f"{where}: only one layer could be read")
    if seen:
        outer, inner = seen
        _hold(_of_flows(outer) == _of_flows(inner), f"{where}: {outer}, {inner}")
        tally.packets += outer["packets_read"]
        tally.counts.update(outer | {name: n for name, n in inner.items() if name.startswith("tunnels.")})


def _adds_up(counts: dict[str, int], rows: int, packets: int) -> bool:
    skipped = sum(n for name, n in counts.items() if name.startswith("skipped."))
    ended = sum(n for name, n in counts.items() if name.startswith("ended."))
    of_flows = counts["packets_metered"] == packets or packets > 1 << 24  # beyond, the columns' floats round
    return (
        counts["packets_read"] == counts["packets_metered"] + skipped and rows == counts["flows"] == ended and of_flows
    )


def _of_flows(counts: dict[str, int]) -> tuple[int, int]:
    """Return what no layer may change: packets, and those of flows or of datagrams whose first fragment is missing."""
    return counts["packets_read"], counts["packets_metered"] + counts["skipped.fragment"]


def _hold(promise: bool, what: str) -> None:
    if not promise:
        raise BrokenPromiseError(what)


def changed_files(paths: Sequence[Path], made: Path, chance: random.Random) -> Iterator[Path]:
    """Yield each capture with up to 16 of its first 100,000 bytes changed, taken out or doubled, or without its end."""
    for path in paths:
        content = bytearray(path.read_bytes()[:1_000_000])
        for _ in range(chance.randint(1, 16) if content else 0):
            at = chance.randrange(min(len(content), 100_000))
            kind = chance.randrange(8)
            if kind == 0:
                del content[at : at + chance.randint(1, 8)]
            elif kind == 1:
                content[at:at] = content[at : at + chance.randint(1, 8)]
            elif kind == 2 and at > 24:
                del content[chance.randint(at, len(content)) :]
            else:
                content[at] = _other(content[at], chance)
            if not content:
                break
        made.write_bytes(content)
        yield made


def _other(value: int, chance: random.Random) -> int:
    kind = chance.randrange(3)
    return (
        chance.choice(BOUNDARIES)
        if kind == 0
        else value ^ 1 << chance.randrange(8)
        if kind == 1
        else chance.getrandbits(8)
    )


def changed_packets(paths: Sequence[Path], made: Path, packets: int, chance: random.Random) -> Iterator[Path]:
    """Yield captures in pcapng that hold so many changed frames together."""
    pool = samples(paths)
    links = sorted({link for link, _, _ in pool} | set(LINKS))
    while packets > 0 and pool:
        count = min(packets, PACKETS_PER_ROUND)
        with made.open("wb") as out:
            out.write(_block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1)))
            for link in links:
                out.write(_block(1, struct.pack("<HHI", link, 0, 0)))
            for number in range(count):
                link, content, original = changed(chance.choice(pool), links, chance)
                head = struct.pack("<IIIII", links.index(link), 0, number * 1000, len(content), original)
                out.write(_block(6, head + content))
        packets -= count
        yield made


def samples(paths: Sequence[Path]) -> list[Sample]:
    """Return the first frames of every capture that can be read, up to FRAMES_PER_FILE each."""
    found: list[Sample] = []
    for path in paths:
        try:
            with open_capture(path) as capture:
                block, rows = next(iter(capture), (np.zeros(0, np.uint8), []))
                for row in rows[:FRAMES_PER_FILE]:
                    start, size = int(row["start"]), min(int(row["captured"]), LONGEST_FRAME)
                    found.append((int(row["link_type"]), block[start : start + size].tobytes(), int(row["original"])))
        except CaptureError:
            continue
    return found


def changed(sample: Sample, links: Sequence[int], chance: random.Random) -> Sample:
    """Return a frame with up to six bytes of its headers changed; some are cut, of another link type or length."""
    link, content, original = sample
    data = bytearray(content)
    for _ in range(chance.randint(1, 6) if data else 0):
        at = int(min(len(data), 160) * chance.random())
        data[at] = _other(data[at], chance)
    kind = chance.randrange(16)
    if kind == 0:
        del data[chance.randint(0, len(data)) :]
    elif kind == 1:
        link = chance.choice(links)
    elif kind == 2:
        original = chance.choice((0, len(data), 65_535, 0xFFFFFFFF))
    return link, bytes(data), original


def _block(kind: int, body: bytes) -> bytes:
    padded = body + bytes(-len(body) % 4)
    length = struct.pack("<I", len(padded) + 12)
    return struct.pack("<I", kind) + length + padded + length


@njit
def _beyond(numbers: np.ndarray, at: int) -> int:
    value: int = numbers[at]
    return value


def bounds_are_checked() -> bool:
    """Tell whether compiled code notices an index beyond the end."""
    try:
        _beyond(np.zeros(1, dtype=np.int64), 1)
    except IndexError:
        return True
    return False


HEAD = """# Robustness: damaged and hostile captures

Made by this command in the project's folder; DATA is a folder of other people's captures, many of them damaged or
hostile on purpose, and no part of the project:

    NUMBA_BOUNDSCHECK=1 NUMBA_CACHE_DIR=$(mktemp -d) \\
        python benchmarks/fuzz.py DATA --packets {packets} --seed {seed} > docs/robustness.md

Every capture goes from its bytes to feature rows twice, once for each `meter.layer`, with bounds checks in all compiled
code. Held for each one: it ends in flows, or in one `CaptureError` that says where; the packets read are those metered
and those skipped under a name; the packets of all flows are those metered; the flows are those that ended under a name;
both layers meter the same packets, but for fragments of what is inside; it takes less than {longest} CPU-seconds.
The first one for which something does not hold ends the run: the numbers below are of a run that came to its end.

| | captures | packets | flows of both layers | refused with an error | CPU-seconds |
| --- | --- | --- | --- | --- | --- |
"""

COUNTS_HEAD = """
## Counts

Of the outer layer; tunnels of the inner one. A frame lies in several tunnels or none; a bundle counts its frames.
"""


def page(tallies: dict[str, Tally], packets: int, seed: int) -> str:
    """Return the results as a page."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    rows = [
        f"| {name} | {one.files // 2:,} | {one.packets:,} | {one.flows:,} | {one.errors.total() // 2:,} "
        f"| {one.seconds:,.0f} |"
        for name, one in tallies.items()
    ]
    lines = [
        *rows,
        f"\nThe whole run used at most {peak:,.0f} MB of memory.\n",
        "## Errors\n\n| the error says | as they are | bytes of the file changed |\n| --- | --- | --- |",
        *_compared(tallies, "errors", 2),
        COUNTS_HEAD,
        "| count | as they are | bytes of the file changed | bytes of packets changed |\n| --- | --- | --- | --- |",
        *_compared(tallies, "counts", 1),
    ]
    return HEAD.format(packets=packets, seed=seed, longest=LONGEST_S) + "\n".join(lines) + "\n"


def _compared(tallies: dict[str, Tally], which: str, divisor: int) -> list[str]:
    columns: list[Counter[str]] = [getattr(tally, which) for tally in tallies.values()]
    columns = columns[:2] if which == "errors" else columns
    names = dict.fromkeys(name for column in columns for name in column if any(other[name] for other in columns))
    return [f"| {name} | " + " | ".join(f"{column[name] // divisor:,}" for column in columns) + " |" for name in names]


if __name__ == "__main__":
    sys.exit(main())
