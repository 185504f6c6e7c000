"""Who learns from whom."""

import json
from pathlib import Path

import numpy as np
import pytest

from models.dataset import TagDataset
from models.network import NetworkSettings
from models.thresholds import ThresholdSettings
from models.training import TrainingSettings
from pipeline.contender_training import Choice, _tell_of_few, fit_contenders

NAMES = ("fwd_packets", "bwd_packets", "fwd_bytes")


def flows(seed: int, tagged: int | None = None) -> TagDataset:
    """Return flows of which a seventh carries a tag, where a column is at its highest, or no more than so many."""
    random = np.random.default_rng(seed)
    features = random.integers(0, 7, (1_500, len(NAMES))).astype(np.float32)
    tags = (features[:, 0] == 6).astype(np.uint8)
    if tagged is not None:
        tags[np.flatnonzero(tags)[tagged:]] = 0
    return TagDataset(features, tags[:, None], NAMES, ("impact",))


@pytest.mark.parametrize(("tagged", "learning_rate", "share"), [(None, 1e-6, 0.3), (4, 1e-2, 0.0)])
def test_trees_teach_where_they_are_better(
    tmp_path: Path, tagged: int | None, learning_rate: float, share: float
) -> None:
    """A network that barely learns is taught by trees that beat it, and none by trees with too few flows to grow."""
    network = NetworkSettings(widths=(8,), members=1, ramps=0)
    training = TrainingSettings(epochs=4, batch_size=64, learning_rate=learning_rate, taught=0.3, network=network)
    choice = Choice(training, ThresholdSettings(false_alarm_budget=0.5))
    fit_contenders(flows(1, tagged), flows(2), choice, tmp_path / "made")
    notes = json.loads((tmp_path / "made" / "training.json").read_text())
    theirs, alone = (notes[name]["validation"]["mean_average_precision"] for name in ("boosting", "plain_bce"))
    assert (theirs > alone) == (share > 0)
    assert [notes[name]["settings"]["taught"] for name in ("detector", "plain_bce")] == [share, 0.0]


@pytest.mark.parametrize(("budget", "told"), [(0.0015, True), (0.002, False), (0.0, False)])
def test_few_benign_flows_for_a_budget_are_told_of(caplog: pytest.LogCaptureFixture, budget: float, told: bool) -> None:
    """0.15 % of 1,283 flows and one are less than two, so that none may fire; 1,334 are needed. None is no surprise."""
    with caplog.at_level("INFO", "flowtag"):
        _tell_of_few(1_283, budget)
    assert ("Validate on 1,334 of them or more" in caplog.text) == told
