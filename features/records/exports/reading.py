"""Export streams to batches of columns: records of equal templates are gathered and decoded together.

A record's times become milliseconds since 1970, whatever clock its exporter used. Of options records the exporter's
start and its samplers are read. Data sets wait for their templates.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from features.records.adapter import Floats
from features.records.batch import Batch
from features.records.cells import Mask
from features.records.exports.counters import Counted, Counters
from features.records.exports.datagrams import Datagram, export_datagrams
from features.records.exports.decoding import (
    ADDRESS_NAMES,
    ENDED,
    STARTED,
    Heard,
    columns_of,
    numbers_of,
    without_variable,
)
from features.records.exports.elements import NOBODY, VARIABLE
from features.records.exports.messages import FIRST_DATA_SET, NETFLOW_5, Fields, Message, Template, Templates, shortest
from features.records.exports.samplers import NAMERS, Samplers
from features.records.layout import Layout
from features.records.rejects import Rejects

GATHERED_RECORDS = 65_536
WAITING_BYTES = 1 << 26
"""Of data sets that are kept until their template comes."""
LONGEST_PADDING = 3


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
    stream.finish()
    yield from stream.released(names)


class _Part(NamedTuple):
    """Records of one set: their bytes, how many, source, message, the number of its frame, the sampling of each."""

    body: bytes
    records: int
    source: tuple[object, ...]
    message: Message
    frame: int
    sampling: Floats


class _Waiting(NamedTuple):
    """A data set that came before its template."""

    datagram: Datagram
    message: Message
    number: int
    body: bytes


class _Stream:
    """Records on their way from messages to columns, gathered by template.

    Attributes:
        records: How many are gathered.
    """

    def __init__(self, rejects: Rejects) -> None:
        self._rejects = rejects
        self._templates = Templates()
        self._samplers = Samplers(rejects.notes)
        self._counters = Counters(rejects.notes)
        self._started_ms: dict[tuple[object, ...], float] = {}
        self._guessed_ms: dict[tuple[object, ...], float] = {}
        self._gathered: dict[Fields, list[_Part]] = {}
        self._waiting: dict[tuple[object, ...], list[_Waiting]] = {}
        self._waiting_bytes = 0
        self.records = 0

    def take(self, datagram: Datagram) -> None:
        """Take the templates and records of a datagram, and account for what cannot be read."""
        if datagram.message is None:
            self._refuse("bad_export", datagram.number)
            return
        message = datagram.message
        for _ in range(self._templates.learn(datagram.exporter, message)):
            self._refuse("bad_template", datagram.number)
        self._take_waiting(_source(datagram, message))
        counted = Counted()
        for number, body in message.sets:
            if number >= FIRST_DATA_SET or message.version == NETFLOW_5:
                counted = counted.and_set(*self._set(_Waiting(datagram, message, number, body)))
        self._counters.follow(_source(datagram, message), message, counted)

    def _refuse(self, reason: str, frame: int) -> None:
        self._rejects.saw(1)
        self._rejects.add(reason, [frame])

    def _set(self, given: _Waiting) -> tuple[int | None, bool]:
        """Take a data set; return how many records it has, None where that is not known, and whether they are flows."""
        template = self._templates.of(given.datagram.exporter, given.message, given.number)
        if template is None:
            self._wait(given)
            return None, True
        return self._data(given, template), not template.is_options

    def _wait(self, given: _Waiting) -> None:
        """Keep a set until its template comes, as far as there is room."""
        if self._waiting_bytes + len(given.body) > WAITING_BYTES:
            self._refuse("no_template", given.datagram.number)
            return
        self._waiting_bytes += len(given.body)
        self._waiting.setdefault(_source(given.datagram, given.message), []).append(given)

    def _take_waiting(self, source: tuple[object, ...]) -> None:
        """Read the sets of a source that waited for templates which are there now."""
        if source not in self._waiting:
            return
        waited = self._waiting.pop(source)
        self._waiting_bytes -= sum(len(given.body) for given in waited)
        for given in waited:
            template = self._templates.of(given.datagram.exporter, given.message, given.number)
            if template and not _may_hold(template.fields, given.body):
                self._refuse("no_template", given.datagram.number)
                continue
            if template:
                self._rejects.notes["export.waited_sets"] += 1
            self._set(given)

    def finish(self) -> None:
        """Account for the sets whose templates never came."""
        for given in (given for waited in self._waiting.values() for given in waited):
            self._refuse("no_template", given.datagram.number)
        self._waiting.clear()

    def _data(self, given: _Waiting, template: Template) -> int:
        """Gather the records of a set, or learn from its options, and return how many there are."""
        body, fields, whole = without_variable(given.body, template.fields)
        if not whole:
            self._refuse("bad_export", given.datagram.number)
        count = len(body) // max(shortest(fields), 1)
        body = body[: count * shortest(fields)]
        source = _source(given.datagram, given.message)
        if template.is_options:
            self._rejects.notes["export.options_records"] += count
            if count:
                self._learn(source, numbers_of(body, count, fields))
        elif count:
            told = self._with_uptime(source, given.message)
            named = tuple(
                field if field.name() in (*NAMERS, ENDED) else field._replace(enterprise=NOBODY) for field in fields
            )
            numbers = numbers_of(body, count, named)
            if told.uptime_ms is None and ENDED in numbers:
                earliest = told.export_ms - float(numbers[ENDED].max())
                self._guessed_ms[source] = min(earliest, self._guessed_ms.get(source, earliest))
            sampling = self._samplers.of(source, numbers, count)
            part = _Part(body, count, source, told, given.datagram.number, sampling)
            self._gathered.setdefault(fields, []).append(part)
            self.records += count
        return count

    def _learn(self, source: tuple[object, ...], numbers: dict[str, Floats]) -> None:
        """Keep samplers and when the exporter started, if options say so: IPFIX headers have no uptime."""
        self._samplers.learn(source, numbers)
        if STARTED in numbers:
            self._started_ms[source] = float(numbers[STARTED][-1])

    def _with_uptime(self, source: tuple[object, ...], message: Message) -> Message:
        started = self._started_ms.get(source)
        if message.uptime_ms is not None or started is None:
            return message
        return message._replace(uptime_ms=message.export_ms - started)

    def _dated(self, part: _Part) -> _Part:
        """Return records whose exporter told neither uptime nor start with the latest start that their ends allow."""
        if part.message.uptime_ms is not None or part.source not in self._guessed_ms:
            return part
        self._rejects.notes["export.guessed_starts"] += part.records
        uptime = part.message.export_ms - self._guessed_ms[part.source]
        return part._replace(message=part.message._replace(uptime_ms=uptime))

    def released(self, names: list[str]) -> Iterator[Batch]:
        """Yield what is gathered, a batch for each template."""
        for fields, parts in self._gathered.items():
            count = sum(part.records for part in parts)
            raw = np.frombuffer(b"".join(part.body for part in parts), np.uint8).reshape(count, -1)
            heard = _heard([self._dated(part) for part in parts])
            self._rejects.saw(count)
            columns = columns_of(raw, fields, heard)
            yield Batch(
                {name: columns[name] if name in columns else _nothing(name, count) for name in names},
                partial(_frames_of, heard.frame),
            )
        self._gathered.clear()
        self.records = 0


def _may_hold(fields: Fields, body: bytes) -> bool:
    """Tell whether a set may be of records of these fields: a template that came later may be of another time."""
    variable = any(field.length == VARIABLE for field in fields)
    return variable or len(body) % shortest(fields) <= LONGEST_PADDING


def _frames_of(frames: npt.NDArray[np.int64], mask: Mask) -> list[int]:
    return frames[mask].tolist()


def _source(datagram: Datagram, message: Message) -> tuple[object, ...]:
    """Return what templates, samplers and counters hold for: address, port, version and domain."""
    return (datagram.exporter, message.version, message.domain)


def _heard(parts: list[_Part]) -> Heard:
    counts = [part.records for part in parts]
    uptimes = [np.nan if part.message.uptime_ms is None else part.message.uptime_ms for part in parts]
    sampling = np.concatenate([part.sampling for part in parts])
    by_message = np.repeat([float(part.message.sampling) for part in parts], counts)
    return Heard(
        np.repeat([part.message.export_ms for part in parts], counts),
        np.repeat(np.array(uptimes, np.float64), counts),
        np.where(np.isnan(sampling), by_message, sampling),
        np.repeat([part.frame for part in parts], counts),
    )


def _nothing(name: str, rows: int) -> pa.Array:
    return pa.nulls(rows, pa.string() if name in ADDRESS_NAMES else pa.float64())
