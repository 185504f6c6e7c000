"""How a command shows that it works: sentences as they come, and one bar on a terminal. All of it on standard error."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from features.errors import printable
from pipeline.progress import PROGRESS, SENTENCES, Step

PLAIN_EVERY_S = 10.0


class _Sentences(logging.Handler):
    """Prints each sentence behind the seconds since the command began."""

    def __init__(self, console: Console) -> None:
        super().__init__(logging.INFO)
        self._console = console
        self._begun = time.monotonic()

    def emit(self, record: logging.LogRecord) -> None:
        """Print one sentence."""
        seconds = f"{time.monotonic() - self._begun:4.0f} s"
        self._console.print(
            printable(f"{seconds}  {record.getMessage()}"), markup=False, highlight=False, soft_wrap=True
        )


class _Bar(logging.Handler):
    """One bar for the work in hand, which goes when the work is over."""

    def __init__(self, bars: Progress) -> None:
        super().__init__(logging.INFO)
        self._bars = bars
        self._shown: dict[str, TaskID] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Move the bar of the step's work."""
        step: Step = record.__dict__["step"]
        if step.over:
            if step.work in self._shown:
                self._bars.remove_task(self._shown.pop(step.work))
            return
        if step.work not in self._shown:
            self._shown[step.work] = self._bars.add_task(printable(str(step)), total=step.total)
        self._bars.update(self._shown[step.work], completed=step.done, description=printable(str(step)), refresh=True)


class _Lines(logging.Handler):
    """A line now and then, where nobody watches a bar."""

    def __init__(self, console: Console) -> None:
        super().__init__(logging.INFO)
        self._console = console
        self._told = time.monotonic()

    def emit(self, record: logging.LogRecord) -> None:
        """Print how far the work is, if it has been quiet for long."""
        step: Step = record.__dict__["step"]
        if not step.over and time.monotonic() - self._told >= PLAIN_EVERY_S:
            self._console.print(printable(f"        {step}"), markup=False, highlight=False, soft_wrap=True)
            self._told = time.monotonic()


@contextmanager
def shown() -> Iterator[None]:
    """Show what the stages say until the block ends."""
    console = Console(stderr=True)
    work = TextColumn("      {task.description}", style="progress.description", markup=False)
    bars = Progress(work, BarColumn(), TimeElapsedColumn(), console=console, transient=True)
    watched = console.is_terminal
    steps = _Bar(bars) if watched else _Lines(console)
    with bars if watched else nullcontext(), _listening(SENTENCES, _Sentences(console)), _listening(PROGRESS, steps):
        yield


@contextmanager
def _listening(name: str, handler: logging.Handler) -> Iterator[None]:
    logger = logging.getLogger(name)
    level, passes_on = logger.level, logger.propagate
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = passes_on
