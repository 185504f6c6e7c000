"""Bytes that a sender chose, as text that is safe to print, join on and store: printable ASCII, of bounded length."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from features.kernel_types import Int, kernel

LONGEST_TEXT = 255
"""Characters of a text column at most; a longer text is cut."""

_SHOWN = tuple(chr(byte) if 0x20 <= byte < 0x7F and byte != 0x5C else f"\\x{byte:02x}" for byte in range(256))
_PLAIN = bytes(byte for byte in range(0x20, 0x7F) if byte != 0x5C)
_HEX = np.frombuffer(b"0123456789abcdef", np.uint8)


def safe_text(raw: bytes) -> str:
    r"""Return bytes as printable ASCII, every other byte and the backslash as \xNN, cut to LONGEST_TEXT characters.

    >>> safe_text(b"a\x00b")
    'a\\x00b'
    """
    raw = raw[:LONGEST_TEXT]
    if not raw.translate(None, _PLAIN):
        return raw.decode("ascii")
    return "".join([_SHOWN[byte] for byte in raw])[:LONGEST_TEXT]


def safe_texts(raw: npt.NDArray[np.uint8], spans: npt.NDArray[np.int64], in_lower_case: bool) -> pa.Array:
    """Return what safe_text says of several pieces of some bytes, each from a first index to the one behind its last.

    Args:
        raw: The bytes.
        spans: Shape (n, 2).
        in_lower_case: Whether capitals are written small.
    """
    out = np.empty(LONGEST_TEXT * len(spans), np.uint8)
    ends = np.zeros(len(spans) + 1, np.int32)
    _write_safe(raw, spans, in_lower_case, out, ends)
    return texts_of(out, ends)


def texts_of(letters: npt.NDArray[np.uint8], ends: npt.NDArray[np.int32]) -> pa.Array:
    """Return texts that lie one behind the other: 0 and where each ends, shape (n + 1,)."""
    buffers = [None, pa.py_buffer(ends), pa.py_buffer(letters[: ends[-1]].copy())]
    return pa.Array.from_buffers(pa.string(), len(ends) - 1, buffers)


@kernel
def _write_safe(raw: np.ndarray, spans: np.ndarray, in_lower_case: bool, out: np.ndarray, ends: np.ndarray) -> None:
    to = 0
    for i in range(len(spans)):
        full = to + LONGEST_TEXT
        for at in range(spans[i, 0], min(spans[i, 1], spans[i, 0] + LONGEST_TEXT)):
            byte: Int = np.int64(raw[at])
            plain = 0x20 <= byte < 0x7F and byte != 0x5C
            if plain and in_lower_case and 65 <= byte <= 90:
                byte += 32
            for k in range(1 if plain else 4):
                if to < full:
                    shown = byte
                    if not plain:
                        shown = 0x5C if k == 0 else 0x78 if k == 1 else _HEX[byte >> 4 if k == 2 else byte & 15]
                    out[to] = shown
                    to += 1
        ends[i + 1] = to
