"""Familiarity: how far flows lie from those a detector learned from, and whether its thresholds may be believed there.

A detector is a statement about one kind of traffic. On another network its scores mean nothing: it floods or falls
silent, and no threshold mends that. So each detector remembers the shape of its training flows, as its network sees
them: probabilistic principal components of the normalised columns. A flow's distance is its Mahalanobis distance under
them, divided by the square root of the number of inputs, about 1 for a training flow. Flows beyond what all but one in
a hundred validation flows keep are far; where the share of far flows is beyond the limit, the thresholds do not hold.

The limit comes from validation flows alone: a few times the largest share of far flows in any block of their time.

Sources: Tipping and Bishop 1999 (probabilistic PCA); Lee et al. 2018 (Mahalanobis distance in a network's features for
inputs it was not made for).
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from models.dataset import TagDataset
from models.prediction import pieces
from models.saved_arrays import saved_arrays
from models.tensors import Tensor

Matrix = npt.NDArray[np.float32]
Distances = npt.NDArray[np.float32]

NORMALISER = "normaliser"
BATCH_FLOWS = 8_192
MOST_FLOWS = 50_000
EXPLAINED = 0.98
LEAST_SPREAD = 0.1
LEAST_NOISE = 1e-3
ARRAYS = ("centre", "spread", "plane", "deviations")
FAR_SHARE = 0.01
BLOCKS = 10
LEAST_LIMIT, LIMIT_FACTOR, MOST_LIMIT = 0.1, 3.0, 0.5


@dataclass(frozen=True)
class Shape:
    """The shape of a cloud of flows, as principal axes and what is left across them.

    Attributes:
        centre: Mean of each input of the network, shape (n_inputs,).
        spread: Standard deviation of each, shape (n_inputs,).
        plane: Principal axes of length 1, shape (n_inputs, n_axes).
        deviations: Standard deviation along each axis, shape (n_axes,).
        noise: Mean variance across the remaining axes.
    """

    centre: Matrix
    spread: Matrix
    plane: Matrix
    deviations: Matrix
    noise: float

    def distances(self, inputs: Matrix) -> Distances:
        """Return each flow's distance, 0 or more and about 1 for a flow of the cloud; inputs are normalised columns."""
        return np.asarray(ops.convert_to_numpy(self.distances_in(inputs)))

    def distances_in(self, inputs: Tensor) -> Tensor:
        """Return the same inside a network."""
        centred = (inputs - self.centre) * (1 / self.spread)
        plane = self.plane / self.spread[:, None]
        along = (
            ops.matmul(inputs, plane) - self.centre @ plane
        )  # of the inputs as they are: centred ones stay unwritten
        across = ops.sum(ops.square(centred), axis=1) - ops.sum(ops.square(along), axis=1)
        squares = ops.sum(ops.square(along * (1 / self.deviations)), axis=1) + ops.maximum(across, 0) / self.noise
        return ops.sqrt(squares / len(self.centre))


@dataclass(frozen=True)
class Known:
    """One kind of traffic that a detector knows.

    Attributes:
        shape: Of its flows.
        reach: Distance beyond which a flow is far from it.
    """

    shape: Shape
    reach: float


