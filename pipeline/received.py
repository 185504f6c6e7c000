"""Standard input and named pipes, which can be read once only, as files that can be read again."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from features.captures.byte_source import STANDARD_INPUT, can_be_read_again, source_name
from features.errors import FlowtagError, InputError
from pipeline.progress import say
from pipeline.settings import Settings
from pipeline.traffic import WILDCARDS

NAME = "stdin"
"""What standard input is called, and so its tables."""


@contextmanager
def received(sources: Sequence[Path], settings: Settings, name: str | None = None) -> Iterator[list[Path]]:
    """Yield the sources, each pipe among them as a file in the state folder, which goes when the block ends.

    A pipe is read to its end first: only then are its content, and so its kind and whether it is known already, clear.
    Errors of the block name the pipe, not the file.

    Args:
        sources: Files and pipes.
        settings: Where the state folder is.
        name: What standard input, and so its tables, are called; NAME when None.

    Raises:
        InputError: Standard input is named twice, is a terminal, or cannot be read; or a name is no plain one, or for
            nothing.
    """
    pipes = [source for source in sources if not can_be_read_again(source)]
    if name is not None:
        _check_name(name, pipes)
    if not pipes:
        yield list(sources)
        return
    if pipes.count(STANDARD_INPUT) > 1:
        raise InputError("standard input can be read once only", "-", "one -")
    parent = settings.state.root / "incoming"
    parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=parent) as folder:
        files = {source: Path(folder) / (name or NAME if source == STANDARD_INPUT else source.name) for source in pipes}
        try:
            for source, file in files.items():
                _read(source, file)
            yield [files.get(source, source) for source in sources]
        except FlowtagError as error:
            for source, file in files.items():
                error.where = error.where.replace(str(file), source_name(source))
            raise


def _check_name(name: str, pipes: Sequence[Path]) -> None:
    expected = "a plain name, such as monday"
    if STANDARD_INPUT not in pipes:
        raise InputError("a name for standard input, which is no source", "--name", "- among the sources", repr(name))
    if not name or name.startswith(".") or Path(name).name != name or WILDCARDS.search(name):
        raise InputError("standard input cannot be called that", "--name", expected, repr(name))


def _read(source: Path, target: Path) -> None:
    """Copy a pipe to its end into a file."""
    if source == STANDARD_INPUT and sys.stdin.isatty():
        raise InputError("nothing is piped into the command", "standard input", "tcpdump -w - | flowtag ingest -")
    say(f"reading {target.name} to its end")
    try:
        descriptor = os.dup(sys.stdin.fileno()) if source == STANDARD_INPUT else os.open(source, os.O_RDONLY)
        with os.fdopen(descriptor, "rb") as piped, target.open("xb") as file:
            shutil.copyfileobj(piped, file, 1 << 20)
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError("a pipe cannot be read to its end", source_name(source), "", reason) from error
