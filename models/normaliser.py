"""Raw columns to bounded network inputs, as a layer that is saved with the network.

Flow columns have heavy tails (bytes span nine decades), points of mass (mostly 0) and nulls. The statistics are
measured once, on the training flows; a column that was ever null there gets an indicator input, one for all columns
that were null on the same flows, and null itself becomes 0, the centre. Every input is bounded, so that other traffic
cannot push the network where it was never trained.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from features.errors import ConfigError
from models.dataset import columns_of
from models.tensors import Tensor

Transform = Literal["robust", "quantile", "log"]
TRANSFORMS: tuple[str, ...] = get_args(Transform)

# Ramps of the piecewise-linear quantile map: each costs one pass over the inputs.
_RAMPS = 16
# A uniform rank stretched over this span has variance 1.
_SPAN = 2.0 * 3.0**0.5
_NORMAL_IQR = 1.349
_LARGEST_LOG = float(np.log(np.finfo(np.float32).max))

# A name, a policy or its saved configuration, as Keras hands it back.
DtypePolicy: TypeAlias = Any
Matrix = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Normalisation:
    """What was measured on the training flows.

    Attributes:
        transform: ``robust``: asinh of (x - median) / spread; ``log``: standardised signed log1p; ``quantile``:
            piecewise-linear rank of signed log1p, in [-sqrt(3), sqrt(3)].
        clip: Bound on every input; inputs lie in [-clip, clip].
        null_columns: Positions of columns that were null at least once; one for all that were null on the same flows.
        weights: Arrays of the layer in the order ``center, scale`` (n_features,), or for ``quantile``
            ``low, inverse_width, height`` (n_features, ramps) and ``offset`` (n_features,).
    """

    transform: str
    clip: float
    null_columns: tuple[int, ...]
    weights: tuple[Matrix, ...]


def measure(features: Matrix, transform: str, clip: float) -> Normalisation:
    """Measure the statistics of a transform on training flows.

    Args:
        features: Shape (n_flows, n_features), NaN for null; infinities count as null here.
        transform: One of ``TRANSFORMS``.
        clip: Bound on every input.

    Raises:
        ConfigError: The transform is unknown.
    """
    if transform not in TRANSFORMS:
        raise ConfigError("unknown transform", "network.transform", ", ".join(TRANSFORMS), repr(transform))
    of_column = {"robust": _robust, "log": _standard, "quantile": _ramps}[transform]
    measured = []
    null_patterns: dict[bytes, int] = {}  # of columns that are null on the same flows the first
    for position, column in enumerate(columns_of(features)):  # all as float64 would take twice what the flows take
        measured.append(of_column(column[np.isfinite(column)].astype(np.float64)))
        null = np.isnan(column)
        if null.any():
            null_patterns.setdefault(np.packbits(null).tobytes(), position)
    weights = tuple(np.asarray(parts, np.float32) for parts in zip(*measured, strict=True))
    return Normalisation(transform, clip, tuple(null_patterns.values()), weights)


@keras.saving.register_keras_serializable(package="flowtag")
class FlowNormaliser(keras.layers.Layer):  # type: ignore[misc]  # keras carries no types
    """Maps (n, n_features) with NaN to (n, n_features + n_null_columns), bounded and without NaN."""

    def __init__(
        self,
        transform: str,
        clip: float,
        null_columns: Sequence[int],
        name: str | None = None,
        dtype: DtypePolicy = None,
    ) -> None:
        super().__init__(name=name, dtype=dtype, trainable=False)
        self.transform = transform
        self.clip = clip
        self.null_columns = tuple(null_columns)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the statistics' weights for the number of columns."""
        columns = input_shape[-1]
        if self.transform == "quantile":
            shapes = dict.fromkeys(("low", "inverse_width", "height"), (columns, _RAMPS)) | {"offset": (columns,)}
        else:
            shapes = dict.fromkeys(("center", "scale"), (columns,))
        self.statistics = [self.add_weight(shape=shape, name=name, trainable=False) for name, shape in shapes.items()]

    def call(self, inputs: Tensor) -> Tensor:
        """Return bounded inputs, followed by one 0/1 indicator for each column that may be null."""
        null = ops.isnan(inputs)
        mapped = ops.where(null, 0.0, ops.clip(self._mapped(inputs), -self.clip, self.clip))
        if not self.null_columns:
            return mapped
        indicators = ops.take(null, np.asarray(self.null_columns, np.int32), axis=1)
        return ops.concatenate([mapped, ops.cast(indicators, mapped.dtype)], axis=1)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return (n, n_features + n_null_columns)."""
        return (input_shape[0], (input_shape[1] or 0) + len(self.null_columns))

    def get_config(self) -> dict[str, Any]:
        """Return plain values; the statistics are weights."""
        own = {"transform": self.transform, "clip": self.clip, "null_columns": list(self.null_columns)}
        return {**{key: value for key, value in super().get_config().items() if key != "trainable"}, **own}

    def _mapped(self, inputs: Tensor) -> Tensor:
        if self.transform == "quantile":
            low, inverse_width, height, offset = self.statistics
            # the logarithm of what is infinite is not: infinity times the width of an unused ramp would be no number
            logged = ops.clip(_signed_log(inputs), -_LARGEST_LOG, _LARGEST_LOG)
            position = ops.clip((ops.expand_dims(logged, -1) - low) * inverse_width, 0.0, 1.0)
            return _SPAN * (ops.sum(position * height, axis=-1) + offset - 0.5)
        center, scale = self.statistics
        if self.transform == "robust":
            return ops.arcsinh((inputs - center) / scale)
        return (_signed_log(inputs) - center) / scale


def normaliser_layer(normalisation: Normalisation, columns: int) -> FlowNormaliser:
    """Return the layer that carries the measured statistics, built for the number of columns."""
    layer = FlowNormaliser(
        normalisation.transform, normalisation.clip, normalisation.null_columns, "normaliser", "float32"
    )
    layer.build((None, columns))
    layer.set_weights(list(normalisation.weights))
    return layer


def _signed_log(inputs: Tensor) -> Tensor:
    return ops.sign(inputs) * ops.log1p(ops.abs(inputs))


def _robust(column: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Return median and spread; the spread widens where half the flows share one value."""
    if not column.size:
        return 0.0, 1.0
    p1, p5, q1, median, q3, p95, p99 = np.quantile(column, (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99))
    spreads = ((q3 - q1) / _NORMAL_IQR, (p95 - p5) / 3.29, (p99 - p1) / 4.65, float(column.std()))
    return float(median), next((float(spread) for spread in spreads if _usable(spread)), 1.0)


