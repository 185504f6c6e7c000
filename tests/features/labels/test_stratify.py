"""Which part each item goes to."""

import numpy as np

from features.labels.stratify import stratified

SHARES = (0.6, 0.2, 0.2)


def test_a_rare_tag_is_spread_by_share() -> None:
    """Ten rows of a tag among ten thousand go six, two and two; other counts are within one of their share."""
    tags = np.zeros((10_000, 3), np.int64)
    tags[:10, 0] = 1
    tags[5:505, 1] = 1
    tags[8:2008, 2] = 1
    parts = stratified(np.ones(len(tags), np.int64), tags, SHARES, 1)
    counts = np.array([tags[parts == part].sum(axis=0) for part in range(3)])
    assert counts[:, 0].tolist() == [6, 2, 2]
    assert np.abs(counts - np.outer(SHARES, [10, 500, 2000])).max() <= 1
    assert np.abs(np.bincount(parts) - np.array([6000, 2000, 2000])).max() <= 1


def test_groups_stay_whole_and_tags_reach_every_part() -> None:
    """Of groups of unlike sizes, a tag that three groups carry reaches all three parts."""
    sizes = np.array([500, 30, 20, 10, 400, 300, 200, 100, 60, 50])
    tags = np.zeros((10, 1), np.int64)
    tags[:3, 0] = (30, 10, 9)
    parts = stratified(sizes, tags, SHARES, 1)
    assert sorted(parts[:3].tolist()) == [0, 1, 2]
    rows = np.array([sizes[parts == part].sum() for part in range(3)])
    assert np.abs(rows / sizes.sum() - SHARES).max() < 0.1


def test_the_seed_decides_and_nothing_else() -> None:
    """The same seed gives the same parts, another one others; no rows give no parts."""
    tags = (np.random.default_rng(3).random((300, 4)) < 0.2).astype(np.int64)
    sizes = np.ones(300, np.int64)
    first, again, other = (stratified(sizes, tags, SHARES, seed) for seed in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()
    assert len(stratified(sizes[:0], tags[:0], SHARES, 1)) == 0
