"""Records that are texts within JSON objects, as Filebeat's message and Splunk's _raw hold the line that they read."""

import json

from features.records.byte_stream import Block


def unwrapped(block: Block, envelope: str) -> tuple[Block, list[int]]:
    """Return a block with each object's text in its place, and the lines that hold none, which become blank.

    Args:
        block: JSON objects, one a line.
        envelope: The key of the text; keys of nested objects are joined with |.
    """
    keys = envelope.split("|")
    lines = block.text.split(b"\n")
    texts = [_text(line, keys) for line in lines]
    empty = [block.first_line + at for at, line in enumerate(lines) if line.strip() and not texts[at]]
    return Block(b"\n".join(texts), block.first_line), empty


def _text(line: bytes, keys: list[str]) -> bytes:
    """Return the text of an object that lies at some keys, nothing where it is none that begins as an object does."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return b""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    text = value.strip() if isinstance(value, str) else ""
    return text.replace("\n", " ").replace("\r", " ").encode() if text.startswith("{") else b""
