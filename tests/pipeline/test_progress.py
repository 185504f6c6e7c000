"""What stages say while they work."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa

from pipeline.progress import PROGRESS, SENTENCES, Step, advance, counted, say


class Kept(logging.Handler):
    """Keeps the records it is handed."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one."""
        self.records.append(record)


@contextmanager
def heard(name: str) -> Iterator[list[logging.LogRecord]]:
    """Listen to one logger."""
    logger, kept = logging.getLogger(name), Kept()
    level = logger.level
    logger.addHandler(kept)
    logger.setLevel(logging.INFO)
    try:
        yield kept.records
    finally:
        logger.removeHandler(kept)
        logger.setLevel(level)


def test_a_step_reads_as_a_sentence() -> None:
    """Thousands have commas, the total is left out while nobody knows it."""
    assert str(Step("training", 3, 40, "epochs", "loss 0.1")) == "training: 3 of 40 epochs, loss 0.1"
    assert str(Step("metering x", 12_345, None, "flows")) == "metering x: 12,345 flows"
    assert [Step("w", done, total, "u").over for done, total in ((1, 2), (2, 2), (5, None))] == [False, True, False]


def test_counting_changes_nothing() -> None:
    """Batches pass as they are, and the last step says that the work is over."""
    batches = [pa.RecordBatch.from_pydict({"a": [1, 2]}), pa.RecordBatch.from_pydict({"a": [3]})]
    with heard(PROGRESS) as records:
        assert list(counted(batches, "work")) == batches
    last = records[-1].__dict__["step"]
    assert (last.done, last.over) == (3, True)


def test_steps_are_in_no_log() -> None:
    """Sentences go to whoever listens to flowtag, steps only to who asks for them."""
    with heard(SENTENCES) as sentences, heard(PROGRESS) as steps:
        say("one sentence")
        advance(Step("work", 1, 2, "flows"))
    assert [record.getMessage() for record in sentences] == ["one sentence"]
    assert [record.getMessage() for record in steps] == ["work: 1 of 2 flows"]
