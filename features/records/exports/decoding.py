"""The bytes of exported records to columns: numbers, addresses, and times of every clock to milliseconds."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from features.addresses import address_text
from features.records.adapter import Floats
from features.records.exports.elements import ADDRESS_BYTES, NAMES, VARIABLE
from features.records.exports.messages import Fields, shortest
from features.records.exports.samplers import stated

SAMPLING = "sampling"
"""The column of packets that one counted packet stands for, 1 where nothing is stated."""
ADDRESS_NAMES = frozenset(NAMES[number] for number in ADDRESS_BYTES)
MAPPED = np.frombuffer(bytes(10) + b"\xff\xff", np.uint8)
NTP_TO_UNIX_S = 2_208_988_800
ENDS = ("Start", "End")
STARTED, ENDED = NAMES[160], NAMES[21]

Bytes = npt.NDArray[np.uint8]


class Heard(NamedTuple):
    """What a record's message says about all its records; arrays of shape (records,) once joined."""

    export_ms: Floats
    uptime_ms: Floats
    sampling: Floats
    frame: npt.NDArray[np.int64]


def without_variable(body: bytes, fields: Fields) -> tuple[bytes, Fields, bool]:
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


def columns_of(raw: Bytes, fields: Fields, heard: Heard) -> dict[str, pa.Array]:
    """Return the columns of records of one template, shape (n, record bytes); of a field named twice the first."""
    columns = {name: _addresses(cells) for name, cells in _cells(raw, fields) if name in ADDRESS_NAMES}
    numbers = _numbers(raw, fields)
    for end in ENDS:
        numbers[f"flow{end}Milliseconds"] = _milliseconds(end, numbers, heard)
    own = stated(numbers, len(raw))
    numbers[SAMPLING] = np.where(np.isnan(own), heard.sampling, own)
    return columns | {name: pa.array(values, from_pandas=True) for name, values in numbers.items()}


def numbers_of(body: bytes, records: int, fields: Fields) -> dict[str, Floats]:
    """Return the numbers of records by the names of their fields, shape (records,) each."""
    return _numbers(np.frombuffer(body, np.uint8).reshape(records, -1), fields)


def _numbers(raw: Bytes, fields: Fields) -> dict[str, Floats]:
    return {name: _unsigned(cells) for name, cells in _cells(raw, fields) if name not in ADDRESS_NAMES}


def _cells(raw: Bytes, fields: Fields) -> Iterator[tuple[str, Bytes]]:
    """Yield the fields that are read, each name once, and their bytes."""
    at, seen = 0, set()
    for field in fields:
        name, start, at = field.name(), at, at + field.length
        if name and name not in seen:
            seen.add(name)
            yield name, raw[:, start:at]


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


def _milliseconds(end: str, numbers: dict[str, Floats], heard: Heard) -> Floats:
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


EXPORT_COLUMNS = frozenset([f"flow{end}Milliseconds" for end in ENDS] + [SAMPLING])
"""Columns that every export stream has, whatever its templates."""
