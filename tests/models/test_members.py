"""Members on one trunk: each its own weights, and in training its own dropout."""

import numpy as np
import pytest

from models.members import MemberHidden, MemberOutputs

FLOWS, INPUTS, MEMBERS, WIDTH, OUTPUTS = 40, 6, 3, 4, 2


def numbers(*shape: int) -> np.ndarray:
    return np.random.default_rng(len(shape)).normal(size=shape).astype(np.float32)


def test_each_member_is_a_perceptron_of_its_own() -> None:
    """Both layers together answer, member by member, what NumPy makes of that member's weights alone."""
    hidden, outputs = MemberHidden(MEMBERS, WIDTH, "relu", 0.5), MemberOutputs(OUTPUTS, 0.5)
    inputs = numbers(FLOWS, INPUTS)
    answered = np.asarray(outputs(hidden(inputs)))
    kernels = np.asarray(hidden.kernel).reshape(INPUTS, MEMBERS, WIDTH)
    for member in range(MEMBERS):
        bias = np.asarray(hidden.bias).reshape(MEMBERS, WIDTH)[member]
        units = np.maximum(inputs.astype(np.float64) @ kernels[:, member] + bias, 0)
        alone = units @ np.asarray(outputs.kernel)[member] + np.asarray(outputs.bias)[member]
        np.testing.assert_allclose(answered[:, member], alone, rtol=1e-4, atol=1e-5)


def test_without_dropout_training_and_scoring_answer_the_same() -> None:
    """A share of 0 drops nothing."""
    layer = MemberHidden(MEMBERS, WIDTH, "relu", 0.0)
    inputs = numbers(FLOWS, INPUTS)
    np.testing.assert_allclose(np.asarray(layer(inputs, training=True)), np.asarray(layer(inputs)), atol=1e-6)


@pytest.mark.parametrize("layer", [MemberHidden(MEMBERS, WIDTH, "relu", 0.5), MemberOutputs(OUTPUTS, 0.5)])
def test_in_training_members_of_equal_weights_drop_different_inputs(layer: MemberHidden | MemberOutputs) -> None:
    """Members with the same weights answer alike in scoring and differ in training."""
    same = np.repeat(numbers(FLOWS, 1, WIDTH), MEMBERS, axis=1)
    inputs = numbers(FLOWS, INPUTS) if isinstance(layer, MemberHidden) else same
    layer(inputs)
    kernel = np.asarray(layer.kernel)
    if isinstance(layer, MemberHidden):
        layer.kernel.assign(np.tile(kernel[:, :WIDTH], (1, MEMBERS)))
    else:
        layer.kernel.assign(np.tile(kernel[:1], (MEMBERS, 1, 1)))
    assert np.ptp(np.asarray(layer(inputs)), axis=1).max() < 1e-5
    assert np.ptp(np.asarray(layer(inputs, training=True)), axis=1).max() > 0.1


@pytest.mark.parametrize("layer", [MemberHidden(MEMBERS, WIDTH, "relu", 0.5), MemberOutputs(OUTPUTS, 0.25)])
def test_layers_are_rebuilt_from_their_configuration(layer: MemberHidden | MemberOutputs) -> None:
    """The configuration that Keras saves makes an equal layer."""
    again = type(layer).from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    assert again.dropout == layer.dropout
