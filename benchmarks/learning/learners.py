"""What is compared: families of learners, each with a few candidates of which validation picks one.

Trees: one ensemble a tag, in scikit-learn, LightGBM and XGBoost, the same candidates each. Networks: the product's
own training under its defaults, and what was tried beside them. Every learner gets the same matrices, nulls included.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib.util import find_spec
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from models.boosting import BoostingSettings, fit_boosting
from models.dataset import TagDataset
from models.losses import LossSettings
from models.metrics import mean_average_precision
from models.network import NetworkSettings
from models.prediction import network_logits
from models.teaching import taught, teach
from models.training import TrainingSettings, train_network

Matrix = npt.NDArray[np.float32]
Scorer = Callable[[Matrix], Matrix]

GROWN = (
    BoostingSettings(),
    BoostingSettings(iterations=200, learning_rate=0.05, leaves=31),
    BoostingSettings(iterations=300, learning_rate=0.05, leaf_flows=20),
)


class Trees(Protocol):
    """A classifier of one tag, as all three libraries have it."""

    def fit(self, features: Matrix, tag: npt.NDArray[np.uint8]) -> "Trees":
        """Learn one tag."""

    def predict_proba(self, features: Matrix) -> Matrix:
        """Return the probabilities of 0 and 1, shape (n_flows, 2)."""


Build = Callable[[BoostingSettings], Trees]


@dataclass(frozen=True)
class Candidate:
    """One way to learn.

    Attributes:
        settings: Plain values, as they are stored with a result.
        learn: Takes training and validation flows and a seed, returns how to score.
    """

    settings: dict[str, Any]
    learn: Callable[[TagDataset, TagDataset, int], Scorer]


def families() -> dict[str, tuple[Candidate, ...]]:
    """Return every family that can be run here, by name, in the order of the report."""
    found = {"scikit-learn trees": tuple(Candidate(asdict(one), partial(_histograms, one)) for one in GROWN)}
    for name, module, build in (("LightGBM", "lightgbm", _lightgbm), ("XGBoost", "xgboost", _xgboost)):
        if find_spec(module):
            found[name] = tuple(Candidate(asdict(one), partial(_one_a_tag, build, one)) for one in GROWN)
    return found | {name: tuple(network_candidate(one) for one in tried) for name, tried in NETWORKS.items()}


def _histograms(settings: BoostingSettings, train: TagDataset, _valid: TagDataset, seed: int) -> Scorer:
    return fit_boosting(train, replace(settings, seed=seed)).score


def _one_a_tag(build: Build, settings: BoostingSettings, train: TagDataset, _valid: TagDataset, seed: int) -> Scorer:
    """Grow one ensemble a tag; one with too few positives answers its share, as in the product's own boosting."""
    shares = train.tags.mean(axis=0).astype(np.float32)
    grown: dict[int, Trees] = {}
    for tag, truth in enumerate(train.tags.T):
        positives = int(truth.sum())
        if settings.least_positives <= positives < len(truth):
            flows = min(settings.leaf_flows, max(1, positives // 2))
            grown[tag] = build(replace(settings, leaf_flows=flows, seed=seed)).fit(train.features, truth)

    def score(features: Matrix) -> Matrix:
        scores = np.tile(shares, (len(features), 1))
        for tag, trees in grown.items():
            scores[:, tag] = trees.predict_proba(features)[:, 1]
        return scores

    return score


def _lightgbm(settings: BoostingSettings) -> Trees:
    from lightgbm import LGBMClassifier  # noqa: PLC0415 (of the extra)

    return LGBMClassifier(
        n_estimators=settings.iterations,
        learning_rate=settings.learning_rate,
        num_leaves=settings.leaves,
        min_child_samples=settings.leaf_flows,
        reg_lambda=settings.l2,
        colsample_bytree=settings.column_share,
        random_state=settings.seed,
        n_jobs=1,
        verbose=-1,
    )


def _xgboost(settings: BoostingSettings) -> Trees:
    from xgboost import XGBClassifier  # noqa: PLC0415 (of the extra)

    return XGBClassifier(
        n_estimators=settings.iterations,
        learning_rate=settings.learning_rate,
        tree_method="hist",
        grow_policy="lossguide",
        max_depth=0,
        max_leaves=settings.leaves,
        min_child_weight=settings.leaf_flows / 100,  # counted in p (1 - p), of which a rare tag has little
        reg_lambda=settings.l2,
        colsample_bynode=settings.column_share,
        random_state=settings.seed,
        n_jobs=1,
    )


def network_candidate(settings: TrainingSettings) -> Candidate:
    """Return the product's own training under some settings, with what it does beforehand where trees may teach."""

    def learn(train: TagDataset, valid: TagDataset, seed: int) -> Scorer:
        seeded = replace(settings, seed=seed)
        learned, seeded = _taught(train, valid, seeded) if settings.taught else (train, seeded)
        return _network(learned, valid, seeded)

    return Candidate(settings.to_dict(), learn)


def _network(train: TagDataset, valid: TagDataset, settings: TrainingSettings) -> Scorer:
    network = train_network(train, valid, settings).network
    return lambda features: _sigmoid(network_logits(network, features))


def _taught(train: TagDataset, valid: TagDataset, settings: TrainingSettings) -> tuple[TagDataset, TrainingSettings]:
    """Return what is learned and how: from trees as well where these beat plain cross-entropy on validation flows."""
    plain = _network(train, valid, replace(settings, loss=LossSettings(penalty="none")))
    trees = fit_boosting(train)
    alone, theirs = (mean_average_precision(valid.tags, score(valid.features)) for score in (plain, trees.score))
    return taught(train, trees, settings) if teach(theirs, alone) else (train, settings)


def _sigmoid(logits: Matrix) -> Matrix:
    return np.asarray(1.0 / (1.0 + np.exp(-logits.astype(np.float64))), np.float32)


HARDER = TrainingSettings(learning_rate=4e-3, rare_flows=400, taught=0.0)
"""For tags that lie within each other and test flows of the same network as the training flows: every step counts."""
NETWORKS = {
    "network": (TrainingSettings(),),
    "network, untaught": (TrainingSettings(taught=0.0),),
    "network, tuned": (
        HARDER,
        replace(HARDER, network=NetworkSettings(input_dropout=0.0)),
        replace(HARDER, epochs=30),
    ),
}
