"""How a file of JSON objects is written: keys tell the adapter, the values of its flows the type of each column."""

import json
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from features.records.adapter import ADDRESSES, TEXTS, TIMES, Adapter
from features.records.byte_stream import line_blocks
from features.records.envelope import unwrapped
from features.records.layout import JSON_LINES, Layout
from features.records.spelling import told_by

TEXT_TARGETS = (*ADDRESSES, *TEXTS, *TIMES, "protocol", "")
VOLUMES = ("packets", "bytes")
"""Ends of targets that a column must be seen to have before the file is taken to give them."""
SEARCHED_BYTES = 1 << 24
"""So far into a file of many kinds of events its first flow is looked for."""

Object = dict[str, object]


def json_layout(path: Path, texts: list[str], adapters: tuple[Adapter, ...], form: str = JSON_LINES) -> Layout | None:
    """Return how a file of JSON objects is written, None where no adapter fits those of its beginning.

    The records may lie within other objects, as _source or result, or be texts of theirs, as message or _raw: where is
    told by what lies there.

    Args:
        path: The file, read further where `texts` hold no flow.
        texts: Its first objects; what is none is passed over.
        adapters: Those to choose from.
        form: JSON_LINES or JSON_ARRAY.
    """
    seen = [*_objects(texts)]
    if told := _told(seen, adapters):
        return _layout(path, seen, told, _Wrapped(form))
    for envelope in _texts_of_json(seen):
        inner = [*_objects(str(record.get(envelope, "")) for record in seen)]
        if told := _told(inner, adapters):
            return _layout(path, inner, told, _Wrapped(form, envelope))
    return None


class _Wrapped(NamedTuple):
    """JSON_LINES or JSON_ARRAY, and the key of the text that is the record, if it is not the object itself."""

    form: str
    envelope: str = ""


class _Told(NamedTuple):
    """The adapter of some objects, and how the file spells its columns."""

    adapter: Adapter
    own: dict[str, str]


def _told(seen: list[Object], adapters: tuple[Adapter, ...]) -> _Told | None:
    """Return the adapter that fits the keys of some objects, or the keys within one of theirs."""
    keys = tuple(dict.fromkeys(key for record in seen for key in record))
    outer = ("|".join(key.split("|")[:depth]) + "|" for depth in (1, 2) for key in keys if key.count("|") >= depth)
    for prefix in dict.fromkeys(("", *outer)):
        within = [key.removeprefix(prefix) for key in keys if key.startswith(prefix)]
        if told := told_by(within, adapters):
            adapter, columns = told
            unseen = {name: prefix + name for name in adapter.named()}
            return _Told(adapter, unseen | {name: prefix + key for name, key in zip(columns, within, strict=True)})
    return None


def _layout(path: Path, seen: list[Object], told: _Told, wrapped: _Wrapped) -> Layout:
    adapter, own = told
    searched = wrapped.form == JSON_LINES
    flows = _flows(seen, adapter, own) or (_first_flows(path, told, wrapped.envelope) if searched else [])
    kinds = _kinds(flows)
    types = {}
    for name, target in adapter.named().items():
        key = own[name]
        if key in kinds:
            types[name] = kinds[key]
        elif not target.endswith(VOLUMES) or not flows:
            types[name] = pa.string() if target in TEXT_TARGETS else pa.float64()
    own = {name: key for name, key in own.items() if name in types and name != key}
    return Layout(
        adapter, wrapped.form, tuple(types), nulls=("", *adapter.nulls), types=types, own_names=own,
        envelope=wrapped.envelope,
    )  # fmt: skip


def is_object(text: str) -> bool:
    """Tell whether a text is one JSON object."""
    return any(True for _ in _objects([text]))


def _objects(lines: Iterable[str]) -> Iterator[Object]:
    """Yield the objects among some texts, nested keys joined with |."""
    for line in lines:
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(record, dict):
            yield dict(chain.from_iterable(_flat(key, value) for key, value in record.items()))


def _flat(key: str, value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, dict):
        for inner, nested in value.items():
            yield from _flat(f"{key}|{inner}", nested)
    else:
        yield key, value


def _texts_of_json(records: list[Object]) -> list[str]:
    """Return the keys that hold JSON as text."""
    held = (key for record in records for key, value in record.items() if str(value).lstrip().startswith("{"))
    return [*dict.fromkeys(held)]


def _flows(records: list[Object], adapter: Adapter, own: dict[str, str]) -> list[Object]:
    """Return the objects that the adapter takes for flows."""
    if not records:
        return []
    told = {name: [record.get(own.get(name, name)) for record in records] for name in adapter.raw}
    raw = {
        name: pa.array([None if value is None else str(value) for value in values], pa.string())
        for name, values in told.items()
    }
    kept = adapter.keep(raw) if raw else [True] * len(records)
    return [record for record, flow in zip(records, kept, strict=True) if flow]


def _first_flows(path: Path, told: _Told, envelope: str) -> list[Object]:
    """Return flows of the first block of a file that has any."""
    searched = 0
    for block in line_blocks(path):
        text = unwrapped(block, envelope)[0].text if envelope else block.text
        if found := _flows([*_objects(text.decode(errors="replace").split("\n"))], told.adapter, told.own):
            return found
        searched += len(block.text)
        if searched >= SEARCHED_BYTES:
            break
    return []


def _kinds(records: Iterable[Object]) -> dict[str, pa.DataType]:
    """Return the type of each key, as its first value has it."""
    kinds: dict[str, pa.DataType] = {}
    for record in records:
        for key, value in record.items():
            if value is not None and key not in kinds:
                kinds[key] = _kind(value)
    return kinds


def _kind(value: object) -> pa.DataType:
    if isinstance(value, bool):
        return pa.bool_()
    return pa.string() if isinstance(value, str) else pa.float64()
