"""JSON arrays, and objects over many lines, as blocks of one object a line: what the reader of JSON lines takes."""

import json
from collections.abc import Iterator
from pathlib import Path

from features.errors import RecordError
from features.records.byte_stream import LONGEST_LINE, Block, line_blocks

BETWEEN = " \t\r\n,[]\ufeff"


def object_blocks(path: Path) -> Iterator[Block]:
    """Yield a file's objects, one a line; the number of a line is that of its object, from 1.

    Raises:
        RecordError: The file cannot be read, or what stands where an object should be is none.
    """
    held, number = "", 1
    for block in line_blocks(path):
        found, held = complete_objects(held + block.text.decode(errors="replace"))
        if len(held) > LONGEST_LINE:
            raise _no_object(path, number + len(found), held)
        if found:
            yield Block("\n".join(found).encode(), number)
            number += len(found)
    if held:
        raise _no_object(path, number, held)


def complete_objects(text: str) -> tuple[list[str], str]:
    """Return the objects at the beginning of a text, each without line ends, and the rest behind them."""
    decoder = json.JSONDecoder()
    found = []
    text = text.lstrip(BETWEEN)
    at = 0
    while at < len(text):
        try:
            end = decoder.raw_decode(text, at)[1]
        except (json.JSONDecodeError, RecursionError):
            break
        found.append(text[at:end].replace("\n", " ").replace("\r", " "))
        at = _behind(text, end)
    return found, text[at:]


def _behind(text: str, at: int) -> int:
    """Return where the next object begins: behind blanks, commas and brackets."""
    while at < len(text) and text[at] in BETWEEN:
        at += 1
    return at


def _no_object(path: Path, number: int, text: str) -> RecordError:
    return RecordError(
        "The JSON cannot be read to its end",
        f"{path}, object {number}",
        "whole objects in an array",
        repr(text[:80]),
        "write the file again, or one object a line with jq -c",
    )
