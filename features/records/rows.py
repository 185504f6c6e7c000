"""Source rows to rows of targets: cells parsed, units converted, rows that cannot be true left out with their reason.

A row of targets has `start` and `end` (int64 nanoseconds), `src` and `dst` (16 bytes), `version`, texts, and every
number as float64 with NaN for null; each only if the file gives it.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.columns import has_ports
from features.records.adapter import ADDRESSES, PORTS, TEXTS, TIMES, Floats, Given, Numbers, Records
from features.records.batch import Batch
from features.records.cells import Cells, Mask, addresses, is_not_ip, numbers, ports, protocols
from features.records.derive import with_totals
from features.records.layout import Layout
from features.records.reading import LABEL, read_batches
from features.records.rejects import Rejects
from features.records.times import UNSET, Nanoseconds, Writing, times

NS_PER_S = 1e9
LONGEST_S = 1e9
YEAR_1971_NS = 31_536_000 * 1_000_000_000
LARGEST = 2.0**53
"""No flow has as many packets, bytes or seconds, and beyond it a double no longer counts."""
CORE = ("duration_s", "packets", "bytes", "fwd_packets", "bwd_packets", "fwd_bytes", "bwd_bytes")
"""Numbers that make a row unbelievable when they are negative or huge; others are then read as no value."""
SIGNED = ("protocol", "first_payload_")
REAL_ADDRESS = pa.binary(16)


def row_schema(targets: set[str]) -> pa.Schema:
    """Return the schema of rows that have some targets."""
    fields: list[tuple[str, pa.DataType]] = []
    if has_times(targets):
        fields += [(name, pa.int64()) for name in TIMES]
    if has_addresses(targets):
        fields += [("src", REAL_ADDRESS), ("dst", REAL_ADDRESS), ("version", pa.uint8())]
    fields += [(name, pa.string()) for name in TEXTS if name in targets]
    return pa.schema(fields + [(name, pa.float64()) for name in number_targets(targets)])


def has_times(targets: set[str]) -> bool:
    """Return whether rows with these targets have start and end."""
    return not targets.isdisjoint(TIMES)


def has_addresses(targets: set[str]) -> bool:
    """Return whether rows with these targets have both addresses."""
    return targets.issuperset(ADDRESSES)


def number_targets(targets: set[str]) -> list[str]:
    """Return the numbers of rows with these targets; the duration follows from the times."""
    numbers_given = targets - {*TIMES, *ADDRESSES, *TEXTS}
    completed = set(with_totals({name: np.empty(0) for name in numbers_given}))
    return sorted(completed | ({"duration_s"} if targets.issuperset(TIMES) else set()))


def read_rows(path: Path, layout: Layout, zone: str, rejects: Rejects) -> Iterator[pa.RecordBatch]:
    """Yield a file's rows of targets, in the schema of its own targets.

    Raises:
        RecordError: The file cannot be read, or too many of its rows are malformed.
    """
    rejects.begin(path)
    clock: bool | None = None
    for batch in read_batches(path, layout, rejects):
        rows = _Rows(layout, zone, batch, rejects)
        if clock is None:
            clock = rows.began_in_1970()
        if not clock:
            rows.refuse_1970()
        made = rows.made()
        rejects.judge(complete=False)
        if made.num_rows:
            yield made
    rejects.judge(complete=True)


class _Rows:
    """The rows of one batch on their way."""

    def __init__(self, layout: Layout, zone: str, batch: Batch, rejects: Rejects) -> None:
        self._layout = layout
        self._zone = zone
        self._targets = layout.targets()
        self._lines = batch.lines
        self._rejects = rejects
        self._total = len(next(iter(batch.columns.values())))
        self._raw = batch.columns
        self._kept = np.arange(self._total)
        self._leave_out_other_kinds()
        self._reasons: dict[str, Mask] = {}
        self._parse()

    def _leave_out_other_kinds(self) -> None:
        """Take out rows that are no flow records, before their cells are parsed."""
        empty = _empty(self._raw, self._total)
        flows = ~empty & self._layout.adapter.keep(self._raw)
        ip = np.ones(self._total, bool)
        for given in self._layout.adapter.given:
            if given.target == "protocol" and given.sources(self._layout.header):
                ip = ~is_not_ip(self._column(given))
        for reason, mask in (("empty", empty), ("not_a_flow", ~empty & ~flows), ("not_ip", flows & ~ip)):
            if mask.any():
                self._rejects.add(reason, self._lines(mask))
        if not (flows & ip).all():
            self._kept = np.flatnonzero(flows & ip)
            self._raw = {name: column.take(pa.array(self._kept)) for name, column in self._raw.items()}

    def _column(self, given: Given) -> pa.Array:
        return self._first_of(given.sources(self._layout.header))

    def _first_of(self, names: list[str]) -> pa.Array:
        found = [self._raw[name] for name in names]
        if len({column.type for column in found}) > 1:
            found = [column.cast(pa.string()) for column in found]
        return pc.coalesce(*found) if len(found) > 1 else found[0]

    def _parse(self) -> None:
        self._numbers: Numbers = {}
        self._texts: dict[str, pa.Array] = {}
        self._packed: dict[str, pa.Array] = {}
        self._version = np.zeros(len(self._kept), np.uint8)
        self._times: dict[str, Nanoseconds] = {}
        for given in self._layout.adapter.given:
            if given.sources(self._layout.header):
                self._parse_one(given)
        self._forgive_ports()
        self._add_more()
        self._finish_numbers()
        if has_times(self._targets):
            self._finish_times()

    def _parse_one(self, given: Given) -> None:
        column = self._column(given)
        if given.target in TIMES:
            parsed = times(column, Writing(given.factor, self._zone, given.month_first))
            self._times[given.target] = parsed.values
            self._refuse("bad_time", parsed.bad)
        elif given.target in ADDRESSES:
            self._parse_address(given.target, column)
        elif given.target in TEXTS:
            text = column.cast(pa.string())
            self._texts[given.target] = _in_our_words(_trimmed(text) if given.target == LABEL else text, given.words)
        else:
            self._parse_number(given, column)

    def _parse_address(self, target: str, column: pa.Array) -> None:
        parsed = addresses(column)
        self._packed[target.removesuffix("_ip")] = pa.Array.from_buffers(
            REAL_ADDRESS, len(parsed.packed), [None, pa.py_buffer(parsed.packed)]
        )
        self._version = np.maximum(self._version, parsed.version)
        self._refuse("bad_address", parsed.bad)
        self._refuse("no_address", parsed.version == 0)

    def _parse_number(self, given: Given, column: pa.Array) -> None:
        read = ports if given.target in PORTS else protocols if given.target == "protocol" else numbers
        cells: Cells = read(column)
        names = {"protocol": "bad_protocol", **dict.fromkeys(PORTS, "bad_port")}
        self._refuse(names.get(given.target, "bad_number"), cells.bad)
        values = np.where(np.isin(cells.values, given.unset), np.nan, cells.values) if given.unset else cells.values
        if given.minus:
            less = numbers(self._first_of(given.subtracted(self._layout.header)))
            self._refuse("bad_number", less.bad)
            values = values - less.values * given.minus_factor
        self._numbers[given.target] = values if given.factor == 1 else values * given.factor

    def _forgive_ports(self) -> None:
        """Take port cells for what they please where the protocol has none: ICMP's hold type and code in many ways."""
        if "bad_port" in self._reasons and "protocol" in self._numbers:
            protocol = self._numbers["protocol"]
            self._reasons["bad_port"] &= np.isnan(protocol) | has_ports({"protocol": protocol})

    def _add_more(self) -> None:
        adapter = self._layout.adapter
        raw = {name: _encoded(column) for name, column in self._raw.items() if name in adapter.raw}
        self._numbers |= adapter.more(Records(raw, self._numbers, self._version))

    def _finish_numbers(self) -> None:
        self._numbers = with_totals(self._numbers)
        for name, values in self._numbers.items():
            if name.startswith(SIGNED):
                continue
            below = "negative_duration" if name == "duration_s" else "negative_number"
            for reason, impossible in ((below, values < 0), ("huge_number", values > LARGEST)):
                if impossible.any():
                    self._refuse(reason, impossible & (name in CORE))
                    self._numbers[name] = np.where(impossible, np.nan, self._numbers[name])

    def _finish_times(self) -> None:
        """Complete start, end and duration from two of them."""
        start, end = _completed(self._times, self._numbers.get("duration_s"))
        missing = (start == UNSET) | (end == UNSET)
        self._refuse("no_time", missing)
        self._refuse("negative_duration", ~missing & (end < start))
        if self._targets.issuperset(TIMES):
            lasted = np.where(missing, np.nan, (end - start) / NS_PER_S)
            duration = self._numbers.get("duration_s", lasted)
            self._numbers["duration_s"] = np.where(np.isnan(duration), lasted, duration)
        self._times = {"start": start, "end": end}

    def _refuse(self, reason: str, mask: Mask) -> None:
        """Mark rows as malformed; a row's first reason counts."""
        if mask.any():
            self._reasons[reason] = self._reasons.get(reason, np.zeros(len(mask), bool)) | mask

    def began_in_1970(self) -> bool:
        """Return whether most rows are of 1970: the clock of such a file began at its first packet."""
        start = self._times.get("start", np.empty(0, np.int64))
        start = start[start != UNSET]
        return len(start) > 0 and bool(np.median(start) < YEAR_1971_NS)

    def refuse_1970(self) -> None:
        """Mark rows of 1970 as malformed, in a file of another time they had no clock."""
        if "start" in self._times:
            start = self._times["start"]
            self._refuse("year_1970", (start != UNSET) & (start < YEAR_1971_NS))

    def made(self) -> pa.RecordBatch:
        """Return the rows that are well, and account for the others."""
        bad = np.zeros(len(self._kept), bool)
        for reason, mask in self._reasons.items():
            first = np.zeros(self._total, bool)
            first[self._kept[mask & ~bad]] = True
            self._rejects.add(reason, self._lines(first))
            bad |= mask
        rows = self._record_batch()
        return rows.take(pa.array(np.flatnonzero(~bad))) if bad.any() else rows

    def _record_batch(self) -> pa.RecordBatch:
        schema = row_schema(self._targets)
        columns = {
            **self._packed,
            **self._texts,
            "version": self._version,
            **self._times,
            **self._numbers,
        }
        nothing = np.full(len(self._kept), np.nan)
        return pa.RecordBatch.from_arrays(
            [pa.array(columns.get(name, nothing)) for name in schema.names], schema=schema
        )


