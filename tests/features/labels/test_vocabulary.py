"""The vocabulary of tags."""

from pathlib import Path

import pytest

from features.errors import LabelError
from features.labels.vocabulary import read_vocabulary


def test_the_built_in_vocabulary_is_whole() -> None:
    """Every tag has a description, ATT&CK ids and a severity; every technique's parents are tags."""
    vocabulary = read_vocabulary()
    assert len(vocabulary.names) == 21
    for tag in vocabulary.tags:
        assert tag.description, tag
        assert all(code.startswith(("TA0", "T1")) for code in tag.attack), tag
        assert tag.attack, tag
        assert 1 <= tag.severity <= 4, tag
        assert tag.kind in {"tactic", "technique"}, tag


def test_an_unknown_tag_names_the_nearest() -> None:
    """A misspelt tag is an error that offers the right word."""
    with pytest.raises(LabelError, match="did you mean 'brute_force'"):
        read_vocabulary().check(["impact", "bruteforce"], "here")


@pytest.mark.parametrize(
    "text", ["", "- a\n", "a: [", "a: {kind: tactic}", "a: {description: x, kind: technique, parents: [b]}", "a: 1"]
)
def test_a_broken_vocabulary_is_refused(tmp_path: Path, text: str) -> None:
    """What is no mapping of whole tags is LabelError."""
    path = tmp_path / "tags.yaml"
    path.write_text(text)
    with pytest.raises(LabelError):
        read_vocabulary(path)


def test_the_fingerprint_changes_with_the_order(tmp_path: Path) -> None:
    """Two tags in another order are another vocabulary."""
    first, second = (f"{name}: {{description: x, kind: tactic}}\n" for name in "ab")
    (tmp_path / "1.yaml").write_text(first + second)
    (tmp_path / "2.yaml").write_text(second + first)
    assert read_vocabulary(tmp_path / "1.yaml").fingerprint != read_vocabulary(tmp_path / "2.yaml").fingerprint
