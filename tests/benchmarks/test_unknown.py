"""Leaving a tag out: its flows are nowhere in training, and the table says what became of them."""

import json

import numpy as np
import pytest

from benchmarks.learning.tables import Task
from benchmarks.unknown import left_out, markdown, without
from models.dataset import TagDataset
from models.network import NetworkSettings
from models.training import TrainingSettings

TAGS = ("scan", "flood", "rare")
COLUMNS = tuple(f"column_{at}" for at in range(6))
SMALL = TrainingSettings(epochs=4, batch_size=128, learning_rate=0.01, network=NetworkSettings(widths=(32,), members=2))


def flows(seed: int) -> TagDataset:
    """Return 1,500 flows: a scan shows in the first two columns, a flood in the next two, the rare tag nowhere."""
    random = np.random.default_rng(seed)
    features = np.expm1(random.normal(0, 1, (1_500, 6))).astype(np.float32)
    tags = np.zeros((1_500, 3), np.uint8)
    tags[:100, 0], tags[100:200, 1], tags[200:205, 2] = 1, 1, 1
    features[:100, :2] += 300
    features[100:200, 2:4] += 300
    return TagDataset(features, tags, COLUMNS, TAGS)


@pytest.fixture(scope="module")
def task() -> Task:
    return Task("toy", flows(1), flows(2), {"test": flows(3)})


def test_rare_tags_are_not_left_out(task: Task) -> None:
    """Of five flows nothing can be said; tags with 100 flows are left out in turn."""
    assert left_out(task) == ("scan", "flood")


def test_a_tag_left_out_is_looked_for(task: Task) -> None:
    """With unknown beside the tags at least as much of the flood is reported, in all of its 100 test flows."""
    found = json.loads(json.dumps(without(task, "flood", SMALL)))
    test = found["tests"]["test"]
    assert (found["tag"], test["flows"]) == ("flood", 100)
    low, high = (test["budgets"][budget] for budget in ("0.001", "0.005"))
    assert test["by_tags"] <= low["reported"] <= high["reported"] <= 1
    assert low["false_alarms_of_unknown"] <= high["false_alarms_of_unknown"] < 0.03
    assert high["known_attacks_called_unknown"] < 0.2


def test_the_table_has_a_row_for_each_tag_and_their_mean() -> None:
    """Shares as percentages, the mean over tags below them; a tag without flows in the test is left out."""
    budget = {"reported": 0.75, "false_alarms_of_unknown": 0.001, "known_attacks_called_unknown": 0.0}
    one = {"flows": 1_200, "by_tags": 0.5, "budgets": {"0.001": budget, "0.005": {**budget, "reported": 1.0}}}
    other = {**one, "flows": 30, "by_tags": 0.0}
    results = [
        {"task": "toy", "tag": tag, "tests": {"test": test}}
        for tag, test in (("scan", one), ("flood", other), ("none", {**one, "flows": 0}))
    ]
    lines = markdown(results).splitlines()
    assert lines[0] == "**toy, test**"
    assert lines[4:] == [
        "| scan (1,200) | 50.0% | 75.0% | 100.0% | 0.10% | 0.10% |",
        "| flood (30) | 0.0% | 75.0% | 100.0% | 0.10% | 0.10% |",
        "| **mean over tags** | 25.0% | 75.0% | 100.0% | 0.10% | 0.10% |",
    ]
