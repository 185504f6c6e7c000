"""Export messages: headers of NetFlow 5, NetFlow 9 and IPFIX, their sets, and the templates that sets bring.

Source: RFC 3954 (version 9), RFC 7011 (IPFIX), Cisco's NetFlow Export Datagram Format (version 5).
"""

import struct
from collections.abc import Iterator
from typing import NamedTuple

from features.records.exports.elements import NOBODY, VARIABLE, VERSION_5, Field

NETFLOW_5, NETFLOW_9, IPFIX = 5, 9, 10
HEADER_BYTES = {NETFLOW_5: 24, NETFLOW_9: 20, IPFIX: 16}
RECORD_5_BYTES = 48
MOST_RECORDS_5 = 30
FIRST_DATA_SET = 256
TEMPLATE_SETS = (0, 2)
OPTIONS_SETS = (1, 3)
MOST_TEMPLATES = 65_536
"""Templates kept over all exporters: no exporter has so many, and a hostile one cannot fill the memory."""

Fields = tuple[Field, ...]


class Message(NamedTuple):
    """One export message.

    Attributes:
        version: 5, 9 or 10.
        domain: Source id or observation domain; for version 5 engine type and id.
        sequence: The exporter's counter: of flows (5), messages (9) or data records (10).
        export_ms: Time of export, milliseconds since 1970.
        uptime_ms: The exporter's uptime then; None where it is not told, as in IPFIX.
        sampling: Packets one seen packet stands for, where version 5's header says so, else 1.
        sets: Set id and contents; of version 5 its records as set 5.
    """

    version: int
    domain: int
    sequence: int
    export_ms: float
    uptime_ms: float | None
    sampling: int
    sets: tuple[tuple[int, bytes], ...]


def parse_message(payload: bytes) -> Message | None:
    """Return the export message that a datagram holds, None when its lengths are those of no such message."""
    version = int.from_bytes(payload[:2], "big")
    if len(payload) < HEADER_BYTES.get(version, len(payload) + 1):
        return None
    if version == NETFLOW_5:
        return _version_5(payload)
    if version == NETFLOW_9:
        uptime, seconds, sequence, domain = struct.unpack_from("!IIII", payload, 4)
        sets = _sets(payload[HEADER_BYTES[NETFLOW_9] :], TEMPLATE_SETS[0], OPTIONS_SETS[0])
        return None if sets is None else Message(9, domain, sequence, seconds * 1000.0, uptime, 1, sets)
    length, seconds, sequence, domain = struct.unpack_from("!HIII", payload, 2)
    sets = _sets(payload[HEADER_BYTES[IPFIX] :], TEMPLATE_SETS[1], OPTIONS_SETS[1])
    if sets is None or length != len(payload):
        return None
    return Message(IPFIX, domain, sequence, seconds * 1000.0, None, 1, sets)


def _version_5(payload: bytes) -> Message | None:
    count, uptime, seconds, ns, sequence, engine, sampling = struct.unpack_from("!HIIIIHH", payload, 2)
    body = payload[HEADER_BYTES[NETFLOW_5] :]
    if not 1 <= count <= MOST_RECORDS_5 or len(body) != count * RECORD_5_BYTES:
        return None
    stated = sampling & 0x3FFF if sampling >> 14 else 1
    return Message(NETFLOW_5, engine, sequence, seconds * 1e3 + ns / 1e6, uptime, max(stated, 1), ((NETFLOW_5, body),))


def _sets(body: bytes, template: int, options: int) -> tuple[tuple[int, bytes], ...] | None:
    """Return the sets of a message, None where their lengths do not add up or an id means nothing."""
    sets = []
    at = 0
    while at < len(body):
        if len(body) - at < 4:
            return None
        number, length = struct.unpack_from("!HH", body, at)
        known = number in (template, options) or number >= FIRST_DATA_SET
        if length < 4 or at + length > len(body) or not known:
            return None
        sets.append((number, body[at + 4 : at + length]))
        at += length
    return tuple(sets)


class Template(NamedTuple):
    """The fields of a data set's records in order, and whether they are options: facts of the exporter, no flows."""

    fields: Fields
    is_options: bool = False


class Templates:
    """The templates that exporters have announced; each holds for its exporter, version and domain.

    Attributes:
        names: Names of the fields that some template has and that are read.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[object, ...], Template] = {}
        self.names: set[str] = set()

    def of(self, exporter: object, message: Message, number: int) -> Template | None:
        """Return the template of a data set, None when it was not seen."""
        if message.version == NETFLOW_5:
            return Template(VERSION_5)
        return self._known.get((exporter, message.version, message.domain, number))

    def learn(self, exporter: object, message: Message) -> int:
        """Keep the templates of a message and return how many could not be read or kept."""
        if message.version == NETFLOW_5:
            self.names.update(filter(None, (field.name() for field in VERSION_5)))
        refused = 0
        for number, body in message.sets:
            if number not in (*TEMPLATE_SETS, *OPTIONS_SETS):
                continue
            for announced, template in _announced(body, number, message.version):
                key = (exporter, message.version, message.domain, announced)
                if template is None or (key not in self._known and len(self._known) >= MOST_TEMPLATES):
                    refused += 1
                    continue
                if not template.fields:
                    self._known.pop(key, None)
                    continue
                self._known[key] = template
                if not template.is_options:
                    self.names.update(filter(None, (field.name() for field in template.fields)))
        return refused


def shortest(fields: Fields) -> int:
    """Return the bytes that a record of these fields has at least, and exactly where none is of variable length."""
    return sum(1 if field.length == VARIABLE else field.length for field in fields)


def _announced(body: bytes, set_number: int, version: int) -> Iterator[tuple[int, Template | None]]:
    """Yield the templates of a set by number, None where the set ends too early or a record would have no bytes.

    A template that is withdrawn (RFC 7011, 8.1) is one without fields.
    """
    options = set_number in OPTIONS_SETS
    at = 0
    while len(body) - at >= 4:
        number, count = struct.unpack_from("!HH", body, at)
        at += 4
        if number < FIRST_DATA_SET:  # padding
            return
        scopes = 0
        if options and count:
            extra = int.from_bytes(body[at : at + 2], "big")
            at += 2
            scopes = 0 if version == IPFIX else count // 4
            count = count if version == IPFIX else (count + extra) // 4
        fields, at = _fields(body, at, count, version)
        if fields is None or (count and not shortest(fields)):
            yield number, None
            return
        yield number, Template(_with_scopes(fields, scopes), options)


def _with_scopes(fields: Fields, scopes: int) -> Fields:
    """Return fields the first of which are scopes of version 9, whose numbers are no elements (RFC 3954, 6.1)."""
    return (*(field._replace(enterprise=NOBODY) for field in fields[:scopes]), *fields[scopes:])


def _fields(body: bytes, at: int, count: int, version: int) -> tuple[Fields | None, int]:
    fields = []
    for _ in range(count):
        if len(body) - at < 4:
            return None, at
        number, length = struct.unpack_from("!HH", body, at)
        at, enterprise = at + 4, 0
        if version == IPFIX and number & 0x8000:
            if len(body) - at < 4:
                return None, at
            number, enterprise, at = number & 0x7FFF, int.from_bytes(body[at : at + 4], "big"), at + 4
        fields.append(Field(enterprise, number, length))
    return tuple(fields), at
