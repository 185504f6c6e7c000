"""Text that a sender chose is printable, bounded and unambiguous."""

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from features.payload.text import LONGEST_TEXT, safe_text, safe_texts


def test_plain_text_is_itself() -> None:
    """Printable ASCII stays as it is."""
    assert safe_text(b"Debian-2+deb12u1 (x)") == "Debian-2+deb12u1 (x)"


def test_other_bytes_are_escaped() -> None:
    r"""Control bytes, bytes above ASCII and the backslash itself become \xNN."""
    assert safe_text(b"a\x00\n\\\xff~") == "a\\x00\\x0a\\x5c\\xff~"


@given(st.binary(max_size=600))
@settings(deadline=None)
def test_any_bytes(raw: bytes) -> None:
    """Whatever a sender sends, the text is printable ASCII of at most LONGEST_TEXT characters."""
    text = safe_text(raw)
    assert text.isascii()
    assert text.isprintable()
    assert len(text) <= LONGEST_TEXT


@given(st.lists(st.binary(max_size=300), max_size=5), st.booleans())
@settings(deadline=None)
def test_many_at_once(pieces: list[bytes], in_lower_case: bool) -> None:
    """Texts made together are those made one by one."""
    ends = np.cumsum([0, *map(len, pieces)])
    spans = np.array([*pairwise(ends)]).reshape(-1, 2)
    made = safe_texts(np.frombuffer(b"".join(pieces), np.uint8), spans, in_lower_case)
    expected = [safe_text(piece) for piece in pieces]
    assert made.to_pylist() == [text.lower() if in_lower_case else text for text in expected]
