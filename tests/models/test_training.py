"""Training: it learns, it repeats itself, it stops, and it says why it cannot."""

import dataclasses

import numpy as np
import pytest

from features.errors import ConfigError, Diverged, ModelMismatch, UnsafeLoss
from models.dataset import TagDataset
from models.losses import LossSettings
from models.metrics import mean_average_precision
from models.network import NetworkSettings
from models.training import (
    EpochResult,
    TrainedNetwork,
    TrainingSettings,
    network_logits,
    repeated_rows,
    train_network,
)

SMALL = TrainingSettings(epochs=2, batch_size=256, learning_rate=0.01, network=NetworkSettings(widths=(16,), members=2))


def test_it_learns_what_columns_give_away(trained: TrainedNetwork, valid: TagDataset) -> None:
    """On flows whose tags show in their columns mean average precision is near 1."""
    assert (mean_average_precision(valid.tags, network_logits(trained.network, valid.features)) or 0) > 0.98


def test_the_same_seed_gives_the_same_weights(train: TagDataset, valid: TagDataset) -> None:
    """Two trainings with one seed end in the same weights bit for bit, another seed in others."""
    first, second, other = (
        train_network(train, valid, dataclasses.replace(SMALL, seed=seed)).network.get_weights() for seed in (5, 5, 6)
    )
    assert all(np.array_equal(ours, theirs) for ours, theirs in zip(first, second, strict=True))
    assert not all(np.array_equal(ours, theirs) for ours, theirs in zip(first, other, strict=True))


def test_each_epoch_is_reported(train: TagDataset, valid: TagDataset) -> None:
    """The callback sees every epoch once, in order, with finite figures, and the history holds the same."""
    seen: list[EpochResult] = []
    trained = train_network(train, valid, SMALL, seen.append)
    assert [result.epoch for result in seen] == [1, 2]
    assert tuple(seen) == trained.history
    assert all(np.isfinite(list(result.figures().values())).all() for result in seen)
    assert set(seen[0].figures()) == {"training_loss", "validation_loss", "silent_rate", "mean_average_precision"}


@pytest.mark.parametrize("monitor", ["loss", "mean_average_precision", "silence"])
def test_the_best_epoch_is_kept(train: TagDataset, monitor: str) -> None:
    """When later epochs are worse on the validation flows, the weights of the best one come back."""
    wrong_way_round = dataclasses.replace(train, tags=1 - train.tags)
    settings = dataclasses.replace(SMALL, epochs=6, patience=2, monitor=monitor)
    trained = train_network(train, wrong_way_round, settings)
    assert trained.best_epoch < len(trained.history) <= trained.best_epoch + 2
    best = trained.history[trained.best_epoch - 1]
    precision = mean_average_precision(wrong_way_round.tags, network_logits(trained.network, train.features))
    assert precision == pytest.approx(best.mean_average_precision)


def test_the_last_epoch_is_kept_by_default(train: TagDataset) -> None:
    """Without a monitor no epoch stops training, however bad the validation flows look."""
    wrong_way_round = dataclasses.replace(train, tags=1 - train.tags)
    trained = train_network(train, wrong_way_round, dataclasses.replace(SMALL, epochs=3, patience=1))
    assert (trained.best_epoch, len(trained.history)) == (3, 3)


def test_infinite_losses_stop_training(train: TagDataset, valid: TagDataset) -> None:
    """A learning rate that blows up ends in an error that says so, not in a silent model."""
    settings = dataclasses.replace(SMALL, epochs=8, learning_rate=1e30, weight_decay=0.0)
    with pytest.raises(Diverged, match="lower learning rate"):
        train_network(train, valid, settings)


def test_an_unsafe_loss_is_refused_before_training(train: TagDataset, valid: TagDataset) -> None:
    """The guard speaks before the first epoch."""
    settings = dataclasses.replace(SMALL, loss=LossSettings(penalty="literal", lambda_=1.0))
    with pytest.raises(UnsafeLoss, match="critical lambda"):
        train_network(train, valid, settings, lambda _: pytest.fail("an epoch ran"))


def test_datasets_that_differ_or_are_empty_are_refused(train: TagDataset, valid: TagDataset) -> None:
    """Other columns, other tags or no flows are a mismatch."""
    for other in (
        dataclasses.replace(valid, tag_names=("a", "b", "c")),
        dataclasses.replace(valid, feature_names=valid.feature_names[::-1]),
        valid.rows(np.arange(0)),
    ):
        with pytest.raises(ModelMismatch):
            train_network(train, other, SMALL)


def test_flows_of_rare_tags_are_repeated() -> None:
    """A tag on one flow is seen as often as asked, a common tag's flows once, an absent tag changes nothing."""
    tags = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [1, 0, 0], [1, 0, 0]], np.uint8)
    assert np.bincount(repeated_rows(tags, 4)).tolist() == [1, 1, 4, 1, 1]
    assert repeated_rows(tags, 0).tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("field", ["epochs", "batch_size", "learning_rate", "patience"])
def test_values_out_of_range_are_refused_by_name(field: str) -> None:
    """Nothing can be trained in 0 epochs or at rate 0."""
    with pytest.raises(ConfigError, match=rf"training\.{field}"):
        TrainingSettings(**{field: 0})  # type: ignore[arg-type]  # wrong on purpose
    with pytest.raises(ConfigError, match=r"training\.monitor"):
        TrainingSettings(monitor="accuracy")  # type: ignore[arg-type]  # wrong on purpose
