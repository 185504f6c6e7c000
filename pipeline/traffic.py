"""What a user names as traffic: a file, or the files of a folder or pattern taken as one; kinds told by content."""

import glob
import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from features.captures.capture import first_packet_ns
from features.content import Kind, kind_of
from features.errors import InputError
from features.records.joined import joined_log
from features.records.settings import RecordSettings
from pipeline.settings import Settings

CAPTURE_NAME = re.compile(r".+\.(pcap|pcapng|cap|dmp)\d*(\.(gz|zst|lz4|xz|bz2))?", re.IGNORECASE)
TABLE_NAME = re.compile(
    r"(?P<stem>.+?)(\.((pcap|pcapng|cap|dmp)\d*|log|json|jsonl|ndjson|csv|tsv|binetflow|parquet))?"
    r"(\.(gz|zst|lz4|xz|bz2))?",
    re.IGNORECASE,
)
WILDCARDS = re.compile(r"[*?\[]")
BESIDE = (".rules.csv", ".rejects.csv", ".manifest.json")
"""Ends of files that lie beside traffic and are none."""
NAMED = 3
LONGEST_NAME = 160
"""Bytes of a table's name, at most: file systems take 255, and locks, manifests and parts add theirs."""


@dataclass(frozen=True)
class Traffic:
    """Files that are one capture, or one run of flow records.

    Attributes:
        name: What its tables are called.
        kind: What the files hold.
        files: Captures in order of their first packet, record files in natural order of name.
        joined: With Zeek's conn.log: its other logs of the same folder or pattern that are joined by uid.
        left_out: Files of the same folder or pattern that hold nothing that is known here, or nothing at all.
    """

    name: str
    kind: Kind
    files: tuple[Path, ...]
    joined: tuple[Path, ...] = ()
    left_out: tuple[Path, ...] = ()


def look_at(path: Path, settings: Settings) -> Traffic:
    """Open what was named, a file, a folder or a pattern such as logs/conn.*.log.gz, and tell what it holds.

    Raises:
        InputError: Nothing is there, nothing in it is known, or it holds captures and flow records at once.
    """
    reading = record_settings(settings)
    if path.is_file() or not (path.is_dir() or WILDCARDS.search(str(path))):
        return Traffic(table_name(path), kind_of(path, reading), (path,))
    kinds = {file: _kind_in_a_set(file, reading) for file in _files_of(path)}
    kind, files = _one_kind(path, kinds)
    others = [file for file in kinds if kinds[file] is not kind]
    joined = tuple(file for file in others if kind is Kind.RECORDS and file.stat().st_size and joined_log(file))
    return Traffic(table_name(path), kind, files, joined, tuple(file for file in others if file not in joined))


def record_settings(settings: Settings) -> RecordSettings:
    """Return how flow records are read."""
    return RecordSettings(**settings.records.model_dump())


def table_name(path: Path) -> str:
    """Return what a source's tables are called: demo-train for captures/demo-train.pcap.zst, conn for conn.*.log.gz.

    What cannot be printed (line ends, a terminal's control sequences, bytes that are no UTF-8) becomes an underscore.
    Of a name beyond LONGEST_NAME the end becomes a digest of all of it.
    """
    name = own_name(path)
    encoded = name.encode()
    if len(encoded) <= LONGEST_NAME:
        return name
    end = f"-{hashlib.sha256(encoded).hexdigest()[:8]}"
    return encoded[: LONGEST_NAME - len(end)].decode(errors="ignore") + end


def own_name(path: Path) -> str:
    """Return a source's name without its ends, however long it is: what lies beside it is called by it."""
    wildcard = WILDCARDS.search(path.name)
    if wildcard and not path.exists():
        return _printable(path.name[: wildcard.start()].rstrip("._-")) or own_name(path.parent)
    name = _printable(path.name or path.absolute().name)
    named = TABLE_NAME.fullmatch(name)
    return named["stem"] if named else name or "traffic"


def _printable(name: str) -> str:
    return "".join(letter if letter.isprintable() else "_" for letter in name)


def _files_of(path: Path) -> list[Path]:
    found = path.iterdir() if path.is_dir() else map(Path, glob.glob(str(path), recursive=True))  # noqa: PTH207 (Path.glob takes no absolute pattern)
    return sorted((file for file in found if _may_be_traffic(file)), key=_natural)


def _may_be_traffic(file: Path) -> bool:
    return file.is_file() and not file.name.startswith(".") and not file.name.endswith(BESIDE)


def _kind_in_a_set(file: Path, settings: RecordSettings) -> Kind | None:
    """Return what a file among others holds, None for what is not traffic; one that is named as a capture must be."""
    if not file.stat().st_size:
        return None
    try:
        return kind_of(file, settings)
    except InputError:
        if CAPTURE_NAME.fullmatch(file.name):
            raise
        return None


def _one_kind(path: Path, kinds: Mapping[Path, Kind | None]) -> tuple[Kind, tuple[Path, ...]]:
    captures, records = ([file for file in kinds if kinds[file] is kind] for kind in (Kind.CAPTURE, Kind.RECORDS))
    if captures and records:
        raise InputError(
            "captures and flow records at once",
            str(path),
            "files of one kind",
            f"captures: {_some(captures)}; flow records: {_some(records)}",
            "name one kind by a pattern, such as 'folder/*.pcap'",
        )
    if not captures and not records:
        raise InputError(
            f"a {'folder' if path.is_dir() else 'pattern'} without captures or flow records",
            str(path),
            "pcap or pcapng files, or flow records of a known kind (docs/flow-records.md)",
        )
    if records:
        return Kind.RECORDS, tuple(records)
    return Kind.CAPTURE, tuple(in_packet_order(captures))


def in_packet_order(captures: Iterable[Path]) -> list[Path]:
    """Return captures by the time of their first packet, whatever a ring buffer called them; empty ones come first."""
    begun = [(first_packet_ns(capture), _natural(capture), capture) for capture in captures]
    ordered = sorted(begun, key=lambda one: (one[0] is not None, one[0] or 0, one[1]))
    return [capture for _, _, capture in ordered]


def _some(files: list[Path]) -> str:
    more = f" and {len(files) - NAMED} more" if len(files) > NAMED else ""
    return ", ".join(file.name for file in files[:NAMED]) + more


def _natural(path: Path) -> list[tuple[int, str]]:
    """Sort key in which capture.pcap2 comes before capture.pcap10."""
    parts = re.findall(r"\d+|\D+", str(path))
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]
