"""What other tools said of the same traffic, as rules: alerts of Suricata, notices and weirds of Zeek.

An entry becomes a rule that asks for the flow's ends and a moment; where the entry carries a Community ID or a uid, a
second rule of the same line asks for that instead, for tables that have it.
"""

import ipaddress
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from features.errors import LabelError, RecordError
from features.labels.rule_cells import Clock, read_cell
from features.labels.rules import Rule, Truth
from features.labels.settings import LabelSettings, zone
from features.labels.speech import meant_by
from features.labels.vocabulary import Vocabulary
from features.records.byte_stream import line_blocks

ALERTS, NOTICES, WEIRDS = "suricata alerts", "zeek notices", "zeek weirds"
ZEEK = {"note": (NOTICES, "zeek_notice"), "name": (WEIRDS, "zeek_weird")}
"""Column that tells what a Zeek log is, its kind, and the vocabulary's part for it."""
PARTS = {
    ALERTS: ("suricata_category", "suricata_signature", "attack"),
    NOTICES: ("zeek_notice",),
    WEIRDS: ("zeek_weird",),
}
"""The vocabulary's parts with the words of each kind."""

UNSPECIFIED = "unspecified"
UNSET = ("", "-", "(empty)")
Entry = tuple[int, dict[str, Any]]
Told = tuple[str, tuple[str, ...], dict[str, str], tuple[str, str] | None]
"""What an entry tells: its name, tags, the cells of a rule, and the key."""


def kind_of(lines: list[str]) -> str:
    """Return the kind of verdicts that a file's first lines show, "" where they are none."""
    entries = [entry for _, entry in _entries(enumerate(lines, 1))]
    if any("event_type" in entry for entry in entries):
        return ALERTS
    header = next((line.split("\t")[1:] for line in lines if line.startswith("#fields")), None)
    columns = header or (list(entries[0]) if entries else [])
    if "ts" not in columns:
        return ""
    return NOTICES if "note" in columns else WEIRDS if "name" in columns and "peer" in columns else ""


def read_verdicts(path: Path, kind: str, vocabulary: Vocabulary, settings: LabelSettings) -> Truth:
    """Return the verdicts of a file as rules; entries that give no tag or name no flow are counted.

    Raises:
        LabelError: The file cannot be read, or an entry has a bad time or address; with line number.
    """
    reader = _Verdicts(kind, vocabulary, settings)
    try:
        lines = (
            (block.first_line + at, line)
            for block in line_blocks(path)
            for at, line in enumerate(block.text.decode("utf-8", "replace").split("\n"))
        )
        rules = [rule for line, entry in _entries(lines) for rule in reader.rules(entry, line, f"{path}, line {line}")]
    except RecordError as error:
        raise LabelError(f"The {kind} cannot be read", error.where, error.expected, error.received) from error
    return Truth(
        kind,
        tuple(rules),
        ignored=tuple(reader.ignored.items()),
        unmapped=tuple(reader.unmapped.items()),
        speaks_of=meant_by(PARTS[kind], vocabulary),
    )


def _entries(lines: Iterator[tuple[int, str]] | Any) -> Iterator[Entry]:  # noqa: ANN401 (what enumerate returns)
    """Yield the entries of JSON lines or of Zeek's tab-separated logs; a line that is neither says nothing."""
    columns: list[str] = []
    for number, line in lines:
        if line.startswith("{"):
            try:
                entry = json.loads(line)
            except (ValueError, RecursionError):
                continue
            yield number, entry
        elif line.startswith("#fields"):
            columns = line.rstrip("\r\n").split("\t")[1:]
        elif columns and line and not line.startswith("#"):
            cells = line.rstrip("\r\n").split("\t")
            yield number, {name: cell for name, cell in zip(columns, cells, strict=False) if cell not in UNSET}


