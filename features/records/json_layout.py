"""How a file of JSON objects is written: keys tell the adapter, the values of its flows the type of each column."""

import json
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

import pyarrow as pa

from features.records.adapter import ADDRESSES, TEXTS, TIMES, Adapter
from features.records.byte_stream import line_blocks
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

    Args:
        path: The file, read further where `texts` hold no flow.
        texts: Its first objects; what is none is passed over.
        adapters: Those to choose from.
        form: JSON_LINES or JSON_ARRAY.
    """
    seen = [*_objects(texts)]
    keys = tuple(dict.fromkeys(key for record in seen for key in record))
    told = told_by(keys, adapters)
    if told is None:
        return None
    adapter, columns = told
    own = dict(zip(columns, keys, strict=True))
    flows = _flows(seen, adapter, own) or (_first_flows(path, adapter, own) if form == JSON_LINES else [])
    kinds = _kinds(flows)
    types = {}
    for name, target in adapter.named().items():
        key = own.get(name, name)
        if key in kinds:
            types[name] = kinds[key]
        elif not target.endswith(VOLUMES) or not flows:
            types[name] = pa.string() if target in TEXT_TARGETS else pa.float64()
    own = {name: key for name, key in own.items() if name in types and name != key}
    return Layout(adapter, form, tuple(types), nulls=("", *adapter.nulls), types=types, own_names=own)


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
        yield from ((f"{key}|{inner}", nested) for inner, nested in value.items())
    else:
        yield key, value


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


def _first_flows(path: Path, adapter: Adapter, own: dict[str, str]) -> list[Object]:
    """Return flows of the first block of a file that has any."""
    searched = 0
    for block in line_blocks(path):
        if found := _flows([*_objects(block.text.decode(errors="replace").split("\n"))], adapter, own):
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
                kinds[key] = pa.string() if isinstance(value, str) else pa.float64()
    return kinds
