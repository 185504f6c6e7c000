"""The vocabulary: which tags exist, what they mean, what they imply, and how the words of other sources map to them.

A file has two parts. `tags` maps a name to description, kind, attack, severity and parents; order is the order of a
detector's outputs. `words` maps a source to its words, each with a list of tags; a word with * stands for many. A file
of your own is merged over the built-in one: known tags are changed in place, new ones go behind, words win.
"""

import difflib
import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import Any

from features.errors import LabelError
from features.labels.yaml_file import read_yaml

BUILT_IN = Path(__file__).with_name("vocabulary.yaml")
KINDS = ("tactic", "technique", "outcome")
ATTACK_ID = re.compile(r"TA\d{4}|T\d{4}(\.\d{3})?")
NAME = re.compile(r"[a-z][a-z0-9_]*")
ATTEMPTED = "attempted"
UNKNOWN = "unknown"
"""What detections call a flow that no tag names and no benign flow resembles; no tag may have the name."""
LABELS = "labels"
"""The part of `words` for label columns of record sources."""

UNREAD = "The vocabulary cannot be read"
EXPECTED = "YAML with the parts `tags` and `words`"
NEXT = "flowtag tags; for tags of your own --set labels.vocabulary=FILE (docs/labels.md)"
METADATA = "flowtag.tags"
METADATA_FINGERPRINT = "flowtag.vocabulary"


@dataclass(frozen=True)
class Tag:
    """One attack class.

    Attributes:
        name: What tables and reports say.
        description: One line for a person.
        kind: "tactic" (why), "technique" (how) or "outcome" (how it ended).
        attack: MITRE ATT&CK Enterprise ids.
        severity: 1 low to 4 critical.
        parents: Names of tags that are always true with this one.
    """

    name: str
    description: str
    kind: str
    attack: tuple[str, ...] = ()
    severity: int = 2
    parents: tuple[str, ...] = ()


Words = Mapping[str, Mapping[str, tuple[str, ...]]]
"""Source to word (as `plain_word` makes it) to tags."""


def plain_word(text: str) -> str:
    """Return a source's word in lower case, with one space for whatever is no letter, digit, &, = or *."""
    return re.sub(r"[^a-z0-9&=*]+", " ", text.lower()).strip()


@dataclass(frozen=True)
class Vocabulary:
    """Tags in the order of a detector's outputs, and the words of other sources."""

    tags: tuple[Tag, ...]
    words: Words = field(default_factory=dict)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Return the tags' names in order."""
        return tuple(tag.name for tag in self.tags)

    @cached_property
    def fingerprint(self) -> str:
        """Return 16 hexadecimal digits that change with any tag's name or parents, or with their order."""
        return _digest([(tag.name, tag.parents) for tag in self.tags])

    @cached_property
    def whole_fingerprint(self) -> str:
        """Return 16 hexadecimal digits that change with anything at all, the words too."""
        return _digest([self.tags, sorted((source, sorted(words.items())) for source, words in self.words.items())])

    @cached_property
    def ancestors(self) -> dict[str, frozenset[str]]:
        """Return each tag with all that it implies, itself among them."""
        parents = {tag.name: tag.parents for tag in self.tags}
        return {name: frozenset(_lineage(name, parents)) for name in self.names}

    def check(self, names: Iterable[str], where: str) -> None:
        """Raise LabelError for the first name that is no tag, and name the nearest one."""
        for name in names:
            if name not in self.names:
                nearest = difflib.get_close_matches(name, self.names, n=1, cutoff=0)
                expected = f"did you mean {nearest[0]!r}?" if nearest else "a tag"
                raise LabelError(f"Unknown tag {name!r}", where, expected, next_step=NEXT)

    def implied(self, names: Iterable[str], where: str = "") -> tuple[str, ...]:
        """Return tags with all that they imply, in the vocabulary's order.

        Raises:
            LabelError: One is no tag.
        """
        names = tuple(names)
        self.check(names, where)
        carried = frozenset().union(*(self.ancestors[name] for name in names))
        return tuple(name for name in self.names if name in carried)

    def tags_of(self, source: str, word: str) -> tuple[str, ...] | None:
        """Return the tags of a source's word, () where it means benign, None where it is not mapped.

        Exact words go before those with *, and of these the longest.
        """
        words = self.words.get(source, {})
        plain = plain_word(word)
        if plain not in words:
            fitting = [pattern for pattern in words if "*" in pattern and fnmatchcase(plain, pattern)]
            if not fitting:
                return None
            plain = max(fitting, key=len)
        return self.implied(words[plain])

    def label_tags(self, word: str) -> tuple[str, ...] | None:
        """Return the tags of a word in a label column of any record source, as `tags_of`.

        Of the detailed labels of Zeek logs, whose last cell holds three words three spaces apart, the last one that
        says something counts. A word that ends with "- Attempted" carries `attempted` beside the attack.
        """
        told = [part for part in re.split(r" {3,}|\t", word.strip()) if part not in {"-", "(empty)"}]
        plain = plain_word(told[-1] if told else "")
        base, attempted, _ = plain.partition(" attempted")
        tags = self.tags_of(LABELS, base)
        return self.implied((*tags, ATTEMPTED)) if tags is not None and attempted else tags

    def metadata(self) -> dict[str, str]:
        """Return what a labelled table says of the vocabulary: its order and its fingerprint."""
        return {METADATA: ",".join(self.names), METADATA_FINGERPRINT: self.fingerprint}


