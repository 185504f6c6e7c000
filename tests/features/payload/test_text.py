"""Text that a sender chose is printable, bounded and unambiguous."""

from hypothesis import given
from hypothesis import strategies as st

from features.payload.text import LONGEST_TEXT, safe_text


def test_plain_text_is_itself() -> None:
    """Printable ASCII stays as it is."""
    assert safe_text(b"Debian-2+deb12u1 (x)") == "Debian-2+deb12u1 (x)"


def test_other_bytes_are_escaped() -> None:
    r"""Control bytes, bytes above ASCII and the backslash itself become \xNN."""
    assert safe_text(b"a\x00\n\\\xff~") == "a\\x00\\x0a\\x5c\\xff~"


@given(st.binary(max_size=600))
def test_any_bytes(raw: bytes) -> None:
    """Whatever a sender sends, the text is printable ASCII of at most LONGEST_TEXT characters."""
    text = safe_text(raw)
    assert text.isascii()
    assert text.isprintable()
    assert len(text) <= LONGEST_TEXT
