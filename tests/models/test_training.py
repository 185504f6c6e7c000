"""Training: it learns, it repeats itself, it stops, and it says why it cannot."""

import dataclasses
import random
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt
import pytest

from features.errors import ConfigError, Diverged, ModelMismatch, UnsafeLoss
from models.dataset import TagDataset
from models.losses import LossSettings
from models.metrics import mean_average_precision
from models.network import NetworkSettings
from models.prediction import network_logits
from models.training import (
    TrainedNetwork,
    TrainingSettings,
    repeated_rows,
    train_network,
)
from models.watch import EpochResult
from tests.models.conftest import SMALL as EXACTLY

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


class _Disturbed(TagDataset):
    """Flows during whose gathering somebody else draws from Python's random numbers, as threads of other parts may."""

    def rows(self, chosen: npt.NDArray[np.intp] | npt.NDArray[np.bool_]) -> TagDataset:
        random.seed(7)
        return super().rows(chosen)


def test_what_others_draw_meanwhile_does_not_matter(train: TagDataset, valid: TagDataset) -> None:
    """While ramps are placed, which takes a while, others may draw random numbers: the weights are the same."""
    disturbed = _Disturbed(train.features, train.tags, train.feature_names, train.tag_names)
    ours, theirs = (train_network(one, valid, SMALL).network.get_weights() for one in (train, disturbed))
    assert all(np.array_equal(one, other) for one, other in zip(ours, theirs, strict=True))


def test_each_epoch_is_reported(train: TagDataset, valid: TagDataset) -> None:
    """The callback sees every epoch once, in order, with finite figures, and the history holds the same."""
    seen: list[EpochResult] = []
    trained = train_network(train, valid, SMALL, seen.append)
    assert [result.epoch for result in seen] == [1, 2]
    assert tuple(seen) == trained.history
    assert all(np.isfinite(list(result.figures().values())).all() for result in seen)
    assert set(seen[0].figures()) == {"training_loss", "validation_loss", "silent_rate", "mean_average_precision"}


def test_unknown_tags_teach_nothing(train: TagDataset, valid: TagDataset) -> None:
    """Half of a tag's flows, hidden as unknown, are still given it; hidden as if they lacked it, they are not."""
    hidden = (train.tags[:, 0] > 0) & (np.arange(len(train)) % 2 == 0)
    tags = train.tags.copy()
    tags[hidden, 0] = 0
    known = np.ones(tags.shape, bool)
    known[hidden, 0] = False
    scored = []
    for truth in (dataclasses.replace(train, tags=tags, known=known), dataclasses.replace(train, tags=tags)):
        network = train_network(truth, valid, dataclasses.replace(SMALL, epochs=8, batch_size=64)).network
        scored.append(network_logits(network, train.features)[hidden, 0].mean())
    assert scored[0] > 0 > scored[1], scored
    assert scored[0] > scored[1] + 1


def test_flows_that_weigh_nothing_teach_nothing(train: TagDataset, valid: TagDataset) -> None:
    """Half of the flows with wrong tags spoil the network, unless those flows weigh 0."""
    wrong = np.arange(len(train)) % 2 == 0
    spoilt = dataclasses.replace(train, tags=np.where(wrong[:, None], 1 - train.tags, train.tags))
    weighed = dataclasses.replace(spoilt, weights=np.where(wrong, 0, 3).astype(np.float32))
    longer = dataclasses.replace(SMALL, epochs=8, batch_size=64)
    blind, seeing = (train_network(one, valid, longer).history[-1].mean_average_precision for one in (spoilt, weighed))
    assert (blind or 1) < 0.8
    assert (seeing or 0) > 0.95


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


def test_infinite_losses_stop_training(train: TagDataset, valid: TagDataset, tmp_path: Path) -> None:
    """A learning rate that blows up ends in an error that names the batch and keeps it, not in a silent model."""
    settings = dataclasses.replace(SMALL, epochs=8, learning_rate=1e30, weight_decay=0.0)
    with pytest.raises(Diverged, match="lower learning rate") as caught:
        train_network(train, valid, settings, kept=tmp_path / "kept")
    kept = tmp_path / "kept" / "diverged.npz"
    assert f"kept in {kept}" in caught.value.where
    with np.load(kept) as batch:
        assert f"training rows {batch['rows'][0]}, {batch['rows'][1]}, " in caught.value.where
        assert len(batch["rows"]) == 256
        np.testing.assert_array_equal(batch["features"], train.features[batch["rows"]])
        np.testing.assert_array_equal(batch["tags"], train.tags[batch["rows"]])


