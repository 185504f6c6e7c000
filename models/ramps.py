"""Numbers once more as ramps: where between the quantiles of the training flows a value lies, piece by piece.

A perceptron on one number a column has to bend every threshold out of few units; trees cut where they like. Each column
is therefore shown a second time as the rising parts of a piecewise-linear map: ramp t is 0 below its knot, 1 above
the next one, and linear in between, so that the first layer may weigh every piece apart. The knots are quantiles of the
training flows. A column of two values needs no ramps and gets none.

How many ramps a task is worth is asked of one tree: as many as it makes cuts until its leaves hold a few flows or
flows of one kind. Tags that stand apart take 24 cuts in all, and more ramps would only be more to compute and to get
wrong on other networks; tags that lie within each other take a thousand.

Source: Gorishniy et al. 2022, On Embeddings for Numerical Features in Tabular Deep Learning (piecewise-linear).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops
from sklearn.tree import DecisionTreeClassifier

from models.tensors import Tensor

Matrix = npt.NDArray[np.float32]

RUN_DECIMALS = 3
"""No ramp is shorter than 0.001 of a standardised input."""
MOST_RAMPS = 48
LEAST_RAMPS = 2
LEAF_FLOWS = 5


@dataclass(frozen=True)
class Ramps:
    """Where ramps begin and how steep they are.

    Attributes:
        columns: Positions of the inputs that have ramps.
        starts: Shape (ramps a column, n_columns).
        slopes: The same, 1 / run; 0 for a ramp that a column has not enough values for.
    """

    columns: tuple[int, ...]
    starts: Matrix
    slopes: Matrix


def worth(inputs: Matrix, tags: npt.NDArray[np.uint8], most: int, seed: int = 1) -> int:
    """Return how many ramps a task is worth: as many as one tree makes cuts, and no more than allowed.

    Args:
        inputs: Training flows as the network sees them, shape (n_flows, n_inputs), without NaN.
        tags: Shape (n_flows, n_tags), 0 or 1.
        most: Ramps allowed.
        seed: Of the tree, where cuts are equally good.
    """
    kinds = np.unique(tags, axis=0, return_inverse=True)[1].ravel()
    tree = DecisionTreeClassifier(min_samples_leaf=LEAF_FLOWS, random_state=seed).fit(inputs, kinds)
    return min(most, tree.get_n_leaves() - 1)


def place_ramps(inputs: Matrix, most: int) -> Ramps:
    """Return ramps between quantiles of the inputs, as many a column as the number in all allows, 2 to 48.

    Args:
        inputs: Training flows as the network sees them, shape (n_flows, n_inputs), without NaN.
        most: Ramps in all; exceeded only where all columns have the fewest.
    """
    distinct = [_apart(column) for column in inputs.T]
    varied = [column for column, values in enumerate(distinct) if len(values) > 2]
    count = max(LEAST_RAMPS, min(MOST_RAMPS, most // max(len(varied), 1)))
    starts, slopes = (np.zeros((count, len(varied)), np.float32) for _ in range(2))
    for position, column in enumerate(varied):
        knots = _knots(inputs[:, column], distinct[column], count + 1)
        runs = len(knots) - 1
        starts[:runs, position], slopes[:runs, position] = knots[:-1], 1 / np.diff(knots)
    return Ramps(tuple(varied), starts, slopes)


def _knots(values: Matrix, distinct: Matrix, most: int) -> Matrix:
    """Return at most so many knots: quantiles, and where those fall together on few values, the distinct values."""
    quantiles = _apart(np.quantile(values, np.linspace(0, 1, most)).astype(np.float32))
    if len(distinct) > most and len(quantiles) > (most + 1) // 2:
        return quantiles
    return distinct[np.unique(np.rint(np.linspace(0, len(distinct) - 1, most)).astype(np.intp))]


def _apart(values: Matrix) -> Matrix:
    """Return the values, ascending, those nearer than the least run taken as one."""
    return np.unique(np.round(values, RUN_DECIMALS))


@keras.saving.register_keras_serializable(package="flowtag")
class RampLayer(keras.layers.Layer):  # type: ignore[misc]  # keras carries no types
    """Maps (n, n_inputs) to (n, ramps a column * n_columns), each in [0, 1]."""

    def __init__(
        self,
        columns: Sequence[int],
        ramps: int,
        name: str | None = None,
        dtype: Any = None,  # noqa: ANN401 (a name, a policy or its saved configuration, as Keras hands it back)
    ) -> None:
        super().__init__(name=name, dtype=dtype, trainable=False)
        self.columns = tuple(columns)
        self.ramps = ramps

    def build(self, _input_shape: tuple[int | None, ...]) -> None:
        """Create the weights of starts and slopes."""
        shape = (self.ramps, len(self.columns))
        self.starts, self.slopes = (
            self.add_weight(shape=shape, name=name, trainable=False) for name in ("starts", "slopes")
        )

    def call(self, inputs: Tensor) -> Tensor:
        """Return every ramp of the columns, the first of each, then the second, and so on."""
        # columns last: a short last axis would cost three times as much
        chosen = ops.expand_dims(ops.take(inputs, np.asarray(self.columns, np.int32), axis=1), 1)
        ramps = ops.clip((chosen - self.starts) * self.slopes, 0.0, 1.0)
        return ops.reshape(ramps, (-1, self.ramps * len(self.columns)))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return (n, ramps a column * n_columns)."""
        return (input_shape[0], self.ramps * len(self.columns))

    def get_config(self) -> dict[str, Any]:
        """Return plain values; starts and slopes are weights."""
        base = {key: value for key, value in super().get_config().items() if key != "trainable"}
        return {**base, "columns": list(self.columns), "ramps": self.ramps}


def ramp_layer(ramps: Ramps, inputs: int) -> RampLayer:
    """Return the layer that carries the ramps, built for the number of inputs."""
    layer = RampLayer(ramps.columns, len(ramps.starts), "ramps", "float32")
    layer.build((None, inputs))
    layer.set_weights([ramps.starts, ramps.slopes])
    return layer
