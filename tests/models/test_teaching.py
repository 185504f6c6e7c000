"""Boosted trees teach what they answer, and the truth keeps its side."""

import dataclasses

import numpy as np
import pytest

from models.boosting import BoostingSettings, fit_boosting
from models.dataset import TagDataset
from models.teaching import taught, teach
from models.training import TrainingSettings


def test_targets_lie_between_truth_and_answers(train: TagDataset) -> None:
    """A true tag to which trees give 0.2 is learned as 0.68 under a share of 0.4; known and chosen rows follow."""
    trees = fit_boosting(train, BoostingSettings(iterations=5))
    known = np.ones(train.tags.shape, bool)
    known[0] = False
    learned, training = taught(dataclasses.replace(train, known=known), trees, TrainingSettings(taught=0.4))
    assert training == TrainingSettings(taught=0.4, learning_rate=4e-3)
    expected = 0.6 * train.tags + 0.4 * trees.score(train.features)
    np.testing.assert_allclose(learned.targets()[1:], expected[1:], rtol=1e-6)
    assert (learned.targets()[0] == -1).all()
    np.testing.assert_array_equal((learned.targets() > 0.5)[1:], train.tags[1:] > 0)
    np.testing.assert_array_equal(learned.rows(np.array([5, 3])).targets(), learned.targets()[[5, 3]])


@pytest.mark.parametrize(
    ("theirs", "alone", "answer"),
    [(0.57, 0.54, True), (0.884, 1.0, False), (0.9999, 0.9998, False), (0.3, None, True), (None, None, False)],
)
def test_trees_teach_where_they_are_clearly_better(theirs: float | None, alone: float | None, answer: bool) -> None:
    """A hundredth of mean average precision on validation flows decides; without positives there nobody teaches."""
    assert teach(theirs, alone) is answer
