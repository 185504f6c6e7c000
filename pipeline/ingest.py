"""Stage: captures to a feature table."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from features.captures.capture import open_capture
from features.errors import InputError
from features.extract import extract
from features.metering.meter import MeterSettings
from features.schema import arrow_schema, fingerprint
from features.table import write_table
from pipeline.manifest import Built, Plan, StageResult, digest, run_once
from pipeline.progress import counted, say
from pipeline.settings import Settings

VERSION = 1
CAPTURE_NAME = re.compile(r"(?P<stem>.+?)\.(pcap|pcapng|cap|dmp)\d*(\.(gz|zst|lz4|xz|bz2))?", re.IGNORECASE)


def ingest(path: Path, settings: Settings) -> StageResult:
    """Meter a capture, or a folder of captures taken as one in the order of their names, into a feature table.

    Raises:
        InputError: The path is missing, a folder without captures, or no capture.
    """
    captures = captures_in(path)
    meter = MeterSettings(**settings.meter.model_dump())
    plan = Plan(
        "ingest",
        VERSION,
        settings.state.root / "features" / f"{table_name(path)}.parquet",
        {f"{number}: {capture.name}": digest(capture) for number, capture in enumerate(captures)},
        {"meter": asdict(meter), "schema": fingerprint()},
    )
    return run_once(plan, lambda artifact: _extracted(captures, meter, artifact))


def captures_in(path: Path) -> list[Path]:
    """Return the capture itself, or those of a folder in natural order of name; every one can be opened.

    Raises:
        InputError: There is none, or one is no capture.
    """
    found = sorted(filter(_named_like_a_capture, path.iterdir()), key=_natural) if path.is_dir() else [path]
    if not found:
        raise InputError("a folder without captures", str(path), "files named *.pcap, *.pcap.gz, *.pcap.zst and so on")
    for capture in found:
        open_capture(capture).close()
    return found


def table_name(path: Path) -> str:
    """Return what a capture's tables are called: demo-train for captures/demo-train.pcap.zst."""
    named = CAPTURE_NAME.fullmatch(path.name)
    return named["stem"] if named else path.stem or "capture"


def silence_explained(counts: Mapping[str, int]) -> str:
    """Return why a table has no rows: what became of the packets that were read."""
    read = counts.get("packets_read", 0)
    if not read:
        return "the capture holds no packets"
    skipped = ((name.removeprefix("skipped."), n) for name, n in counts.items() if name.startswith("skipped.") and n)
    return f"none of {read:,} packets is IP: " + ", ".join(f"{n:,} {name}" for name, n in skipped)


def _extracted(captures: Sequence[Path], meter: MeterSettings, artifact: Path) -> Built:
    name = table_name(captures[0])
    extraction = extract(captures, meter)
    rows = write_table(counted(extraction, f"metering {name}"), artifact, arrow_schema())
    say(f"{name}: {extraction.counts['packets_read']:,} packets became {rows:,} flows")
    if not rows:
        say(f"{name}: no flows, because {silence_explained(extraction.counts)}")
    return Built(rows, extraction.counts)


def _named_like_a_capture(path: Path) -> bool:
    return path.is_file() and not path.name.startswith(".") and CAPTURE_NAME.fullmatch(path.name) is not None


def _natural(path: Path) -> list[tuple[int, str]]:
    """Sort key in which capture.pcap2 comes before capture.pcap10."""
    parts = re.findall(r"\d+|\D+", path.name)
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]
