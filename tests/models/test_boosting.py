"""The reference: boosted trees learn each tag by itself."""

import dataclasses

import numpy as np

from models.boosting import BoostingSettings, fit_boosting
from models.dataset import TagDataset
from models.metrics import mean_average_precision

FAST = BoostingSettings(iterations=20)


def test_it_learns_what_columns_give_away(train: TagDataset, valid: TagDataset) -> None:
    """On flows whose tags show in their columns mean average precision is near 1, nulls and all."""
    scores = fit_boosting(train, FAST).score(valid.features)
    assert (scores.shape, scores.dtype) == (valid.tags.shape, np.float32)
    assert (mean_average_precision(valid.tags, scores) or 0) > 0.95


def test_tags_with_too_few_positives_answer_their_share_and_are_named(train: TagDataset, valid: TagDataset) -> None:
    """A tag with four positives, and one with none, get no trees but a constant, and are listed."""
    tags = train.tags.copy()
    tags[np.flatnonzero(tags[:, 1])[4:], 1] = 0
    tags[:, 2] = 0
    boosted = fit_boosting(dataclasses.replace(train, tags=tags), FAST)
    assert boosted.constant_tags == ("flood", "beacon")
    scores = boosted.score(valid.features)
    np.testing.assert_allclose(scores[:, 1], 4 / len(train))
    assert (scores[:, 2] == 0).all()


def test_a_column_without_any_value(train: TagDataset, valid: TagDataset) -> None:
    """A column that is null in every flow it learns from is learned nothing from, whatever it holds later."""
    empty = np.full((len(train), 1), np.nan, np.float32)
    names = (*train.feature_names, "empty")
    wider = dataclasses.replace(train, features=np.hstack([train.features, empty]), feature_names=names)
    settings = dataclasses.replace(FAST, column_share=1.0)
    later = np.hstack([valid.features, np.ones((len(valid), 1), np.float32)])
    expected = fit_boosting(train, settings).score(valid.features)
    np.testing.assert_array_equal(fit_boosting(wider, settings).score(later), expected)


def test_the_same_seed_gives_the_same_scores(train: TagDataset, valid: TagDataset) -> None:
    """Columns are drawn by the seed alone."""
    first, second = (fit_boosting(train, FAST).score(valid.features) for _ in range(2))
    np.testing.assert_array_equal(first, second)
