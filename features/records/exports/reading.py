"""Export streams to batches of columns: records of equal templates are gathered and decoded together.

A record's times become milliseconds since 1970, whatever clock its exporter used. Of options records only the
exporter's start is read.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from features.addresses import address_text
from features.records.adapter import Floats
from features.records.batch import Batch
from features.records.cells import Mask
from features.records.exports.datagrams import Datagram, export_datagrams
from features.records.exports.elements import ADDRESS_BYTES, NAMES, VARIABLE
from features.records.exports.messages import FIRST_DATA_SET, NETFLOW_5, NETFLOW_9, Fields, Message, Templates, shortest
from features.records.layout import Layout
from features.records.rejects import Rejects

GATHERED_RECORDS = 65_536
SAMPLING = "sampling"
"""The column of packets that one counted packet stands for, 1 where nothing is stated."""
ADDRESS_NAMES = frozenset(NAMES[number] for number in ADDRESS_BYTES)
MAPPED = np.frombuffer(bytes(10) + b"\xff\xff", np.uint8)
NTP_TO_UNIX_S = 2_208_988_800
ENDS = ("Start", "End")
STARTED = NAMES[160]

Bytes = npt.NDArray[np.uint8]


class _Heard(NamedTuple):
    """What a record's message says about all its records; arrays of shape (records,) once joined."""

    export_ms: Floats
    uptime_ms: Floats
    sampling: Floats
    frame: npt.NDArray[np.int64]


def read_exports(path: Path, layout: Layout, rejects: Rejects) -> Iterator[Batch]:
    """Yield the records of an export stream; a row's line is the number of its frame.

    Raises:
        CaptureError: The capture cannot be read to its end.
    """
    stream = _Stream(rejects)
    names = [name for name in layout.columns if name in layout.adapter.sources(layout.header)]
    for datagram in export_datagrams(path):
        if datagram is None:
            rejects.notes["export.other_frames"] += 1
            continue
        stream.take(datagram)
        if stream.records >= GATHERED_RECORDS:
            yield from stream.released(names)
    yield from stream.released(names)


class _Stream:
    """Records on their way from messages to columns, gathered by template.

    Attributes:
        records: How many are gathered.
    """

    def __init__(self, rejects: Rejects) -> None:
        self._rejects = rejects
        self._templates = Templates()
        self._expected: dict[tuple[object, ...], int] = {}
        self._started_ms: dict[tuple[object, ...], float] = {}
        self._gathered: dict[Fields, list[tuple[bytes, int, Message, int]]] = {}
        self.records = 0

    def take(self, datagram: Datagram) -> None:
        """Take the templates and records of a datagram, and account for what cannot be read."""
        if datagram.message is None:
            self._refuse("bad_export", datagram.number)
            return
        message = datagram.message
        for _ in range(self._templates.learn(datagram.exporter, message)):
            self._refuse("bad_template", datagram.number)
        counted: int | None = 0
        for number, body in message.sets:
            if number >= FIRST_DATA_SET or message.version == NETFLOW_5:
                found = self._data(datagram, message, number, body)
                counted = None if found is None or counted is None else counted + found
        self._follow(datagram.exporter, message, counted)

    def _refuse(self, reason: str, frame: int) -> None:
        self._rejects.saw(1)
        self._rejects.add(reason, [frame])

    def _data(self, datagram: Datagram, message: Message, number: int, body: bytes) -> int | None:
        """Gather the records of a set and return how many there are, None where that is not known."""
        template = self._templates.of(datagram.exporter, message, number)
        if template is None:
            self._refuse("no_template", datagram.number)
            return None
        body, fields, whole = _without_variable(body, template.fields)
        if not whole:
            self._refuse("bad_export", datagram.number)
        count = len(body) // max(shortest(fields), 1)
        if template.is_options:
            self._rejects.notes["export.options_records"] += count
            self._learn_start(datagram, message, fields, body)
        elif count:
            told = self._with_uptime(datagram.exporter, message)
            self._gathered.setdefault(fields, []).append(
                (body[: count * shortest(fields)], count, told, datagram.number)
            )
            self.records += count
        return count

    def _learn_start(self, datagram: Datagram, message: Message, fields: Fields, body: bytes) -> None:
        """Keep when the exporter started, if options say so: IPFIX headers have no uptime (RFC 7011 has it in 160)."""
        at = 0
        for field in fields:
            if field.name() == STARTED:
                started = float(int.from_bytes(body[at : at + field.length], "big"))
                self._started_ms[(datagram.exporter, message.domain)] = started
            at += field.length

    def _with_uptime(self, exporter: object, message: Message) -> Message:
        started = self._started_ms.get((exporter, message.domain))
        if message.uptime_ms is not None or started is None:
            return message
        return message._replace(uptime_ms=message.export_ms - started)

    def _follow(self, exporter: object, message: Message, records: int | None) -> None:
        """Count where the exporter's own counter says that messages are missing."""
        key = (exporter, message.version, message.domain)
        expected = self._expected.pop(key, None)
        if expected is not None and expected != message.sequence:
            self._rejects.notes["export.sequence_gaps"] += 1
        if message.version == NETFLOW_9:
            records = 1
        if records is not None:
            self._expected[key] = (message.sequence + records) & 0xFFFFFFFF

    def released(self, names: list[str]) -> Iterator[Batch]:
        """Yield what is gathered, a batch for each template."""
        for fields, parts in self._gathered.items():
            count = sum(records for _, records, _, _ in parts)
            raw = np.frombuffer(b"".join(body for body, _, _, _ in parts), np.uint8).reshape(count, -1)
            heard = _heard(parts)
            self._rejects.saw(count)
            columns = _columns(raw, fields, heard)
            yield Batch(
                {name: columns[name] if name in columns else _nothing(name, count) for name in names},
                partial(_frames_of, heard.frame),
            )
        self._gathered.clear()
        self.records = 0


