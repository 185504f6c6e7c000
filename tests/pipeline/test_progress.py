"""What stages say while they work."""

import logging

import pyarrow as pa
import pytest

from pipeline.progress import PROGRESS, Step, advance, counted, say


def test_a_step_reads_as_a_sentence() -> None:
    """Thousands have commas, the total is left out while nobody knows it."""
    assert str(Step("training", 3, 40, "epochs", "loss 0.1")) == "training: 3 of 40 epochs, loss 0.1"
    assert str(Step("metering x", 12_345, None, "flows")) == "metering x: 12,345 flows"
    assert [Step("w", done, total, "u").over for done, total in ((1, 2), (2, 2), (5, None))] == [False, True, False]


def test_counting_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """Batches pass as they are, and the last step says that the work is over."""
    batches = [pa.RecordBatch.from_pydict({"a": [1, 2]}), pa.RecordBatch.from_pydict({"a": [3]})]
    logger = logging.getLogger(PROGRESS)
    logger.addHandler(caplog.handler)
    logger.setLevel(logging.INFO)
    try:
        assert list(counted(batches, "work")) == batches
    finally:
        logger.removeHandler(caplog.handler)
        logger.setLevel(logging.NOTSET)
    last = caplog.records[-1].__dict__["step"]
    assert (last.done, last.over) == (3, True)


def test_steps_are_in_no_log(caplog: pytest.LogCaptureFixture) -> None:
    """Sentences go to whoever listens to flowtag, steps only to who asks for them."""
    with caplog.at_level(logging.INFO):
        say("one sentence")
        advance(Step("work", 1, 2, "flows"))
    assert caplog.messages == ["one sentence"]
