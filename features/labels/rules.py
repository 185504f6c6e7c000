"""Labelling rules: who attacked whom and when, as CSV, turned into tags on flows.

A rule matches a flow in either direction whose packets overlap its time. Empty cells match anything. A flow carries
the union of the tags of all rules that match it; a flow that none matches is benign.
"""

import csv
import ipaddress
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from features.addresses import Words, address_words, network_words
from features.errors import LabelError
from features.labels.vocabulary import Vocabulary
from features.schema import labelled_schema

COLUMNS = ("name", "tags", "start", "end", "protocol", "src_ip", "src_port", "dst_ip", "dst_port")
PROTOCOLS = {"icmp": 1, "tcp": 6, "udp": 17, "gre": 47, "icmpv6": 58, "sctp": 132}
ANY_PORT = (0, 65_535)
FOREVER = (-(2**63), 2**63 - 1)
NO_TIME = {"start": FOREVER[1], "end": FOREVER[0]}  # overlaps no rule that has a time

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Rule:
    """One line of truth; None matches anything, ranges include both ends, times are nanoseconds UTC."""

    name: str
    tags: tuple[str, ...]
    line: int
    start_ns: int = FOREVER[0]
    end_ns: int = FOREVER[1]
    protocol: int | None = None
    src_ip: Network | None = None
    src_port: tuple[int, int] | None = None
    dst_ip: Network | None = None
    dst_port: tuple[int, int] | None = None


def read_rules(path: Path, vocabulary: Vocabulary) -> tuple[Rule, ...]:
    """Return the rules of a CSV file with the columns of COLUMNS, in order.

    Times are epoch seconds or ISO 8601 with a zone; addresses may be CIDR blocks, ports ranges such as 8000-8100,
    protocols numbers or names; several tags are separated by semicolons.

    Raises:
        LabelError: A column is missing, a cell cannot be read, or a tag is not in the vocabulary; with line number.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
            if missing:
                raise LabelError("The rules lack columns", str(path), ",".join(COLUMNS), f"no {', '.join(missing)}")
            return tuple(_rule(row, reader.line_num, path, vocabulary) for row in reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise LabelError(
            "The rules cannot be read", str(path), f"a CSV file with {','.join(COLUMNS)}", str(error)
        ) from error


def _rule(row: dict[str, str], line: int, path: Path, vocabulary: Vocabulary) -> Rule:
    where = f"{path}, line {line}"
    cells = {name: (row[name] or "").strip() for name in COLUMNS}
    tags = tuple(filter(None, (tag.strip() for tag in cells["tags"].split(";"))))
    if not tags:
        raise LabelError("A rule without tags", where, "one tag or several, separated by semicolons")
    vocabulary.check(tags, where)
    values = {name: _cell(name, cells[name], where) for name in COLUMNS[2:] if cells[name]}
    start, end = values.pop("start", FOREVER[0]), values.pop("end", FOREVER[1])
    if start > end:
        raise LabelError("A rule ends before it starts", where, "start <= end", f"{cells['start']} to {cells['end']}")
    return Rule(cells["name"], tags, line, start, end, **values)


def _cell(name: str, text: str, where: str) -> Any:  # noqa: ANN401 (a time, a number, a network or a range)
    readers: dict[str, Callable[[str], Any]] = {"start": _time, "end": _time, "protocol": _protocol}
    read = readers.get(name, _network if name.endswith("_ip") else _ports)
    try:
        return read(text)
    except (ValueError, InvalidOperation) as error:
        expected = {"start": "epoch seconds or 2026-03-01T08:00:00+00:00", "protocol": "a number or tcp, udp, icmp"}
        hint = expected.get(name, expected["start"] if name == "end" else "an address, a CIDR block, a port or a range")
        raise LabelError(f"A rule has a bad {name}", where, hint, repr(text)) from error


def _time(text: str) -> int:
    try:
        seconds = Decimal(text)
    except InvalidOperation:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            raise ValueError("no time zone") from None
        seconds = Decimal(str(moment.timestamp()))
    nanoseconds = int(seconds * 1_000_000_000)
    if not 0 <= nanoseconds < 2**63:
        raise ValueError("outside 1970 to 2262")
    return nanoseconds


def _protocol(text: str) -> int:
    number = PROTOCOLS.get(text.lower(), -1) if not text.isdigit() else int(text)
    if not 0 <= number <= 255:
        raise ValueError("no such protocol")
    return number


def _network(text: str) -> Network:
    return ipaddress.ip_network(text, strict=False)


def _ports(text: str) -> tuple[int, int]:
    low, _, high = text.partition("-")
    ports = int(low), int(high or low)
    if not 0 <= ports[0] <= ports[1] <= ANY_PORT[1]:
        raise ValueError("no such ports")
    return ports


class Labeller:
    """Adds the columns `tags` and `rules` to feature rows and counts what each rule matched.

    Attributes:
        flows_per_rule: Flows matched, by position in `rules`.
        flows_per_tag: Flows that carry each tag.
        benign: Flows that no rule matched.
    """

    def __init__(self, rules: tuple[Rule, ...], vocabulary: Vocabulary) -> None:
        self._rules = rules
        self._vocabulary = vocabulary
        carried = [[tag in rule.tags for tag in vocabulary.names] for rule in rules]
        self._tags_of_rule = np.array(carried, np.int64).reshape(len(rules), len(vocabulary.names))
        self.flows_per_rule = np.zeros(len(rules), np.int64)
        self.flows_per_tag: Counter[str] = Counter()
        self.benign = 0

    def label(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Yield each batch with its tags (in the vocabulary's order) and the names of the rules that matched."""
        for batch in batches:
            matches = match(self._rules, batch)
            tags = matches.astype(np.int64) @ self._tags_of_rule > 0
            self.flows_per_rule += matches.sum(axis=0)
            self.flows_per_tag.update(dict(zip(self._vocabulary.names, tags.sum(axis=0).tolist(), strict=True)))
            self.benign += int((~tags.any(axis=1)).sum())
            lists = [_named(tags, self._vocabulary.names), _named(*self._by_name(matches))]
            yield pa.RecordBatch.from_arrays([*batch.columns, *lists], schema=labelled_schema())

    def unmatched(self) -> list[Rule]:
        """Return the rules that matched no flow so far."""
        return [rule for rule, flows in zip(self._rules, self.flows_per_rule, strict=True) if not flows]

    def _by_name(self, matches: Mask) -> tuple[Mask, tuple[str, ...]]:
        names = tuple(dict.fromkeys(rule.name for rule in self._rules))
        merged = np.zeros((len(matches), len(names)), bool)
        for column, rule in zip(matches.T, self._rules, strict=True):
            merged[:, names.index(rule.name)] |= column
        return merged, names


