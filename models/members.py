"""Small perceptrons side by side on one trunk, as two layers: each its own weights, and in training its own dropout.

Averaged they answer like an ensemble for little more than one network costs: the trunk is computed once.

Source: Gorishniy et al. 2025, TabM (an ensemble in one network, trained by the mean of its members' losses).
"""

from typing import Any

import keras
from keras import ops

from models.tensors import Tensor


class _MemberLayer(keras.layers.Layer):  # type: ignore[misc]  # keras carries no types
    """A layer that drops its inputs in training, each member others."""

    def __init__(self, dropout: float, **given: Any) -> None:  # noqa: ANN401 (name and dtype, as Keras hands them back)
        super().__init__(**given)
        self.dropout = dropout
        self.seed_generator = keras.random.SeedGenerator()

    def _dropped(self, inputs: Tensor) -> Tensor:
        return keras.random.dropout(inputs, self.dropout, seed=self.seed_generator)

    def get_config(self) -> dict[str, Any]:
        """Return plain values."""
        return {**super().get_config(), "dropout": self.dropout}


@keras.saving.register_keras_serializable(package="flowtag")
class MemberHidden(_MemberLayer):
    """From the trunk to each member's hidden units: (n, inputs) to (n, members, width)."""

    def __init__(
        self,
        members: int,
        width: int,
        activation: str,
        dropout: float,
        **given: Any,  # noqa: ANN401 (as above)
    ) -> None:
        super().__init__(dropout, **given)
        self.members = members
        self.width = width
        self.activation = activation

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create one kernel for all members, side by side, and their biases."""
        shape = (input_shape[-1], self.members * self.width)
        self.kernel = self.add_weight(shape=shape, initializer="he_normal", name="kernel")
        self.bias = self.add_weight(shape=(self.members * self.width,), initializer="zeros", name="bias")

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        """Return hidden units, shape (n, members, width)."""
        activate = keras.activations.get(self.activation)
        shape = (-1, self.members, self.width)
        if not (training and self.dropout):
            return ops.reshape(activate(ops.matmul(inputs, self.kernel) + self.bias), shape)
        own = self._dropped(ops.repeat(ops.expand_dims(inputs, 1), self.members, axis=1))
        hidden = ops.einsum("nmi,imw->nmw", own, ops.reshape(self.kernel, shape))
        return activate(hidden + ops.reshape(self.bias, shape[1:]))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return (n, members, width)."""
        return (input_shape[0], self.members, self.width)

    def get_config(self) -> dict[str, Any]:
        """Return plain values."""
        return {**super().get_config(), "members": self.members, "width": self.width, "activation": self.activation}


@keras.saving.register_keras_serializable(package="flowtag")
class MemberOutputs(_MemberLayer):
    """The last layer of each member: (n, members, width) to (n, members, outputs)."""

    def __init__(self, outputs: int, dropout: float, **given: Any) -> None:  # noqa: ANN401 (as above)
        super().__init__(dropout, **given)
        self.outputs = outputs

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create a kernel and a bias for each member."""
        _, members, width = input_shape
        # as Glorot would start each member alone; of three axes he would count the members as inputs
        start = keras.initializers.RandomUniform(-(limit := (6 / ((width or 0) + self.outputs)) ** 0.5), limit)
        self.kernel = self.add_weight(shape=(members, width, self.outputs), initializer=start, name="kernel")
        self.bias = self.add_weight(shape=(members, self.outputs), initializer="zeros", name="bias")

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        """Return logits, shape (n, members, outputs)."""
        own = self._dropped(inputs) if training and self.dropout else inputs
        return ops.einsum("nmw,mwo->nmo", own, self.kernel) + self.bias

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return (n, members, outputs)."""
        return (*input_shape[:2], self.outputs)

    def get_config(self) -> dict[str, Any]:
        """Return plain values."""
        return {**super().get_config(), "outputs": self.outputs}