class _Verdicts:
    """Entries of one kind on their way to rules."""

    def __init__(self, kind: str, vocabulary: Vocabulary, settings: LabelSettings) -> None:
        self._kind = kind
        self._vocabulary = vocabulary
        named = zone(settings.time_zone, "labels.time_zone") if settings.time_zone else None
        self._clock = Clock(named, round((settings.clock_offset_s or 0) * 1_000_000_000))
        self.ignored: Counter[str] = Counter()
        self.unmapped: Counter[str] = Counter()

    def rules(self, entry: dict[str, Any], line: int, where: str) -> Iterator[Rule]:
        """Yield the rules of an entry."""
        read = self._alert if self._kind == ALERTS else self._zeek
        told = read(entry)
        if told is None:
            return
        name, tags, cells, key = told
        if not tags:
            self.ignored["says nothing of an attack"] += 1
            return
        values = {column: read_cell(column, text, self._clock, where) for column, text in cells.items() if text}
        moment = values.pop("start", None)
        if moment is not None:
            values |= {"start_ns": moment, "end_ns": moment}
        ends = {"src_ip", "dst_ip"} & values.keys()
        if not ends and not key:
            self.ignored["names no flow"] += 1
        if ends:
            yield Rule(name, tags, line, **values)
        if key:
            timed = key[0] == "community_id"  # a uid is of one connection, a Community ID comes again
            yield Rule(name, tags, line, key=key, **{k: v for k, v in values.items() if k.endswith("_ns") and timed})

    def _alert(self, event: dict[str, Any]) -> Told | None:
        alert = event.get("alert")
        if event.get("event_type") != "alert" or not isinstance(alert, dict):
            self.ignored["is no alert"] += 1
            return None
        signature = str(alert.get("signature", "alert"))
        protocol = str(event.get("proto", ""))
        known = {"IPv6-ICMP": "icmpv6"}.get(protocol, protocol)
        ported = known.lower() in {"tcp", "udp", "sctp"}
        cells = {
            "start": _first(event, "timestamp"),
            "protocol": known if known.lower() in {"tcp", "udp", "sctp", "icmp", "icmpv6"} else "",
            "src_ip": _first(event, "src_ip"),
            "dst_ip": _first(event, "dest_ip"),
            "src_port": _first(event, "src_port") if ported else "",
            "dst_port": _first(event, "dest_port") if ported else "",
        }
        key = _first(event, "community_id")
        return signature, self._alert_tags(alert, signature), cells, ("community_id", key) if key else None

    def _alert_tags(self, alert: Mapping[str, Any], signature: str) -> tuple[str, ...]:
        """Return what technique ids, signature and category say together; `unspecified` only where it is alone."""
        metadata = alert.get("metadata") if isinstance(alert.get("metadata"), dict) else {}
        carried: set[str] = set()
        for word in ("mitre_technique_id", "mitre_tactic_id"):
            ids = (metadata or {}).get(word, [])
            for code in ids if isinstance(ids, list) else [ids]:
                carried.update(self._attack(str(code)))
        carried.update(self._vocabulary.tags_of("suricata_signature", signature) or ())
        category = str(alert.get("category") or "")
        meaning = self._vocabulary.tags_of("suricata_category", category)
        if meaning is None and not carried:
            self.unmapped[category or signature] += 1
        carried.update(meaning or ())
        if len(carried) > 1:
            carried.discard(UNSPECIFIED)
        return self._vocabulary.implied(carried)

    def _attack(self, code: str) -> tuple[str, ...]:
        exact = self._vocabulary.tags_of("attack", code)
        return (self._vocabulary.tags_of("attack", code.partition(".")[0]) if exact is None else exact) or ()

    def _zeek(self, entry: dict[str, Any]) -> Told | None:
        column = "note" if self._kind == NOTICES else "name"
        word = _first(entry, column)
        if not word:
            self.ignored["says nothing"] += 1
            return None
        tags = self._vocabulary.tags_of(ZEEK[column][1], word)
        if tags is None:
            self.unmapped[word] += 1
            return None
        whole = bool(_first(entry, "id.orig_h"))
        cells = {
            "start": _first(entry, "ts") if whole else "",  # a summary comes after the flows that it is about
            "protocol": _first(entry, "proto"),
            "src_ip": _first(entry, "id.orig_h", "src"),
            "dst_ip": _first(entry, "id.resp_h", "dst"),
            "src_port": _first(entry, "id.orig_p"),
            "dst_port": _first(entry, "id.resp_p", "p"),
        }
        if cells["protocol"] == "icmp":
            cells |= {"src_port": "", "dst_port": ""}
        key = _first(entry, "uid")
        return word, tags, cells, ("uid", key) if key else None


def _first(entry: Mapping[str, Any], *names: str) -> str:
    """Return the first of some entries that has a value, as text; an address in a scope of its own loses the scope."""
    text = next((str(entry[name]) for name in names if entry.get(name) not in {None, *UNSET}), "")
    if names[0].endswith(("_ip", "_h")) and "%" in text:
        return str(ipaddress.ip_address(text.partition("%")[0]))
    return text
