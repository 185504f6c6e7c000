"""Bytes that a sender chose, as text that is safe to print, join on and store: printable ASCII, of bounded length."""

LONGEST_TEXT = 255
"""Characters of a text column at most; a longer text is cut."""

_SHOWN = tuple(chr(byte) if 0x20 <= byte < 0x7F and byte != 0x5C else f"\\x{byte:02x}" for byte in range(256))
_PLAIN = bytes(byte for byte in range(0x20, 0x7F) if byte != 0x5C)


def safe_text(raw: bytes) -> str:
    r"""Return bytes as printable ASCII, every other byte and the backslash as \xNN, cut to LONGEST_TEXT characters.

    >>> safe_text(b"a\x00b")
    'a\\x00b'
    """
    raw = raw[:LONGEST_TEXT]
    if not raw.translate(None, _PLAIN):
        return raw.decode("ascii")
    return "".join([_SHOWN[byte] for byte in raw])[:LONGEST_TEXT]