def _frames_of(frames: npt.NDArray[np.int64], mask: Mask) -> list[int]:
    return frames[mask].tolist()


def _heard(parts: list[tuple[bytes, int, Message, int]]) -> _Heard:
    counts = [count for _, count, _, _ in parts]
    uptimes = [np.nan if message.uptime_ms is None else message.uptime_ms for _, _, message, _ in parts]
    return _Heard(
        np.repeat([message.export_ms for _, _, message, _ in parts], counts),
        np.repeat(np.array(uptimes, np.float64), counts),
        np.repeat(np.array([message.sampling for _, _, message, _ in parts], np.float64), counts),
        np.repeat([frame for _, _, _, frame in parts], counts),
    )


def _nothing(name: str, rows: int) -> pa.Array:
    return pa.nulls(rows, pa.string() if name in ADDRESS_NAMES else pa.float64())


def _without_variable(body: bytes, fields: Fields) -> tuple[bytes, Fields, bool]:
    """Return records without their fields of variable length, the other fields, and whether the set ended well."""
    if all(field.length != VARIABLE for field in fields):
        return body, fields, True
    kept: list[bytes] = []
    at = 0
    whole = True
    while whole and len(body) - at >= shortest(fields):
        record, at = _fixed_parts(body, at, fields)
        whole = at <= len(body)
        kept += record if whole else []
    return b"".join(kept), tuple(field for field in fields if field.length != VARIABLE), whole


def _fixed_parts(body: bytes, at: int, fields: Fields) -> tuple[list[bytes], int]:
    """Return one record's fields of fixed length, and where it ends."""
    record = []
    for field in fields:
        if field.length == VARIABLE:
            length, at = _said_length(body, at)
        else:
            length = field.length
            record.append(body[at : at + length])
        at += length
    return record, at


def _said_length(body: bytes, at: int) -> tuple[int, int]:
    """Return a variable field's length and where it begins: one byte, or 255 and two bytes (RFC 7011, 7)."""
    length = int.from_bytes(body[at : at + 1], "big")
    if length < 255:
        return length, at + 1
    return int.from_bytes(body[at + 1 : at + 3], "big"), at + 3


