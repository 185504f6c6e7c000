"""Numbers once more as ramps: where between the quantiles of the training flows a value lies, piece by piece.

A perceptron on one number a column has to bend every threshold out of few units; trees cut where they like. Each column
is therefore shown a second time as the rising parts of a piecewise-linear map: ramp t is 0 below its knot, 1 above
the next one, and linear in between, so that the first layer may weigh every piece apart. The knots are quantiles of the
training flows. A column of two values needs no ramps and gets none.

Source: Gorishniy et al. 2022, On Embeddings for Numerical Features in Tabular Deep Learning (piecewise-linear).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from models.tensors import Tensor

Matrix = npt.NDArray[np.float32]

LEAST_RUN = 1e-3
MOST_RAMPS = 16
LEAST_RAMPS = 2


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


def place_ramps(knots: Matrix, most: int) -> Ramps:
    """Return ramps between knots, as many a column as the number in all allows, 2 to 16.

    Args:
        knots: Quantiles of each input on the training flows, ascending, shape (n_knots, n_inputs).
        most: Ramps in all; exceeded only where all columns have the fewest. 0 places none.
    """
    varied = [column for column in range(knots.shape[1]) if most and len(_apart(knots[:, column])) > 2]
    count = max(LEAST_RAMPS, min(MOST_RAMPS, most // max(len(varied), 1)))
    chosen = knots[np.rint(np.linspace(0, len(knots) - 1, count + 1)).astype(np.intp)]
    starts, slopes = (np.zeros((count, len(varied)), np.float32) for _ in range(2))
    for position, column in enumerate(varied):
        own = _apart(chosen[:, column])
        if len(own) <= LEAST_RAMPS:  # few quantiles fell beside its most frequent value
            own = _spread(_apart(knots[:, column]), count + 1)
        runs = len(own) - 1
        starts[:runs, position], slopes[:runs, position] = own[:-1], 1 / np.diff(own)
    return Ramps(tuple(varied), starts, slopes)


def _apart(knots: Matrix) -> Matrix:
    """Return those knots that lie a least run above the one before."""
    kept = [knots[0]]
    for knot in knots[1:]:
        if knot - kept[-1] > LEAST_RUN:
            kept.append(knot)
    return np.array(kept, np.float32)


def _spread(knots: Matrix, most: int) -> Matrix:
    """Return at most so many of the knots, first and last among them."""
    return knots[np.unique(np.rint(np.linspace(0, len(knots) - 1, most)).astype(np.intp))]


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