def _named(member: Mask, names: tuple[str, ...]) -> pa.ListArray:
    """Return for each row the names of its True columns, in order."""
    offsets = np.concatenate([[0], np.cumsum(member.sum(axis=1))]).astype(np.int32)
    return pa.ListArray.from_arrays(offsets, pa.array(names, pa.string()).take(pa.array(np.nonzero(member)[1])))


def match(rules: tuple[Rule, ...], batch: pa.RecordBatch) -> Mask:
    """Return which rule matches which flow, shape (n_flows, n_rules)."""
    flows = _Flows(batch)
    return np.array([flows.matching(rule) for rule in rules], bool).reshape(len(rules), batch.num_rows).T


class _Flows:
    """The identity columns of a batch, ready for many rules."""

    def __init__(self, batch: pa.RecordBatch) -> None:
        times = (pc.fill_null(batch.column(name).cast(pa.int64()), NO_TIME[name]) for name in ("start", "end"))
        self._start, self._end = (time.to_numpy(zero_copy_only=False) for time in times)
        self._protocol = pc.fill_null(batch.column("protocol"), -1).to_numpy(zero_copy_only=False)
        self._ports = {
            side: pc.fill_null(batch.column(f"{side}_port"), -1).to_numpy(zero_copy_only=False)
            for side in ("src", "dst")
        }
        self._addresses = {side: _coded(batch.column(f"{side}_ip")) for side in ("src", "dst")}

    def matching(self, rule: Rule) -> Mask:
        """Return True where the flow overlaps the rule's time and has its ends, in either direction."""
        overlaps = (self._end >= rule.start_ns) & (self._start <= rule.end_ns)
        if rule.protocol is not None:
            overlaps &= self._protocol == rule.protocol
        return overlaps & (self._between(rule, "src", "dst") | self._between(rule, "dst", "src"))

    def _between(self, rule: Rule, attacker: str, target: str) -> Mask:
        ends = ((attacker, rule.src_ip, rule.src_port), (target, rule.dst_ip, rule.dst_port))
        matching = np.ones(len(self._start), bool)
        for side, network, ports in ends:
            if network is not None:
                codes, words = self._addresses[side]
                address, mask = network_words(network)
                members = ((words & mask) == address).all(axis=1)
                matching &= np.append(members, False)[codes]  # the last one is for flows without an address
            if ports is not None:
                matching &= (self._ports[side] >= ports[0]) & (self._ports[side] <= ports[1])
        return matching


def _coded(addresses: pa.Array) -> tuple[npt.NDArray[np.int32], Words]:
    encoded = addresses.dictionary_encode()
    codes = pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False)
    return codes, address_words(encoded.dictionary.to_pylist())
