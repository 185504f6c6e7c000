"""The losses again, from their formulas, in plain NumPy float64: slow, naive, and only for moderate logits."""

import numpy as np
import numpy.typing as npt

from models.losses import LossSettings

Array = npt.NDArray[np.float64]


def sigmoid(logits: Array) -> Array:
    return np.asarray(1.0 / (1.0 + np.exp(-logits)))


def base(tags: Array, logits: Array, settings: LossSettings) -> Array:
    """Return the base of each element; of ZLPR, which knows only rows, the row's spread evenly."""
    p = sigmoid(logits)
    if settings.base == "zlpr":
        absent, present = ((1 - tags) * np.exp(logits)).sum(axis=-1), (tags * np.exp(-logits)).sum(axis=-1)
        row = np.log(1 + absent) + np.log(1 + present)
        return np.asarray(np.repeat(row[..., None] / tags.shape[-1], tags.shape[-1], axis=-1))
    if settings.base == "asymmetric":
        shifted = np.maximum(p - settings.margin, 0)
        present = (1 - p) ** settings.positive_gamma * -np.log(p)
        return np.asarray(tags * present + (1 - tags) * shifted**settings.negative_gamma * -np.log(1 - shifted))
    inside = settings.literal_eps if (settings.penalty, settings.reduction) == ("literal", "sum") else 0.0
    if settings.base == "bce":
        return np.asarray(-(tags * np.log(p + inside) + (1 - tags) * np.log(1 - p + inside)))
    cross_entropy = -(tags * np.log(p) + (1 - tags) * np.log(1 - p))
    pt = np.exp(-cross_entropy)
    return np.asarray(settings.focal_alpha * (1 - pt) ** settings.focal_gamma * cross_entropy)


def penalty(tags: Array, logits: Array, settings: LossSettings) -> Array:
    miss = 1 - sigmoid(logits)
    p0 = miss.prod(axis=-1)
    attack = tags.any(axis=-1)
    of_true = np.where(tags > 0, miss, 1.0).prod(axis=-1)
    with np.errstate(divide="ignore"):
        forms = {
            "none": np.zeros_like(p0),
            "bounded": attack * p0,
            "hit": np.where(attack, -np.log(1 - of_true), 0.0),
            "event": np.where(attack, -np.log(1 - p0), 0.0),
            "event_nll": np.where(attack, -np.log(1 - p0), -np.log(p0)),
            "literal": np.log(p0 + settings.literal_eps),
        }
    return np.asarray(forms[settings.penalty])


def row_loss(tags: Array, logits: Array, settings: LossSettings) -> Array:
    count = tags.shape[-1]
    scale = 1 / count if settings.reduction == "mean" else 1.0
    weight = settings.lambda_ if settings.penalty == "literal" else settings.lambda_ * scale
    return np.asarray(scale * base(tags, logits, settings).sum(axis=-1) + weight * penalty(tags, logits, settings))


def hurdle_loss(tags: Array, logits: Array) -> Array:
    """Return the hurdle's loss in cross-entropy, summed over tags: -log of a row's probability, written out."""
    any_attack, given = sigmoid(logits[:, 0]), sigmoid(logits[:, 1:])
    of_tags = np.where(tags > 0, given, 1 - given).prod(axis=1)
    return np.asarray(-np.log(np.where(tags.any(axis=1), any_attack * of_tags, 1 - any_attack)))


def published_sum(tags: Array, probabilities: Array, lambda_: float, eps: float) -> float:
    """The published NumPy example, loop and all."""
    total = 0.0
    for y, p in zip(tags, probabilities, strict=True):
        base_loss = 0.0
        none = 1.0
        for i in range(len(y)):
            base_loss += -(y[i] * np.log(p[i] + eps) + (1 - y[i]) * np.log(1 - p[i] + eps))
            none *= 1 - p[i]
        total += base_loss + lambda_ * np.log(none + eps)
    return total / len(tags)


def some_rows(rows: int, n_tags: int, spread: float = 3.0, seed: int = 0) -> tuple[Array, Array]:
    """Return tags, about half the rows benign, and logits."""
    random = np.random.default_rng(seed)
    tags = (random.random((rows, n_tags)) < 0.3) & (random.random((rows, 1)) < 0.6)
    return tags.astype(np.float64), random.normal(0, spread, (rows, n_tags))
