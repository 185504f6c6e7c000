"""Why a tag fired: which columns, set to what benign flows typically have, would lower its logit most."""

from collections.abc import Sequence
from dataclasses import dataclass

import keras
import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float32]

_BATCH_ROWS = 16_384


@dataclass(frozen=True)
class Reason:
    """One column's part in a detection.

    Attributes:
        feature: Name of the column.
        value: What the flow has; None for null.
        drop: By how much the tag's logit falls when the column takes its typical benign value; above 0.
    """

    feature: str
    value: float | None
    drop: float


def top_reasons(
    network: keras.Model,
    features: Matrix,
    tags: npt.NDArray[np.intp],
    medians: Matrix,
    names: Sequence[str],
    top: int,
) -> tuple[tuple[Reason, ...], ...]:
    """Return each flow's reasons, greatest drop first, columns in order where drops are equal.

    Columns are replaced one at a time, so columns that say the same thing hide each other.

    Args:
        network: Answers logits, shape (n, n_tags).
        features: Shape (n_flows, n_features), NaN for null.
        tags: Tag to explain, one a flow.
        medians: Typical benign value of each column, NaN for null.
        names: Of the columns.
        top: At most so many reasons a flow.
    """
    drops = occlusion_drops(network, features, tags, medians)
    best = np.argsort(-drops, axis=1, kind="stable")[:, :top]
    return tuple(
        tuple(_reason(names[column], row[column], fall[column]) for column in order if fall[column] > 0)
        for row, fall, order in zip(features, drops, best, strict=True)
    )


def occlusion_drops(network: keras.Model, features: Matrix, tags: npt.NDArray[np.intp], medians: Matrix) -> Matrix:
    """Return how far each flow's logit of its tag falls per replaced column, shape (n_flows, n_features)."""
    drops = np.zeros(features.shape, np.float32)
    chunk = max(1, _BATCH_ROWS // (features.shape[1] + 1))
    for start in range(0, len(features), chunk):
        part = slice(start, start + chunk)
        drops[part] = _chunk_drops(network, features[part], tags[part], medians)
    return drops


def _chunk_drops(network: keras.Model, features: Matrix, tags: npt.NDArray[np.intp], medians: Matrix) -> Matrix:
    """Score every flow as it is and once per replaced column, all in one batch."""
    flows, columns = features.shape
    variants = np.repeat(features[:, None, :], columns + 1, axis=1)
    every = np.arange(columns)
    variants[:, every + 1, every] = medians
    logits = network.predict(variants.reshape(-1, columns), batch_size=_BATCH_ROWS, verbose=0)
    of_tag = logits.reshape(flows, columns + 1, -1)[np.arange(flows), :, tags]
    return np.asarray(of_tag[:, :1] - of_tag[:, 1:], np.float32)


def _reason(name: str, value: np.float32, drop: np.float32) -> Reason:
    return Reason(name, None if np.isnan(value) else float(value), float(drop))
