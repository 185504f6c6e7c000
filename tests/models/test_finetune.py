"""Fine-tuning: what is new is learned, what is replayed is kept, and without it the weights stay near."""

import numpy as np
import pytest

from models.adaptation import AdaptSettings
from models.dataset import TagDataset
from models.detector import Detector, weights_digest
from models.finetune import finetune
from models.losses import LossSettings
from tests.models.conftest import COLUMNS, TAGS, small_world

SETTINGS = AdaptSettings(epochs=16, learning_rate=0.01)


@pytest.fixture(scope="module")
def stranger() -> TagDataset:
    """Benign flows of another network: scans' column is as large as in scans, and one more is larger than at home."""
    flows = small_world(400, 7)
    benign = flows.rows(~flows.attack)
    features = benign.features.copy()
    features[:, 0] += np.float32(60.0)
    features[:, 5] += np.float32(6.0)
    return TagDataset(features, benign.tags, COLUMNS, TAGS)


def joined(one: TagDataset, other: TagDataset) -> TagDataset:
    return TagDataset(
        np.concatenate([one.features, other.features]), np.concatenate([one.tags, other.tags]), COLUMNS, TAGS
    )


def fires(network: object, flows: TagDataset, detector: Detector) -> float:
    """The share of flows that fire at the detector's thresholds with another network in it."""
    tuned = Detector(network, detector.card)
    return float(tuned.fired(tuned.score(flows.features)).any(axis=1).mean())


def test_a_stranger_is_learned_and_attacks_are_kept(
    detector: Detector, train: TagDataset, valid: TagDataset, stranger: TagDataset
) -> None:
    """The other network's benign flows stop firing; attacks of another sample still fire; the original is unchanged."""
    before = weights_digest(detector.network)
    attacks = valid.rows(valid.attack)
    assert fires(detector.network, stranger, detector) > 0.5
    tuned = finetune(detector.network, joined(train, stranger), SETTINGS, True, LossSettings())
    assert fires(tuned, stranger, detector) < 0.1
    assert fires(tuned, attacks, detector) > 0.85 * fires(detector.network, attacks, detector)
    assert weights_digest(detector.network) == before


def test_without_replay_weights_stay_near(detector: Detector, stranger: TagDataset) -> None:
    """A heavier anchor leaves the weights nearer to the old ones, and the tuned network keeps nothing of it."""

    def moved(anchor: float) -> float:
        settings = AdaptSettings(epochs=2, learning_rate=0.01, anchor=anchor)
        tuned = finetune(detector.network, stranger, settings, False, LossSettings())
        assert not tuned.losses
        old, new = detector.network.get_weights(), tuned.get_weights()
        return sum(float(np.square(a - b).sum()) for a, b in zip(old, new, strict=True))

    assert 0 < moved(10.0) < moved(0.0) / 2


def test_the_same_flows_give_the_same_weights(detector: Detector, stranger: TagDataset) -> None:
    """Twice the same, weight for weight; and as many epochs are told as were asked for."""
    told: list[int] = []
    once, twice = (
        weights_digest(
            finetune(detector.network, stranger, SETTINGS, True, LossSettings(penalty="hurdle"), told.append)
        )
        for _ in range(2)
    )
    assert once == twice
    assert told == [*range(1, 17)] * 2
