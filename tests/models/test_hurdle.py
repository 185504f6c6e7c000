"""The hurdle head: its logits, its loss, and what a trained network says about any attack."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.optimize import minimize

from models.dataset import TagDataset
from models.detector import Detector
from models.hurdle import HEAD, HurdleLogits, hurdle_log_odds, tag_log_odds
from models.losses import LossSettings, row_loss
from models.prediction import network_logits
from models.training import train_network
from tests.models.conftest import SMALL
from tests.models.losses import loss_oracle


def test_log_odds_count_half_a_flow_more() -> None:
    """A tag on 1 of 3 flows starts at log(1.5 / 2.5); a tag on none is finite."""
    tags = np.array([[1, 0], [0, 0], [0, 0]], np.uint8)
    np.testing.assert_allclose(tag_log_odds(tags), [np.log(1.5 / 2.5), np.log(0.5 / 3.5)], rtol=1e-6)


def test_a_hurdle_starts_at_the_shares_of_attacks_and_of_tags_among_them() -> None:
    """2 attacks in 4 flows, one tag on both and one on one of them."""
    tags = np.array([[1, 0], [1, 1], [0, 0], [0, 0]], np.uint8)
    expected = [0.0, np.log(2.5 / 0.5), 0.0]
    np.testing.assert_allclose(hurdle_log_odds(tags), expected, rtol=1e-6)


def test_logits_are_those_of_the_product_of_probabilities() -> None:
    """The logit of s(z0) * s(z_i), and finite where the product rounds to 0 or 1."""
    raw = np.random.default_rng(0).normal(0, 3, (50, 4))
    p = loss_oracle.sigmoid(raw[:, :1]) * loss_oracle.sigmoid(raw[:, 1:])
    np.testing.assert_allclose(HurdleLogits(dtype="float64")(raw), np.log(p / (1 - p)), rtol=1e-9)
    assert float(HurdleLogits()(np.zeros((1, 2), np.float32))[0, 0]) == pytest.approx(-1.098612, abs=1e-6)
    extremes = HurdleLogits()(np.array([[-1e4, 1e4], [1e4, 1e4], [-1e4, -1e4]], np.float32))
    np.testing.assert_allclose(np.ravel(extremes), [-1e4, 1e4 - np.log(2), -2e4])


def test_the_loss_is_the_likelihood_of_the_product() -> None:
    """Summed over tags it is -log of the probability of the whole row, written out."""
    tags, _ = loss_oracle.some_rows(60, 4)
    logits = np.random.default_rng(1).normal(0, 2, (60, 5))
    settings = LossSettings(penalty="hurdle", reduction="sum")
    np.testing.assert_allclose(row_loss(tags, logits, settings), loss_oracle.hurdle_loss(tags, logits), rtol=1e-9)


def test_its_optimum_is_the_truth_for_dependent_tags_too() -> None:
    """At the minimum p_i is the share of flows with tag i, and 1 - s(z0) the share of benign flows."""
    patterns = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 0, 1]], np.float64)
    share = np.array([0.7, 0.15, 0.1, 0.05])
    settings = LossSettings(penalty="hurdle", reduction="sum")

    def expected(logits: np.ndarray) -> tuple[float, np.ndarray]:
        z = tf.Variable(np.tile(logits, (4, 1)))
        with tf.GradientTape() as tape:
            value = row_loss(tf.constant(patterns), z, settings)
        return float(share @ value.numpy()), share @ tape.gradient(value, z).numpy()

    best = loss_oracle.sigmoid(minimize(expected, np.zeros(4), jac=True, tol=1e-12).x)
    np.testing.assert_allclose(best[0], 0.3, rtol=1e-4)
    np.testing.assert_allclose(best[0] * best[1:], share @ patterns, rtol=1e-4)


@pytest.mark.parametrize("size", [0.0, 104.0, 1e4])
@pytest.mark.parametrize("n_tags", [1, 200])
def test_values_and_gradients_are_finite(n_tags: int, size: float) -> None:
    """No logit up to 1e4 and no number of tags up to 200 makes NaN or infinity."""
    tags = np.stack([np.zeros(n_tags), np.ones(n_tags), np.arange(n_tags) % 2 == 0]).astype(np.float32)
    for sign in (1.0, -1.0):
        z = tf.Variable(np.full((3, 1 + n_tags), sign * size, np.float32))
        with tf.GradientTape() as tape:
            value = row_loss(tf.constant(tags), z, LossSettings(penalty="hurdle"))
        assert np.isfinite(value.numpy()).all()
        assert np.isfinite(tape.gradient(value, z).numpy()).all()


def test_a_trained_network_tells_attacks_from_benign_flows(
    train: TagDataset, valid: TagDataset, detector: Detector, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """After training, saving and loading, P(any attack) separates and is at least every tag's probability."""
    settings = dataclasses.replace(SMALL, loss=LossSettings(penalty="hurdle"))
    trained = train_network(train, valid, settings)
    path = tmp_path_factory.mktemp("hurdle") / "network.keras"
    trained.network.save(path)
    network = keras.saving.load_model(path, compile=False, safe_mode=True)
    any_of = dataclasses.replace(detector, network=network).answers(valid.features).any_attack
    assert any_of is not None
    assert ((any_of > 0.5) == valid.attack).mean() > 0.97
    tags = loss_oracle.sigmoid(network_logits(network, valid.features).astype(np.float64))
    assert tags.shape == valid.tags.shape
    assert (tags <= any_of[:, None] + 1e-6).all()
    assert network.get_layer(HEAD).input.shape == (None, 1 + valid.tags.shape[1])


def test_other_networks_do_not_know_of_any_attack(detector: Detector, valid: TagDataset) -> None:
    """Without the head there is no such probability, and none is made up."""
    assert detector.answers(valid.features).any_attack is None
