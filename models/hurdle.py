"""The hurdle head: one logit for "any attack?", one a tag for "which, given an attack?"; p_i = s(z_0) * s(z_i).

The probability that no tag applies is then 1 - s(z_0) exactly, whatever the tags depend on, so this head is the one
whose "any attack" may be shown as a probability.
"""

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from models.tensors import Tensor

HEAD = "hurdle"
"""Name of the layer whose input holds the logit of any attack, by which a loaded network is asked for it."""

Matrix = npt.NDArray[np.float32]


@keras.saving.register_keras_serializable(package="flowtag")
class HurdleLogits(keras.layers.Layer):  # type: ignore[misc]  # keras carries no types
    """Maps logits (n, 1 + n_tags), any attack first, to the logits of s(z_0) * s(z_i), shape (n, n_tags)."""

    def call(self, inputs: Tensor) -> Tensor:
        """Return -log(e^-z0 + e^-zi + e^-(z0 + zi)), which is log(p / (1 - p)) without p ever being formed.

        Both logits 0: p = 1/4, logit -log 3 = -1.0986.
        """
        over, tags = ops.broadcast_to(inputs[:, :1], ops.shape(inputs[:, 1:])), inputs[:, 1:]
        return -ops.logsumexp(ops.stack([-over, -tags, -over - tags], axis=0), axis=0)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return one column less."""
        return (*input_shape[:-1], None if input_shape[-1] is None else input_shape[-1] - 1)


def has_head(network: keras.Model) -> bool:
    """Tell whether a network knows the probability of any attack."""
    return HEAD in {layer.name for layer in network.layers}


def head_logits(network: keras.Model) -> Tensor:
    """Return what the head of a network takes, as an output to build on: any attack's logit, then those of the tags."""
    return network.get_layer(HEAD).input


def hurdle_log_odds(tags: npt.NDArray[np.uint8]) -> Matrix:
    """Return a hurdle's start values, shape (1 + n_tags,): log-odds of any attack, then of each tag given an attack."""
    attack = np.asarray(tags.any(axis=1))
    return np.concatenate([tag_log_odds(attack[:, None].astype(np.uint8)), tag_log_odds(tags[attack])])


def tag_log_odds(tags: npt.NDArray[np.uint8]) -> Matrix:
    """Return each tag's log-odds, shape (n_tags,), counting half a flow more on each side so that none is infinite.

    A tag on 1 of 3 flows: log(1.5 / 2.5) = -0.5108.
    """
    positives = tags.sum(axis=0, dtype=np.float64)
    return np.log((positives + 0.5) / (len(tags) - positives + 0.5)).astype(np.float32)
