"""What a long stage says while it works: sentences, and how far it is. Who shows them is not decided here.

Sentences go to the logger `flowtag` in plain words. How far the work is goes to `flowtag.progress`, which passes
nothing on: a bar moves many times a second and belongs in no log.
"""

import logging
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import pyarrow as pa

SENTENCES = "flowtag"
PROGRESS = "flowtag.progress"
EVERY_S = 0.2


@dataclass(frozen=True)
class Step:
    """How far a piece of work is; `total` is None while nobody knows."""

    work: str
    done: int
    total: int | None
    unit: str
    note: str = ""

    @property
    def over(self) -> bool:
        """True when there is nothing left to do."""
        return self.total is not None and self.done >= self.total

    def __str__(self) -> str:
        """Return it as one line: "training: 3 of 40 epochs"."""
        of = f" of {self.total:,}" if self.total is not None else ""
        return f"{self.work}: {self.done:,}{of} {self.unit}{', ' if self.note else ''}{self.note}"


def say(sentence: str) -> None:
    """Tell the user one thing in plain words."""
    logging.getLogger(SENTENCES).info(sentence)


def advance(step: Step) -> None:
    """Tell whoever shows progress how far the work is."""
    logger = logging.getLogger(PROGRESS)
    logger.propagate = False
    logger.info("%s", step, extra={"step": step})


def counted(batches: Iterable[pa.RecordBatch], work: str, unit: str = "flows") -> Iterator[pa.RecordBatch]:
    """Yield the batches and tell how many rows have passed, at most every EVERY_S seconds."""
    done, told = 0, time.monotonic()
    for batch in batches:
        yield batch
        done += batch.num_rows
        if time.monotonic() - told >= EVERY_S:
            advance(Step(work, done, None, unit))
            told = time.monotonic()
    advance(Step(work, done, done, unit))
