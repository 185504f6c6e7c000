"""Pace jitter: each training flow is shown as if its tool had run faster or slower, larger or smaller.

A detector that learns "a flood is 600 flows in 5 seconds" misses the flood of 60. Three factors are drawn for each
flow, log-normal, and applied to raw columns by what they measure: to times and rates within the flow, to the counts
and gaps of its neighbours, and to its volumes. Shares, outcomes and packet sizes stay as they are, so they become what
the network relies on.
"""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from features.schema import COLUMNS, Column
from models.tensors import Tensor

Exponents = npt.NDArray[np.float32]

WITHIN, COMPANY, VOLUME = range(3)
NOT_COUNTS = ("1", "s", "ln(1+bytes)")


def pace_exponents(feature_names: Sequence[str]) -> Exponents:
    """Return how each column follows the three factors, shape (3, n_features): 1 with it, -1 against it, 0 not at all.

    Columns that the schema does not know follow none.
    """
    known = {column.name: column for column in COLUMNS}
    exponents = np.zeros((3, len(feature_names)), np.float32)
    for position, name in enumerate(feature_names):
        if name in known:
            exponents[:, position] = _exponents(known[name])
    return exponents


def _exponents(column: Column) -> tuple[int, int, int]:
    if column.group == "context":
        return 0, 1 if column.unit == "s" else 0 if column.unit in NOT_COUNTS else -1, 0
    if column.unit.endswith("/s"):
        return -1, 0, 1
    return int(column.unit == "s"), 0, int(column.group == "volume" and column.unit in ("packets", "bytes"))


@keras.saving.register_keras_serializable(package="flowtag")
class PaceJitter(keras.layers.Layer):  # type: ignore[misc]  # keras carries no types
    """Scales raw columns, shape (n, n_features), by random factors in training; does nothing otherwise."""

    def __init__(
        self,
        exponents: Sequence[Sequence[float]],
        spreads: Sequence[float],
        name: str | None = None,
        dtype: Any = None,  # noqa: ANN401 (a name, a policy or its saved configuration, as Keras hands it back)
    ) -> None:
        super().__init__(name=name, dtype=dtype, trainable=False)
        self.exponents = [[float(value) for value in row] for row in exponents]
        self.spreads = [float(value) for value in spreads]
        self.random = keras.random.SeedGenerator()

    def call(self, inputs: Tensor, training: bool = False) -> Tensor:
        """Return the columns, scaled in training; NaN stays NaN."""
        if not training:
            return inputs
        drawn = keras.random.normal((ops.shape(inputs)[0], len(self.spreads)), seed=self.random)
        powers = ops.matmul(drawn * np.asarray(self.spreads, np.float32), np.asarray(self.exponents, np.float32))
        return inputs * ops.exp(powers)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the inputs' shape."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Return plain values."""
        inherited = {key: value for key, value in super().get_config().items() if key != "trainable"}
        return {**inherited, "exponents": self.exponents, "spreads": self.spreads}
