"""YAML files that other people wrote: plain values only, of bounded size and depth, and no key twice."""

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from features.errors import LabelError

MOST_BYTES = 1 << 24
DEEPEST = 12


class _Loader(yaml.CSafeLoader):
    """The safe loader, which here refuses a key that comes twice instead of forgetting the first."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Return the mapping of a node."""
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        twice = next((key for at, key in enumerate(keys) if key in keys[:at]), None) if len(keys) < 5000 else None
        if twice is not None or len(set(keys)) != len(keys):
            raise yaml.constructor.ConstructorError(None, None, f"the key {twice!r} comes twice", node.start_mark)
        return super().construct_mapping(node, deep)


def read_yaml(path: Path, what: str, expected: str) -> Any:  # noqa: ANN401 (a YAML file holds anything)
    """Return the content of a YAML file.

    Args:
        path: The file, at most MOST_BYTES.
        what: What could not be read, for the error: "The rules cannot be read".
        expected: What should be in it.

    Raises:
        LabelError: It cannot be read, is no YAML, is too large or too deep, has aliases, or a key twice.
    """
    try:
        text = _text(path)
        _refuse_bombs(text)
        return yaml.load(text, _Loader)  # noqa: S506 (a subclass of the safe loader)
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise LabelError(what, str(path), expected, str(error)) from error


def _text(path: Path) -> str:
    with path.open("rb") as file:
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise ValueError(f"more than {MOST_BYTES:,} bytes")
    return content.decode("utf-8-sig")


def _refuse_bombs(text: str) -> None:
    """Refuse what grows in memory: aliases, which repeat a part, and nesting without end."""
    depth = 0
    for event in yaml.parse(text, yaml.CSafeLoader):
        if isinstance(event, yaml.AliasEvent):
            raise ValueError(  # noqa: TRY004 (the file is wrong, not a type)
                f"an alias, line {_line(event)}: write the part out"
            )
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > DEEPEST:
            raise ValueError(f"nested deeper than {DEEPEST}, line {_line(event)}")


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 0
