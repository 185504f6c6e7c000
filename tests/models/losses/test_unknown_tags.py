"""Tags that nobody looked for: they add nothing, whatever the network answers on them."""

import numpy as np
import pytest
import tensorflow as tf

from models.losses import UNKNOWN, LossSettings, TagLoss, row_loss
from models.losses.settings import Base, Penalty
from tests.models.losses import loss_oracle

PENALTIES: tuple[Penalty, ...] = ("none", "bounded", "hit", "event", "event_nll", "literal")
BASES: tuple[Base, ...] = ("bce", "focal", "asymmetric", "zlpr")


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("penalty", PENALTIES)
def test_an_unknown_tag_is_as_if_it_were_not_there(penalty: Penalty, base: Base) -> None:
    """The loss summed over tags is that of the known tags alone, and unknown ones have no gradient."""
    tags, logits = loss_oracle.some_rows(60, 5)
    masked = tags.copy()
    masked[:, 3:] = UNKNOWN
    settings = LossSettings(base, penalty, 1.3, "sum")
    z = tf.Variable(logits)
    with tf.GradientTape() as tape:
        value = row_loss(tf.constant(masked), z, settings)
    np.testing.assert_allclose(value, loss_oracle.row_loss(tags[:, :3], logits[:, :3], settings), rtol=1e-6, atol=2e-6)
    assert (tape.gradient(value, z).numpy()[:, 3:] == 0).all()


@pytest.mark.parametrize("penalty", [*PENALTIES, "hurdle"])
def test_a_row_of_which_nothing_is_known_costs_nothing(penalty: Penalty) -> None:
    """Value and gradient are 0, whatever the network answers, but for the literal form's log(1 + eps)."""
    settings = LossSettings(penalty=penalty, reduction="sum")
    z = tf.Variable(np.random.default_rng(0).normal(0, 50, (4, 5 + settings.hurdle)).astype(np.float32))
    with tf.GradientTape() as tape:
        value = row_loss(tf.fill((4, 5), UNKNOWN), z, settings)
    np.testing.assert_allclose(value, 0.0, atol=5e-7)
    np.testing.assert_array_equal(tape.gradient(value, z).numpy(), 0.0)


def test_averaged_losses_count_each_known_tag_as_if_all_were() -> None:
    """Averaging divides by all tags, so that one known label weighs the same beside unknown ones as beside known."""
    tags = np.array([[1.0, UNKNOWN]])
    logits = np.array([[0.0, 5.0]])
    assert float(row_loss(tf.constant(tags), tf.constant(logits), LossSettings(penalty="none"))[0]) == pytest.approx(
        np.log(2) / 2
    )


def test_the_hurdle_does_not_guess_whether_there_was_an_attack() -> None:
    """Known to be an attack with one true tag; not known where the only label that is missing may have been true."""
    settings = LossSettings(penalty="hurdle", reduction="sum")
    tags = np.array([[1.0, UNKNOWN], [0.0, UNKNOWN], [0.0, 0.0]])
    z = tf.Variable(np.zeros((3, 3)))
    with tf.GradientTape() as tape:
        value = row_loss(tf.constant(tags), z, settings)
    np.testing.assert_allclose(value, [2 * np.log(2), 0.0, np.log(2)])
    expected = [[-0.5, -0.5, 0.0], [0.0, 0.0, 0.0], [0.5, 0.0, 0.0]]
    np.testing.assert_allclose(tape.gradient(value, z), expected)


def test_the_keras_class_takes_unknown_tags_and_members() -> None:
    """An ensemble of the same logits costs what one network costs, unknown tags or not."""
    tags, logits = loss_oracle.some_rows(10, 4)
    tags[::2, 1] = UNKNOWN
    loss = TagLoss(LossSettings(), 4)
    members = np.stack([logits, logits], axis=1)
    both = loss.call(tf.constant(tags), tf.constant(members))
    np.testing.assert_allclose(both, loss.call(tf.constant(tags), tf.constant(logits)), rtol=1e-12)