def read_vocabulary(own: Path | None = None) -> Vocabulary:
    """Return the built-in vocabulary, merged with a file of your own if there is one.

    Raises:
        LabelError: A file is not such YAML, or names as parent or as a word's meaning what is no tag.
    """
    tags: dict[str, Tag] = {}
    words: dict[str, dict[str, tuple[str, ...]]] = {}
    for path in (BUILT_IN, *([own] if own else ())):
        _merge(path, tags, words)
    vocabulary = Vocabulary(tuple(tags.values()), words)
    where = str(own or BUILT_IN)
    for tag in tags.values():
        vocabulary.check(tag.parents, f"{where}, parents of {tag.name}")
    for source, mapped in words.items():
        for word, names in mapped.items():
            vocabulary.check(names, f"{where}, {source}: {word}")
    return vocabulary


def _merge(path: Path, tags: dict[str, Tag], words: dict[str, dict[str, tuple[str, ...]]]) -> None:
    content = read_yaml(path, UNREAD, EXPECTED)
    if not isinstance(content, dict) or not content or not set(content) <= {"tags", "words"}:
        raise LabelError(UNREAD, str(path), EXPECTED, repr(content)[:80])
    try:
        for name, entry in (content.get("tags") or {}).items():
            tags[name] = _tag(name, {**(asdict(tags[name]) if name in tags else {}), **entry})
        for source, mapped in (content.get("words") or {}).items():
            merged = words.setdefault(str(source), {})
            merged |= {plain_word(str(word)): _names(names) for word, names in mapped.items()}
    except (AttributeError, TypeError, ValueError) as error:
        raise LabelError(UNREAD, str(path), EXPECTED, str(error)) from error


def _tag(name: str, entry: dict[str, Any]) -> Tag:
    lists = {key: _names(entry.get(key, ())) for key in ("attack", "parents")}
    tag = Tag(**{**entry, **lists, "name": name})
    if not NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name: small letters, digits and _")
    if name == UNKNOWN:
        raise ValueError(f"{name!r} is what flows without a tag are called that resemble no benign flow")
    if tag.kind not in KINDS:
        raise ValueError(f"{name}: kind {tag.kind!r}, expected one of {', '.join(KINDS)}")
    if not (isinstance(tag.severity, int) and 1 <= tag.severity <= 4):
        raise ValueError(f"{name}: severity {tag.severity!r}, expected 1 to 4")
    if wrong := [code for code in tag.attack if not ATTACK_ID.fullmatch(code)]:
        raise ValueError(f"{name}: {wrong[0]!r} is no ATT&CK id, such as TA0043 or T1595.002")
    return tag


def _names(value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(name, str) for name in value):
        raise TypeError(f"{value!r} is no list of words")
    return tuple(value)


def _lineage(name: str, parents: Mapping[str, tuple[str, ...]]) -> set[str]:
    found: set[str] = set()
    waiting = [name]
    while waiting:
        one = waiting.pop()
        if one not in found:
            found.add(one)
            waiting += parents.get(one, ())
    return found


def _digest(value: object) -> str:
    return hashlib.sha256(repr(value).encode()).hexdigest()[:16]
