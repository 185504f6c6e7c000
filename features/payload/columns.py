"""What payloads say to columns of the feature table: null for the flows, and for the values, that say nothing."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from features.arrow import numbers, texts
from features.kernel_types import NEVER
from features.payload.dns import RESPONSE_CODES, type_name
from features.payload.dns_kernel import LONGEST_BYTE, write_names
from features.payload.facts import Facts
from features.payload.http import METHODS
from features.payload.text import safe_texts, texts_of
from features.payload.tls import OVER_QUIC, OVER_TCP, VERSIONS, ja4
from features.schema import COLUMNS, arrow_schema

_SCHEMA = arrow_schema()
PAYLOAD_SCHEMA = pa.schema([_SCHEMA.field(column.name) for column in COLUMNS if column.group == "payload"])
CODES: dict[str, Callable[[int], str]] = {
    "dns_query_type": type_name,
    "dns_response_code": RESPONSE_CODES.__getitem__,
    "tls_version": VERSIONS.__getitem__,
    "http_method": METHODS.__getitem__,
}
"""How the numbers of a SAID field are written."""
AS_SENT = {"tls_server_name": True, "tls_alpn": False, "http_host": True}
"""The texts that are the bytes themselves, and whether they are shown in lower case."""
Integers = npt.NDArray[np.int64]
Rows = npt.NDArray[np.void]


class Texts(NamedTuple):
    """Texts of some flows."""

    places: Sequence[int]
    values: Sequence[str]


def said_columns(
    said: Rows, raw: npt.NDArray[np.uint8], over_quic: npt.NDArray[np.bool_], others: Mapping[str, Texts]
) -> pa.RecordBatch:
    """Return every column of the group "payload".

    Args:
        said: SAID rows, shape (n,).
        raw: The bytes in which their texts lie.
        over_quic: Whose hello came by QUIC, shape (n,).
        others: The columns that are no fields of SAID.
    """
    made = {name: _at(len(said), np.array(one.places, np.int64), texts(one.values)) for name, one in others.items()}
    made |= {name: _named(said[name], name_of) for name, name_of in CODES.items()}
    for name, in_lower_case in AS_SENT.items():
        places, spans = _spans(said[name])
        made[name] = _at(len(said), places, safe_texts(raw, spans, in_lower_case))
    places, spans = _spans(said["dns_query"])
    made["dns_query"] = _at(len(said), places, _names(raw, spans))
    places, spans = _spans(said["tls_ja4"])
    made["tls_ja4"] = _at(len(said), places, _fingerprints(raw, spans, over_quic[places]))
    columns = [
        made[field.name] if field.name in made else _numbers(said[field.name], field) for field in PAYLOAD_SCHEMA
    ]
    return pa.RecordBatch.from_arrays(columns, schema=PAYLOAD_SCHEMA)


def payload_columns(rows: int, places: Integers, facts: Sequence[Facts]) -> dict[str, pa.Array]:
    """Return every column of the group "payload", shape (rows,).

    Args:
        rows: Flows in all.
        places: Rows of the flows whose payload says something, shape (n,).
        facts: What it says, n of them.
    """
    said: dict[str, tuple[list[int], list[str | int | float]]] = {name: ([], []) for name in PAYLOAD_SCHEMA.names}
    for place, one in zip(places.tolist(), facts, strict=True):
        for name, value in one.items():
            known, values = said[name]
            known.append(place)
            values.append(value)
    return {field.name: _column(rows, *said[field.name], field) for field in PAYLOAD_SCHEMA}


def _column(rows: int, places: list[int], values: list[str | int | float], field: pa.Field) -> pa.Array:
    is_text = field.type == pa.string()
    told = texts(map(str, values)) if is_text else numbers(np.array(values, np.float64)).cast(field.type)
    return _at(rows, np.array(places, np.int64), told)


def _at(rows: int, places: Integers, told: pa.Array) -> pa.Array:
    """Return values at their places, null elsewhere."""
    if not len(told):
        return pa.nulls(rows, told.type)
    indices = np.full(rows, NEVER)
    indices[places] = np.arange(len(told))
    return told.take(numbers(indices, indices != NEVER))


def _numbers(values: npt.NDArray[np.generic], field: pa.Field) -> pa.Array:
    known = ~np.isnan(values) if values.dtype.kind == "f" else values != NEVER
    return numbers(values, known).cast(field.type)


def _named(codes: Integers, name_of: Callable[[int], str]) -> pa.Array:
    """Return the names of numbers, null for NEVER."""
    distinct, indices = np.unique(codes, return_inverse=True)
    named = texts(["" if code == NEVER else name_of(code) for code in distinct.tolist()])
    return named.take(numbers(indices, codes != NEVER))


def _spans(field: Integers) -> tuple[Integers, Integers]:
    """Return the rows that have a text, and where it lies."""
    places = np.flatnonzero(field[:, 0] != NEVER)
    return places, field[places]


def _names(raw: npt.NDArray[np.uint8], spans: Integers) -> pa.Array:
    """Return domain names as texts."""
    letters = np.empty(LONGEST_BYTE * int(np.diff(spans).sum()) + len(spans), np.uint8)
    ends = np.zeros(len(spans) + 1, np.int32)
    write_names(raw, spans, letters, ends)
    return texts_of(letters, ends)


def _fingerprints(raw: npt.NDArray[np.uint8], spans: Integers, over_quic: npt.NDArray[np.bool_]) -> pa.Array:
    """Return the fingerprints of clients."""
    transports = [OVER_QUIC if is_quic else OVER_TCP for is_quic in over_quic.tolist()]
    bounds = zip(spans.tolist(), transports, strict=True)
    return texts([ja4(raw[begin:end].tobytes(), transport) for (begin, end), transport in bounds])