@dataclass(frozen=True)
class Familiarity:
    """Which flows a detector knows.

    Attributes:
        known: The traffic it was trained on, and behind it that of the network it was adapted to.
        limit: Share of far flows above which thresholds do not hold, in (0, 1).
        trained: How many of them are of the training: its own traffic, and the background where there was one.
    """

    known: tuple[Known, ...]
    limit: float
    trained: int = 1

    def far(self, inputs: Matrix) -> npt.NDArray[np.bool_]:
        """Return which flows are far from all that the detector knows, shape (n_flows,)."""
        return np.asarray(ops.convert_to_numpy(self.far_in(inputs)))

    def far_in(self, inputs: Tensor) -> Tensor:
        """Return the same inside a network."""
        return ops.all(ops.stack([one.shape.distances_in(inputs) > one.reach for one in self.known]), axis=0)

    def with_background(self, background: "Familiarity") -> "Familiarity":
        """Return what is known after a training that learned ordinary traffic of other networks as well."""
        return Familiarity((*self.known, *background.known), max(self.limit, background.limit), self.trained + 1)

    def with_local(self, local: "Familiarity") -> "Familiarity":
        """Return what is known after adapting to a network: the training's traffic and that network's, no other's.

        The training's stays known for its attacks: on the network they would be strangers. The larger limit counts.
        """
        known = (*self.known[: self.trained], *local.known)
        return Familiarity(known, max(self.limit, local.limit), self.trained)

    def save(self, path: Path) -> None:
        """Write it as plain arrays, one row for each kind of traffic; their axes side by side."""
        shapes = [asdict(one.shape) for one in self.known]
        arrays: dict[str, Any] = {name: np.concatenate([shape[name] for shape in shapes], axis=-1) for name in ARRAYS}
        arrays |= {"reach": [one.reach for one in self.known], "noise": [one.shape.noise for one in self.known]}
        arrays |= {"limit": self.limit, "trained": self.trained}
        np.savez(path, axes=[len(one.shape.deviations) for one in self.known], **arrays)

    @classmethod
    def load(cls, path: Path) -> "Familiarity":
        """Read what `save` wrote; no pickle is ever read.

        Raises:
            ModelError: The file is damaged or of other arrays.
        """
        with saved_arrays(path, "what the detector knows") as saved:
            trained = int(saved["trained"]) if "trained" in saved else 1
            return cls(_known(saved), float(saved["limit"]), trained)


def _known(saved: Mapping[str, npt.NDArray[Any]]) -> tuple[Known, ...]:
    """Return what was saved, one each for the axes' counts; a file without them is of one kind of traffic."""
    reaches, noises = (np.atleast_1d(saved[name]).tolist() for name in ("reach", "noise"))
    bounds: Any = np.cumsum(saved["axes"])[:-1] if "axes" in saved else []
    whole = [np.split(saved[name], len(reaches), axis=-1) for name in ("centre", "spread")]
    axes = [np.split(saved[name], bounds, axis=-1) for name in ("plane", "deviations")]
    parts = zip(*whole, *axes, noises, strict=True)
    return tuple(Known(Shape(*part), reach) for part, reach in zip(parts, reaches, strict=True))


def inputs_of(network: keras.Model) -> keras.Model:
    """Return the part of a network that turns raw columns into its inputs: the normaliser, null made numbers."""
    return keras.Model(network.input, network.get_layer(NORMALISER).output)


def measure_familiarity(network: keras.Model, train: TagDataset, valid: TagDataset) -> Familiarity:
    """Measure which flows a network knows.

    Args:
        network: Trained; its normaliser is used.
        train: What it learned from; about MOST_FLOWS of them, evenly spread, are looked at.
        valid: Flows of another capture or time, in their order.
    """
    normalise = inputs_of(network)
    step = max(1, len(train) // MOST_FLOWS)
    shape = measure_shape(normalise.predict(train.features[::step], batch_size=BATCH_FLOWS, verbose=0))
    inputs = (normalise.predict(piece, batch_size=BATCH_FLOWS, verbose=0) for piece in pieces(valid.features))
    distances = np.concatenate([shape.distances(piece) for piece in inputs])
    reach = float(np.quantile(distances, 1 - FAR_SHARE))
    shares = [float((block > reach).mean()) for block in np.array_split(distances, BLOCKS) if len(block)]
    return Familiarity((Known(shape, reach),), min(max(LEAST_LIMIT, LIMIT_FACTOR * max(shares)), MOST_LIMIT))


def measure_shape(inputs: Matrix) -> Shape:
    """Return the principal axes that explain EXPLAINED of the variance of flows, shape (n_flows, n_inputs)."""
    exact = inputs.astype(np.float64)
    centre, spread = exact.mean(axis=0), exact.std(axis=0) + LEAST_SPREAD
    centred = (exact - centre) / spread
    variances, vectors = np.linalg.eigh(centred.T @ centred / len(centred))
    variances, vectors = np.maximum(variances[::-1], 0), vectors[:, ::-1]
    explained = np.cumsum(variances) / max(variances.sum(), LEAST_NOISE)
    count = min(int((explained < EXPLAINED).sum()) + 1, len(variances))
    noise = float(max(variances[count:].mean(), LEAST_NOISE)) if count < len(variances) else LEAST_NOISE
    deviations = np.sqrt(variances[:count] + LEAST_NOISE)
    as_kept = [part.astype(np.float32) for part in (centre, spread, vectors[:, :count], deviations)]
    return Shape(as_kept[0], as_kept[1], as_kept[2], as_kept[3], noise)
