"""Standard input and named pipes, which can be read once only, as files that can be read again."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from features.captures.byte_source import STANDARD_INPUT, can_be_read_again
from features.errors import InputError
from pipeline.progress import say
from pipeline.settings import Settings

NAME = "stdin"
"""What standard input is called, and so its tables."""


@contextmanager
def received(sources: Sequence[Path], settings: Settings) -> Iterator[list[Path]]:
    """Yield the sources, each pipe among them as a file in the state folder, which goes when the block ends.

    A pipe is read to its end first: only then are its content, and so its kind and whether it is known already, clear.

    Raises:
        InputError: Standard input is named twice, is a terminal, or cannot be read.
    """
    pipes = [source for source in sources if not can_be_read_again(source)]
    if not pipes:
        yield list(sources)
        return
    if pipes.count(STANDARD_INPUT) > 1:
        raise InputError("standard input can be read once only", "-", "one -")
    parent = settings.state.root / "incoming"
    parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=parent) as folder:
        yield [source if can_be_read_again(source) else _read(source, Path(folder)) for source in sources]


def _read(source: Path, folder: Path) -> Path:
    """Copy a pipe to its end into a folder and return the file."""
    target = folder / (NAME if source == STANDARD_INPUT else source.name)
    if source == STANDARD_INPUT and sys.stdin.isatty():
        raise InputError("nothing is piped into the command", "standard input", "tcpdump -w - | flowtag ingest -")
    say(f"reading {target.name} to its end")
    try:
        descriptor = os.dup(sys.stdin.fileno()) if source == STANDARD_INPUT else os.open(source, os.O_RDONLY)
        with os.fdopen(descriptor, "rb") as piped, target.open("xb") as file:
            shutil.copyfileobj(piped, file, 1 << 20)
    except OSError as error:
        raise InputError("a pipe cannot be read to its end", str(source), "", error.strerror or str(error)) from error
    return target