def _empty(columns: Mapping[str, pa.Array], rows: int) -> Mask:
    """Return True for rows without any value: sheets end with lines of nothing but separators."""
    empty = np.ones(rows, bool)
    for column in columns.values():
        if not column.null_count:
            return np.zeros(rows, bool)
        empty &= column.is_null().to_numpy(zero_copy_only=False)
    return empty


def _encoded(column: pa.Array) -> pa.Array:
    """Return texts as a dictionary, so that whoever asks reads each different one once."""
    return column.dictionary_encode() if pa.types.is_string(column.type) else column


def _trimmed(column: pa.Array) -> pa.Array:
    """Return texts without blanks around them, null where nothing is left."""
    plain = pc.utf8_trim_whitespace(column)
    return pc.if_else(pc.equal(plain, ""), pa.scalar(None, pa.string()), plain)


def _in_our_words(column: pa.Array, words: tuple[tuple[str, str], ...]) -> pa.Array:
    if not words:
        return column
    theirs, ours = zip(*words, strict=True)
    return pa.array(ours, pa.string()).take(pc.index_in(column, pa.array(theirs, pa.string())))


def _completed(given: dict[str, Nanoseconds], duration: Floats | None) -> tuple[Nanoseconds, Nanoseconds]:
    """Return start and end, the one that is not given from the other and the duration; without it they are equal."""
    known = given.get("start", given.get("end", np.empty(0, np.int64)))
    lasted = np.zeros(len(known)) if duration is None else np.nan_to_num(duration)
    span = np.rint(np.clip(lasted, -LONGEST_S, LONGEST_S) * NS_PER_S).astype(np.int64)
    start, end = given.get("start"), given.get("end")
    if start is None:
        return np.where(known == UNSET, UNSET, known - span), known
    if end is None:
        return known, np.where(known == UNSET, UNSET, known + span)
    return start, end
