"""A small world with three tags that eight columns give away, and a detector trained in it."""

import numpy as np
import pytest

from models.card import DetectorCard, benign_medians
from models.dataset import TagDataset
from models.detector import Detector
from models.metrics import evaluate
from models.network import NetworkSettings
from models.prediction import network_logits
from models.thresholds import ThresholdSettings, choose_thresholds
from models.training import TrainedNetwork, TrainingSettings, train_network

COLUMNS = tuple(f"column_{i}" for i in range(8))
TAGS = ("scan", "flood", "beacon")
SMALL = TrainingSettings(epochs=6, batch_size=128, learning_rate=0.01, network=NetworkSettings(widths=(32,), members=2))


def small_world(flows: int, seed: int) -> TagDataset:
    """Return flows of which 12 % carry a tag; each tag shows as a large value in a column of its own."""
    random = np.random.default_rng(seed)
    features = np.expm1(random.normal(0, 1, (flows, len(COLUMNS)))).astype(np.float32)
    tags = (random.random((flows, len(TAGS))) < 0.04).astype(np.uint8)
    features[:, : len(TAGS)] += tags * np.float32(60.0)
    features[random.random(flows) < 0.2, 7] = np.nan
    return TagDataset(features, tags, COLUMNS, TAGS)


@pytest.fixture(scope="session")
def train() -> TagDataset:
    return small_world(2_000, 1)


@pytest.fixture(scope="session")
def valid() -> TagDataset:
    return small_world(2_000, 2)


@pytest.fixture(scope="session")
def trained(train: TagDataset, valid: TagDataset) -> TrainedNetwork:
    return train_network(train, valid, SMALL)


@pytest.fixture(scope="session")
def detector(trained: TrainedNetwork, train: TagDataset, valid: TagDataset) -> Detector:
    return cut_by(trained, train, valid)


def cut_by(trained: TrainedNetwork, train: TagDataset, valid: TagDataset) -> Detector:
    """Return a detector of a trained network whose thresholds were chosen on validation flows."""
    scores = 1 / (1 + np.exp(-network_logits(trained.network, valid.features)))
    thresholds = choose_thresholds(valid.tags, scores, ThresholdSettings(0.01))
    figures = evaluate(valid.tags, scores, thresholds.cuts, valid.tag_names)
    card = DetectorCard(
        tag_names=TAGS,
        feature_names=COLUMNS,
        schema_version=1,
        schema_fingerprint="0123456789abcdef",
        thresholds=thresholds,
        benign_medians=benign_medians(train),
        settings=SMALL.to_dict(),
        validation=figures.to_dict(),
    )
    return Detector(trained.network, card)
