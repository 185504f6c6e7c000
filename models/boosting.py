"""The reference every network is held against: gradient-boosted trees, one ensemble a tag.

Tags are grown side by side, one thread each: the threads that scikit-learn would start inside every tree spend, on a
busy machine, five times as long waiting for each other as working.
"""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from sklearn.ensemble import HistGradientBoostingClassifier
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # comes with scikit-learn

from models.dataset import TagDataset
from models.prediction import pieces

Given = TypeVar("Given")
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class BoostingSettings:
    """How the trees are grown; nulls need no preparation.

    Attributes:
        iterations: Trees a tag.
        learning_rate: Weight of each tree.
        leaves: Leaves a tree at most.
        leaf_flows: Flows a leaf holds at least.
        l2: Penalty on leaf values.
        column_share: Share of the columns a split may look at.
        least_positives: Positives below which a tag answers its share in training instead of trees.
        most_flows: Of more training flows so many, about, are drawn: at most half of them benign, the others shared
            evenly among the tags, and weighted so that each stands for those left out.
        seed: Of the columns and flows drawn.
    """

    iterations: int = 100
    learning_rate: float = 0.1
    leaves: int = 15
    leaf_flows: int = 10
    l2: float = 1.0
    column_share: float = 0.3
    least_positives: int = 5
    most_flows: int = 200_000
    seed: int = 1

    def to_dict(self) -> dict[str, float]:
        """Return plain values, as they are logged."""
        return asdict(self)


@dataclass(frozen=True)
class BoostedTags:
    """One ensemble a tag.

    Attributes:
        ensembles: In the order of ``tag_names``; None where the tag answers ``shares``.
        shares: Each tag's share of the training flows.
        tag_names: Names of the tags.
        flows: How many flows they were grown on; 0 where that was not kept.
    """

    ensembles: tuple[HistGradientBoostingClassifier | None, ...]
    shares: tuple[float, ...]
    tag_names: tuple[str, ...]
    flows: int = 0

    @property
    def constant_tags(self) -> tuple[str, ...]:
        """Tags that had too few positives to learn from and always answer their share."""
        return tuple(name for name, trees in zip(self.tag_names, self.ensembles, strict=True) if trees is None)

    def score(self, features: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return scores in [0, 1], shape (n_flows, n_tags)."""
        scores = np.empty((len(features), len(self.tag_names)), np.float32)
        scores[:] = self.shares
        grown = {tag: trees for tag, trees in enumerate(self.ensembles) if trees is not None}
        start = 0
        for piece in pieces(features):
            rows, exact = slice(start, start + len(piece)), piece.astype(np.float64)  # once for all, as trees take it
            answers = _side_by_side(partial(_probability, exact), grown.values())
            for tag, answer in zip(grown, answers, strict=True):
                scores[rows, tag] = answer
            start = rows.stop
        return scores


def fit_boosting(train: TagDataset, settings: BoostingSettings | None = None) -> BoostedTags:
    """Grow one ensemble a tag on the training flows by their weights; nulls go down the side that suits a split."""
    settings = settings or BoostingSettings()
    rows, weights = drawn_flows(train.tags, settings.most_flows, settings.seed)
    features = train.features[rows].astype(np.float64)  # once for all, as trees take it
    features[:, np.isnan(features).all(axis=0)] = 0  # trees cannot be grown beside a column that never has a value
    if train.weights is not None:
        weights = train.weights[rows].astype(np.float64) * (1.0 if weights is None else weights)
    ensembles = tuple(_side_by_side(partial(_fitted, features, weights, settings), train.targets()[rows].T))
    shares = tuple(float(share) for share in train.tags.mean(axis=0))
    return BoostedTags(ensembles, shares, train.tag_names, len(rows))


def drawn_flows(
    tags: npt.NDArray[np.uint8], most: int, seed: int
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float64] | None]:
    """Return the rows to learn from, ascending, and how many flows each stands for; all, without weights, if few.

    Each flow counts to its rarest tag; a tag that has fewer flows than its share keeps them all.
    """
    if len(tags) <= most:
        return np.arange(len(tags)), None
    positives = tags.sum(axis=0, dtype=np.int64)
    rarest = np.where(tags > 0, positives, len(tags)).min(axis=1)
    attack = tags.any(axis=1)
    of_a_tag = most / 2 / max((positives > 0).sum(), 1)
    kept = np.minimum(1.0, np.where(attack, of_a_tag / rarest, most / 2 / max((~attack).sum(), 1)))
    rows = np.flatnonzero(np.random.default_rng(seed).random(len(tags)) < kept)
    return rows, 1 / kept[rows]


def _probability(features: npt.NDArray[np.float64], trees: HistGradientBoostingClassifier) -> npt.NDArray[np.float64]:
    return np.asarray(trees.predict_proba(features)[:, 1])


def _fitted(
    features: npt.NDArray[np.float64],
    weights: npt.NDArray[np.float64] | None,
    settings: BoostingSettings,
    tag: npt.NDArray[np.float32],
) -> HistGradientBoostingClassifier | None:
    known = tag >= 0
    if not known.all():
        features, tag = features[known], tag[known]
        weights = None if weights is None else weights[known]
    positives = int(tag.sum())
    if positives < settings.least_positives or positives == len(tag):
        return None
    trees = HistGradientBoostingClassifier(
        max_iter=settings.iterations,
        learning_rate=settings.learning_rate,
        max_leaf_nodes=settings.leaves,
        min_samples_leaf=min(settings.leaf_flows, max(1, positives // 2)),
        l2_regularization=settings.l2,
        max_features=settings.column_share,
        early_stopping=False,
        random_state=settings.seed,
    )
    return trees.fit(features, tag, weights)


def _side_by_side(work: Callable[[Given], Answer], items: Iterable[Given]) -> list[Answer]:
    def alone(item: Given) -> Answer:
        with threadpool_limits(1, "openmp"):
            return work(item)

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        return list(threads.map(alone, items))