class Killed(BaseException):
    """Stands for the end of the process at any place."""


def stopped_after(epochs: int) -> Callable[[EpochResult], None]:
    def on_epoch(result: EpochResult) -> None:
        if result.epoch == epochs:
            raise Killed

    return on_epoch


@pytest.mark.parametrize("monitor", ["last", "silence"])
def test_a_training_goes_on_where_it_was_killed(
    train: TagDataset, valid: TagDataset, tmp_path: Path, monitor: str
) -> None:
    """Killed twice and taken up again, it ends in the weights and the history of a training without a break."""
    settings = dataclasses.replace(SMALL, epochs=4, monitor=monitor)
    whole = train_network(train, valid, settings)
    for epochs in (1, 3):
        with pytest.raises(Killed):
            train_network(train, valid, settings, stopped_after(epochs), tmp_path)
    seen: list[EpochResult] = []
    resumed = train_network(train, valid, settings, seen.append, tmp_path)
    assert [result.epoch for result in seen] == [4]
    for ours, theirs in zip(resumed.network.get_weights(), whole.network.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
    for one, other in zip(resumed.history, whole.history, strict=True):
        assert one.figures() == pytest.approx(other.figures(), rel=1e-4)
    again = train_network(train, valid, settings, lambda _: pytest.fail("an epoch ran"), tmp_path)
    assert again.history == resumed.history


def test_a_damaged_state_is_no_state(train: TagDataset, valid: TagDataset, tmp_path: Path) -> None:
    """A state that cannot be read, or is of another network, is as if there were none."""
    whole = train_network(train, valid, SMALL)
    (tmp_path / "state.npz").write_bytes(b"half a file")
    assert train_network(train, valid, SMALL, kept=tmp_path).history == whole.history
    wider = dataclasses.replace(SMALL, network=NetworkSettings(widths=(17,), members=2))
    assert len(train_network(train, valid, wider, kept=tmp_path).history) == SMALL.epochs


def test_pieces_of_an_epoch_are_like_the_whole(
    train: TagDataset, valid: TagDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Flows gathered in pieces that are smaller than an epoch give the same weights as all at once."""
    whole = train_network(train, valid, SMALL)
    monkeypatch.setattr("models.training.PIECE_FLOWS", 600)
    pieces = train_network(train, valid, SMALL)
    for ours, theirs in zip(pieces.network.get_weights(), whole.network.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
    assert pieces.history[1].training_loss == pytest.approx(whole.history[1].training_loss, rel=1e-4)


def test_half_precision_is_of_training_alone(train: TagDataset, valid: TagDataset, trained: TrainedNetwork) -> None:
    """Trained in bfloat16 a network finds the tags as well, and what is kept of it computes in float32."""
    half = train_network(train, valid, dataclasses.replace(EXACTLY, precision="mixed_bfloat16"))
    precisions = {layer.compute_dtype for layer in half.network.layers}
    assert precisions == {layer.compute_dtype for layer in trained.network.layers} == {"float32"}
    answers = [network_logits(one.network, valid.features) for one in (half, trained)]
    assert (mean_average_precision(valid.tags, answers[0]) or 0) > 0.98
    assert np.abs(answers[0] - answers[1]).max() > 0
    assert keras.config.dtype_policy().name == "float32"


def test_compiled_steps_learn_the_same(train: TagDataset, valid: TagDataset) -> None:
    """XLA fuses the steps; losses agree with those of the plain ones to rounding."""
    few, settings = train.rows(np.arange(512)), dataclasses.replace(SMALL, epochs=1)
    plain, compiled = (
        train_network(few, valid, dataclasses.replace(settings, jit_compile=jit)).history[-1] for jit in (False, True)
    )
    assert compiled.validation_loss == pytest.approx(plain.validation_loss, rel=0.05)


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
    with pytest.raises(ConfigError, match=r"training\.precision"):
        TrainingSettings(precision="float16")  # type: ignore[arg-type]  # wrong on purpose
