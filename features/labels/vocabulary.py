"""The vocabulary: which tags exist, what they mean, and what they are called in MITRE ATT&CK."""

import difflib
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from features.errors import LabelError

BUILT_IN = Path(__file__).with_name("vocabulary.yaml")


@dataclass(frozen=True)
class Tag:
    """One attack class.

    Attributes:
        name: What tables and reports say.
        description: One line for a person.
        kind: "tactic" (why) or "technique" (how).
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


@dataclass(frozen=True)
class Vocabulary:
    """Tags in the order of a detector's outputs."""

    tags: tuple[Tag, ...]

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Return the tags' names in order."""
        return tuple(tag.name for tag in self.tags)

    @cached_property
    def fingerprint(self) -> str:
        """Return 16 hexadecimal digits that change with any tag or their order."""
        return hashlib.sha256(repr(self.tags).encode()).hexdigest()[:16]

    def check(self, names: Iterable[str], where: str) -> None:
        """Raise LabelError for the first name that is no tag, and name the nearest one."""
        for name in names:
            if name not in self.names:
                nearest = difflib.get_close_matches(name, self.names, n=1, cutoff=0)
                raise LabelError(
                    f"Unknown tag {name!r}", where, f"did you mean {nearest[0]!r}?", next_step="flowtag tags"
                )


def read_vocabulary(path: Path = BUILT_IN) -> Vocabulary:
    """Return the vocabulary in a YAML file: a mapping from name to kind, description, attack, severity, parents.

    Raises:
        LabelError: The file is not such a mapping, or a parent is no tag.
    """
    try:
        entries = yaml.safe_load(path.read_text("utf-8"))
        tags = tuple(_tag(name, entry) for name, entry in entries.items())
    except (OSError, UnicodeDecodeError, yaml.YAMLError, AttributeError, TypeError, ValueError) as error:
        raise LabelError("The vocabulary cannot be read", str(path), "a YAML mapping of tags", str(error)) from error
    vocabulary = Vocabulary(tags)
    for tag in tags:
        vocabulary.check(tag.parents, f"{path}, parents of {tag.name}")
    return vocabulary


def _tag(name: str, entry: dict[str, Any]) -> Tag:
    lists = {key: tuple(entry.get(key, ())) for key in ("attack", "parents")}
    return Tag(name, **{**entry, **lists})
