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
        seed: Of the columns drawn.
    """

    iterations: int = 100
    learning_rate: float = 0.1
    leaves: int = 15
    leaf_flows: int = 10
    l2: float = 1.0
    column_share: float = 0.3
    least_positives: int = 5
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
    """

    ensembles: tuple[HistGradientBoostingClassifier | None, ...]
    shares: tuple[float, ...]
    tag_names: tuple[str, ...]

    @property
    def constant_tags(self) -> tuple[str, ...]:
        """Tags that had too few positives to learn from and always answer their share."""
        return tuple(name for name, trees in zip(self.tag_names, self.ensembles, strict=True) if trees is None)

    def score(self, features: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return scores in [0, 1], shape (n_flows, n_tags)."""
        scores = np.empty((len(features), len(self.tag_names)), np.float32)
        scores[:] = self.shares
        grown = {tag: trees for tag, trees in enumerate(self.ensembles) if trees is not None}
        answers = _side_by_side(lambda trees: trees.predict_proba(features)[:, 1], grown.values())
        for tag, answer in zip(grown, answers, strict=True):
            scores[:, tag] = answer
        return scores


def fit_boosting(train: TagDataset, settings: BoostingSettings | None = None) -> BoostedTags:
    """Grow one ensemble a tag on the training flows; nulls go down the side of each split that suits them."""
    settings = settings or BoostingSettings()
    features = train.features.copy()
    features[:, np.isnan(features).all(axis=0)] = 0  # trees cannot be grown beside a column that never has a value
    ensembles = tuple(_side_by_side(partial(_fitted, features, settings), train.tags.T))
    shares = tuple(float(share) for share in train.tags.mean(axis=0))
    return BoostedTags(ensembles, shares, train.tag_names)


def _fitted(
    features: npt.NDArray[np.float32], settings: BoostingSettings, tag: npt.NDArray[np.uint8]
) -> HistGradientBoostingClassifier | None:
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
    return trees.fit(features, tag)


def _side_by_side(work: Callable[[Given], Answer], items: Iterable[Given]) -> list[Answer]:
    def alone(item: Given) -> Answer:
        with threadpool_limits(1, "openmp"):
            return work(item)

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        return list(threads.map(alone, items))