def _columns(raw: Bytes, fields: Fields, heard: _Heard) -> dict[str, pa.Array]:
    """Return the columns of records of one template, shape (n, record bytes); of a field named twice the first."""
    numbers: dict[str, Floats] = {}
    columns: dict[str, pa.Array] = {}
    at = 0
    for field in fields:
        cells = raw[:, at : at + field.length]
        at += field.length
        name = field.name()
        if name in ADDRESS_NAMES and name not in columns:
            columns[name] = _addresses(cells)
        elif name and name not in numbers:
            numbers[name] = _unsigned(cells)
    for end in ENDS:
        numbers[f"flow{end}Milliseconds"] = _milliseconds(end, numbers, heard)
    numbers[SAMPLING] = _sampling(numbers, heard)
    return columns | {name: pa.array(values, from_pandas=True) for name, values in numbers.items()}


def _unsigned(cells: Bytes) -> Floats:
    """Return big-endian numbers of up to 8 bytes, shape (n, bytes); IPFIX may write any in fewer than its type has."""
    wide = np.zeros((len(cells), 8), np.uint8)
    wide[:, 8 - cells.shape[1] :] = cells
    return wide.view(">u8").ravel().astype(np.float64)


def _addresses(cells: Bytes) -> pa.Array:
    """Return addresses as text; the unspecified one, which stands for none, is null."""
    if cells.shape[1] == 16:
        packed = np.ascontiguousarray(cells)
    else:
        packed = np.concatenate([np.broadcast_to(MAPPED, (len(cells), 12)), cells], axis=1)
    texts = address_text(packed)
    return pa.compute.if_else(pa.array(cells.any(axis=1)), texts, pa.scalar(None, pa.string()))


def _milliseconds(end: str, numbers: dict[str, Floats], heard: _Heard) -> Floats:
    """Return the start or end of records in milliseconds since 1970, NaN where no field says it.

    Microseconds and nanoseconds are NTP's: seconds since 1900 and a binary fraction (RFC 7011, 6.1.9). Uptimes wrap
    after 49.7 days, so only their difference to the exporter's uptime counts, as a signed number.
    """
    nothing = np.full(len(heard.export_ms), np.nan)
    found = numbers.get(f"flow{end}Milliseconds", nothing)
    found = np.where(np.isnan(found), numbers.get(f"flow{end}Seconds", nothing) * 1e3, found)
    for unit in ("Microseconds", "Nanoseconds"):
        ticks = numbers.get(f"flow{end}{unit}", nothing)
        found = np.where(np.isnan(found), (ticks / 2**32 - NTP_TO_UNIX_S) * 1e3, found)
    found = np.where(
        np.isnan(found), heard.export_ms - numbers.get(f"flow{end}DeltaMicroseconds", nothing) / 1e3, found
    )
    uptime = numbers.get(f"flow{end}SysUpTime", nothing)
    ago = (heard.uptime_ms - uptime + 2**31) % 2**32 - 2**31
    found = np.where(np.isnan(found), heard.export_ms - ago, found)
    since_start = numbers.get(STARTED, nothing) + uptime
    found = np.where(np.isnan(found), since_start, found)
    return np.where(np.isnan(found), numbers.get("observationTimeMilliseconds", nothing), found)


def _sampling(numbers: dict[str, Floats], heard: _Heard) -> Floats:
    """Return how many packets one counted packet stands for: what the record states, else its message, else 1."""
    nothing = np.full(len(heard.sampling), np.nan)
    stated = numbers.get("samplingInterval", nothing)
    taken = numbers.get("samplingPacketInterval", nothing)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = (taken + numbers.get("samplingPacketSpace", nothing)) / taken
    stated = np.where(np.isnan(stated), share, stated)
    return np.where(np.isfinite(stated) & (stated >= 1), stated, heard.sampling)


EXPORT_COLUMNS = frozenset([f"flow{end}Milliseconds" for end in ENDS] + [SAMPLING])
"""Columns that every export stream has, whatever its templates."""
