"""Which tags a truth can speak of: a source that never looks for a tag says nothing about it, and so it is unknown."""

from collections.abc import Collection, Mapping

from features.labels.vocabulary import Vocabulary

SPOKEN_OF = b"flowtag.tags_known"
SEPARATOR = ";"


def tags_spoken_of(metadata: Mapping[bytes, bytes] | None) -> frozenset[str] | None:
    """Return the tags that the truth of a labelled table can speak of, told by its metadata; None: of all."""
    told = (metadata or {}).get(SPOKEN_OF)
    return None if told is None else frozenset(told.decode().split(","))


def noted(spoken: Collection[str], vocabulary: Vocabulary) -> dict[bytes, bytes]:
    """Return what the metadata of a labelled table says, nothing where the truth can speak of all tags."""
    every = not spoken or len(spoken) == len(vocabulary.names)
    return {} if every else {SPOKEN_OF: ",".join(spoken).encode()}


def meant_by(parts: Collection[str], vocabulary: Vocabulary) -> tuple[str, ...]:
    """Return the tags that the words of some parts of the vocabulary can mean, in its order."""
    meant = {tag for part in parts for tags in vocabulary.words.get(part, {}).values() for tag in tags}
    return tuple(name for name in vocabulary.names if name in meant)


def named(text: str, vocabulary: Vocabulary, where: str) -> tuple[str, ...]:
    """Return the tags of a list with semicolons, in the vocabulary's order.

    Raises:
        LabelError: One is no tag; the message names the nearest.
    """
    names = {name.strip() for name in text.split(SEPARATOR)} - {""}
    vocabulary.check(sorted(names), where)
    return tuple(name for name in vocabulary.names if name in names)
