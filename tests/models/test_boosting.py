"""The reference: boosted trees learn each tag by itself."""

import dataclasses

import numpy as np

from models.boosting import BoostingSettings, drawn_flows, fit_boosting
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


def test_flows_that_weigh_nothing_teach_nothing(train: TagDataset, valid: TagDataset) -> None:
    """Half of the flows with wrong tags spoil the trees, unless those flows weigh 0."""
    wrong = np.arange(len(train)) % 2 == 0
    spoilt = dataclasses.replace(train, tags=np.where(wrong[:, None], 1 - train.tags, train.tags))
    weighed = dataclasses.replace(spoilt, weights=np.where(wrong, 0, 3).astype(np.float32))
    blind, seeing = (
        mean_average_precision(valid.tags, fit_boosting(one, FAST).score(valid.features)) for one in (spoilt, weighed)
    )
    assert (blind or 1) < 0.8
    assert (seeing or 0) > 0.95


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


def test_few_flows_are_all_learned_from() -> None:
    """Nothing is drawn and nothing weighted where the flows are no more than allowed."""
    rows, weights = drawn_flows(np.zeros((50, 2), np.uint8), 50, 1)
    assert (rows.tolist(), weights) == (list(range(50)), None)


def test_of_many_flows_a_weighted_draw_stands_for_all() -> None:
    """The rare tag keeps all its flows, the draw has about its size, and weights add up to the flows there are."""
    tags = np.zeros((200_000, 3), np.uint8)
    tags[:30, 0] = 1
    tags[10:60_000, 1] = 1  # twenty flows carry both
    rows, weights = drawn_flows(tags, 10_000, 1)
    assert weights is not None
    assert set(range(30)) <= set(rows.tolist())
    assert 7_000 < len(rows) < 8_500  # half benign, a quarter of the frequent tag, thirty of the rare one
    assert (weights[rows < 30] == 1).all()
    for where, flows in ((rows >= 60_000, 140_000), ((rows >= 30) & (rows < 60_000), 59_970)):
        assert abs(weights[where].sum() / flows - 1) < 0.05
    again, _ = drawn_flows(tags, 10_000, 1)
    np.testing.assert_array_equal(rows, again)


def test_a_draw_learns_nearly_what_all_flows_teach(train: TagDataset, valid: TagDataset) -> None:
    """Grown on half the flows, the trees still find the tags, and their scores keep the scale of probabilities."""
    drawn = fit_boosting(train, dataclasses.replace(FAST, most_flows=1_000))
    assert 400 < drawn.flows < 1_000
    scores = drawn.score(valid.features)
    assert (mean_average_precision(valid.tags, scores) or 0) > 0.9
    np.testing.assert_allclose(scores.mean(axis=0), valid.tags.mean(axis=0), atol=0.02)