def _standard(column: npt.NDArray[np.float64]) -> tuple[float, float]:
    if not column.size:
        return 0.0, 1.0
    logged = np.sign(column) * np.log1p(np.abs(column))
    spread = float(logged.std())
    return float(logged.mean()), spread if _usable(spread) else 1.0


def _usable(spread: float) -> bool:
    """Tell whether a column varies by more than rounding."""
    return bool(np.isfinite(spread) and spread > 1e-6)


def _ramps(column: npt.NDArray[np.float64]) -> tuple[list[float], list[float], list[float], float]:
    """Return starts, inverse widths and heights of ramps, and an offset, whose sum is the column's rank in [0, 1].

    A value shared by many flows takes the middle of the ranks it spans, as scikit-learn's QuantileTransformer does.
    """
    ranks = np.linspace(0.0, 1.0, _RAMPS + 1)
    values = column if column.size else np.zeros(1)
    points, first, counts = np.unique(
        np.quantile(np.sign(values) * np.log1p(np.abs(values)), ranks), return_index=True, return_counts=True
    )
    middle = ranks[first] + (counts - 1) / (2 * _RAMPS)
    unused = [0.0] * (_RAMPS + 1 - len(points))
    steep = 1 / np.maximum(np.diff(points), 1e-6)
    return [*points[:-1], *unused], [*steep, *unused], [*np.diff(middle), *unused], float(middle[0])
