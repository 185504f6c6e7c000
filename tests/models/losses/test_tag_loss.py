"""The Keras class: shapes, saving, and what training with it does."""

import keras
import numpy as np
import pytest

from features.errors import UnsafeLoss
from models.losses import LossSettings, TagLoss
from models.losses.tag_loss import row_loss
from tests.models.losses import loss_oracle


def test_one_value_a_row() -> None:
    """call() returns one value a row; members of an ensemble are averaged."""
    tags, logits = loss_oracle.some_rows(10, 4)
    settings = LossSettings()
    loss = TagLoss(settings, 4)
    members = np.stack([logits, logits + 1, -logits], axis=1)
    ours = loss.call(keras.ops.convert_to_tensor(tags), keras.ops.convert_to_tensor(members))
    expected = np.mean([loss_oracle.row_loss(tags, members[:, i], settings) for i in range(3)], axis=0)
    np.testing.assert_allclose(ours, expected, rtol=1e-10)
    single = loss.call(keras.ops.convert_to_tensor(tags), keras.ops.convert_to_tensor(logits))
    np.testing.assert_allclose(single, loss_oracle.row_loss(tags, logits, settings), rtol=1e-10)


def test_rows_are_averaged_and_weighted_by_keras() -> None:
    """Calling the loss averages rows and honours sample weights."""
    tags, logits = (part.astype(np.float32) for part in loss_oracle.some_rows(10, 4))
    rows = loss_oracle.row_loss(tags.astype(np.float64), logits.astype(np.float64), LossSettings())
    loss = TagLoss(LossSettings(), 4)
    assert float(loss(tags, logits)) == pytest.approx(rows.mean(), rel=1e-5)
    weights = np.arange(10, dtype=np.float32)
    assert float(loss(tags, logits, weights)) == pytest.approx((rows * weights).mean(), rel=1e-5)


@pytest.mark.parametrize("penalty", ["bounded", "hit", "event", "event_nll"])
def test_penalties_see_which_tags_are_carried(penalty: str) -> None:
    """Targets drawn towards other answers change what the base costs, and nothing of the penalty."""
    tags, logits = loss_oracle.some_rows(20, 5)
    soft = 0.6 * tags + 0.4 * np.random.default_rng(0).random(tags.shape)
    costs = {
        (name, one): np.asarray(row_loss(*map(keras.ops.convert_to_tensor, (truth, logits)), LossSettings(penalty=one)))  # type: ignore[arg-type]
        for name, truth in (("hard", tags), ("soft", soft))
        for one in (penalty, "none")
    }
    paid = [costs[name, penalty] - costs[name, "none"] for name in ("hard", "soft")]
    np.testing.assert_allclose(*paid, rtol=1e-9, atol=1e-12)
    p = loss_oracle.sigmoid(logits)
    expected = -(soft * np.log(p) + (1 - soft) * np.log(1 - p)).mean(axis=1)
    np.testing.assert_allclose(costs["soft", "none"], expected, rtol=1e-10)


def test_a_saved_loss_is_the_same_loss() -> None:
    """Serialising by its registered name brings back the same settings."""
    loss = TagLoss(LossSettings("focal", "hit", 1.0), 7)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert isinstance(again, TagLoss)
    assert (again.settings, again.n_tags) == (loss.settings, 7)
    assert keras.saving.get_registered_name(TagLoss) == "flowtag>TagLoss"


def test_a_collapsing_loss_cannot_be_built() -> None:
    """The guard stands in the constructor, before the first step."""
    with pytest.raises(UnsafeLoss, match="critical lambda"):
        TagLoss(LossSettings(penalty="literal", lambda_=1.0), 9)


def share_that_fires(settings: LossSettings) -> float:
    """Train a small network on 96 % benign flows and return the share of benign flows it fires on at 0.5."""
    keras.utils.set_random_seed(0)
    random = np.random.default_rng(0)
    attack = random.random(4_000) < 0.04
    features = random.normal(0, 1, (4_000, 6)).astype(np.float32)
    features[attack, :3] += 2.0
    tags = np.zeros((4_000, 9), np.float32)
    tags[attack, random.integers(0, 9, int(attack.sum()))] = 1.0
    network = keras.Sequential([keras.Input((6,)), keras.layers.Dense(16, "relu"), keras.layers.Dense(9)])
    network.compile(optimizer=keras.optimizers.Adam(0.02), loss=TagLoss(settings, 9), jit_compile=False)
    network.fit(features, tags, batch_size=256, epochs=8, verbose=0)
    return float((network.predict(features[~attack], verbose=0) > 0).any(axis=1).mean())


def test_literal_1_fires_on_everything_and_bounded_3_does_not() -> None:
    """The published loss at lambda 1 collapses into firing on every benign flow; the default does not."""
    assert share_that_fires(LossSettings(penalty="literal", lambda_=1.0, allow_unsafe=True)) > 0.99
    assert share_that_fires(LossSettings()) < 0.01
