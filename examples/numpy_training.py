"""Train a silence-penalised tagger with NumPy alone: no framework, every gradient written out.

The published NumPy example adds ``lambda * log(prod(1 - p) + eps)`` to a cross-entropy summed over tags. Here is that
loss (``literal``), which fires on everything from lambda 1 on, and two that cannot (``bounded``, ``hit``), with their
gradients by the logits, on a network of one hidden layer. The same start and the same steps give the same weights as
``models.losses.TagLoss`` under Keras; ``tests/examples`` holds the two together.

Run it: python examples/numpy_training.py
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Penalty = Callable[[Array, Array], tuple[Array, Array]]
"""Takes tags and logits, (n, L) each; answers what each row pays, (n,), and the gradient by its logits, (n, L)."""

EPS = 1e-7


@dataclass(frozen=True)
class Weights:
    """One hidden layer of ReLUs: ``w1`` (n_features, width), ``b1`` (width,), ``w2`` (width, L), ``b2`` (L,)."""

    w1: Array
    b1: Array
    w2: Array
    b2: Array

    def logits(self, features: Array) -> Array:
        """Return one logit a tag, shape (n, L)."""
        return np.maximum(features @ self.w1 + self.b1, 0.0) @ self.w2 + self.b2


def sigmoid(logits: Array) -> Array:
    """Return 1 / (1 + e^-z) without overflow."""
    return np.exp(-np.logaddexp(0.0, -logits))


def log_p0(logits: Array) -> Array:
    """Return log prod(1 - p_i) = -sum softplus(z_i), shape (n,): the log-probability that no tag applies."""
    return -np.logaddexp(0.0, logits).sum(axis=1)


def cross_entropy(tags: Array, logits: Array) -> tuple[Array, Array]:
    """Return each row's cross-entropy summed over tags, and its gradient p - y."""
    rows = (tags * np.logaddexp(0.0, -logits) + (1 - tags) * np.logaddexp(0.0, logits)).sum(axis=1)
    return rows, sigmoid(logits) - tags


def published_cross_entropy(tags: Array, logits: Array) -> tuple[Array, Array]:
    """Return -[y log(p + eps) + (1 - y) log(1 - p + eps)] summed over tags, and its gradient."""
    p = sigmoid(logits)
    rows = -(tags * np.log(p + EPS) + (1 - tags) * np.log(1 - p + EPS)).sum(axis=1)
    return rows, p * (1 - p) * ((1 - tags) / (1 - p + EPS) - tags / (p + EPS))


def literal(tags: Array, logits: Array) -> tuple[Array, Array]:  # noqa: ARG001 (it looks at no tag: that is its fault)
    """Return log(P0 + eps) on every row, benign ones too; gradient -p P0 / (P0 + eps)."""
    none = log_p0(logits)
    share = np.exp(none - np.logaddexp(none, np.log(EPS)))
    return np.logaddexp(none, np.log(EPS)), -sigmoid(logits) * share[:, None]


def bounded(tags: Array, logits: Array) -> tuple[Array, Array]:
    """Return P0 on rows with a tag; gradient -p P0 there, and nothing on benign rows."""
    none = np.exp(log_p0(logits)) * tags.any(axis=1)
    return none, -sigmoid(logits) * none[:, None]


def hit(tags: Array, logits: Array) -> tuple[Array, Array]:
    """Return -log(1 - M), M = prod of (1 - p) over true tags, on rows with a tag; gradient -p M / (1 - M) on those."""
    attack = tags.any(axis=1)
    log_m = np.where(attack, -(tags * np.logaddexp(0.0, logits)).sum(axis=1), -1.0)
    one_minus_m = -np.expm1(log_m)
    odds = np.where(attack, np.exp(log_m) / one_minus_m, 0.0)
    return np.where(attack, -np.log(one_minus_m), 0.0), -tags * sigmoid(logits) * odds[:, None]


@dataclass(frozen=True)
class Loss:
    """A base summed over tags plus ``lambda_`` times a penalty, averaged over rows."""

    penalty: Penalty
    lambda_: float
    base: Penalty = cross_entropy

    def __call__(self, tags: Array, logits: Array) -> tuple[float, Array]:
        """Return the mean over rows, and its gradient by the logits."""
        (base, of_base), (extra, of_extra) = self.base(tags, logits), self.penalty(tags, logits)
        return float((base + self.lambda_ * extra).mean()), (of_base + self.lambda_ * of_extra) / len(tags)


def step(weights: Weights, features: Array, tags: Array, loss: Loss, rate: float) -> tuple[Weights, float]:
    """Return the weights after one step down the gradient, and the loss before it."""
    hidden = np.maximum(features @ weights.w1 + weights.b1, 0.0)
    value, of_logits = loss(tags, hidden @ weights.w2 + weights.b2)
    of_hidden = (of_logits @ weights.w2.T) * (hidden > 0)
    stepped = Weights(
        weights.w1 - rate * features.T @ of_hidden,
        weights.b1 - rate * of_hidden.sum(axis=0),
        weights.w2 - rate * hidden.T @ of_logits,
        weights.b2 - rate * of_logits.sum(axis=0),
    )
    return stepped, value


def fit(weights: Weights, features: Array, tags: Array, loss: Loss, steps: int = 400, rate: float = 0.5) -> Weights:
    """Return the weights after so many steps over all rows."""
    for _ in range(steps):
        weights, _ = step(weights, features, tags, loss, rate)
    return weights


def start(n_features: int, width: int, tags: Array, seed: int = 0) -> Weights:
    """Return random weights, the output biases at the tags' log-odds."""
    random = np.random.default_rng(seed)
    w1 = random.normal(0, np.sqrt(2 / n_features), (n_features, width))
    share = (tags.sum(axis=0) + 0.5) / (len(tags) + 1)
    return Weights(
        w1, np.zeros(width), random.normal(0, width**-0.5, (width, tags.shape[1])), np.log(share / (1 - share))
    )


def small_set(flows: int = 2_000, n_tags: int = 9, seed: int = 0) -> tuple[Array, Array]:
    """Return features and tags: 4 % of the flows carry one tag or two, which their features give away in part."""
    random = np.random.default_rng(seed)
    tags = np.zeros((flows, n_tags))
    attack = np.flatnonzero(random.random(flows) < 0.04)
    for _ in range(2):
        tags[attack, random.integers(0, n_tags, len(attack))] = 1.0
    return random.normal(0, 1, (flows, 12)) + tags @ random.normal(0, 1.2, (n_tags, 12)), tags


def rates(weights: Weights, features: Array, tags: Array) -> tuple[float, float]:
    """Return the silent rate and the false-alarm rate at a cut of 0.5."""
    fires, attack = (weights.logits(features) >= 0).any(axis=1), tags.any(axis=1)
    return float((~fires[attack]).mean()), float(fires[~attack].mean())


def main() -> None:
    """Train five times from the same start and print what each loss gives."""
    features, tags = small_set()
    losses = {
        "cross-entropy": Loss(bounded, 0.0),
        "literal, lambda 0.5": Loss(literal, 0.5, published_cross_entropy),
        "literal, lambda 2": Loss(literal, 2.0, published_cross_entropy),
        "bounded, lambda 3": Loss(bounded, 3.0),
        "hit, lambda 3": Loss(hit, 3.0),
    }
    for name, loss in losses.items():
        silent, false_alarms = rates(fit(start(12, 16, tags), features, tags, loss), features, tags)
        print(f"{name:20} silent rate {silent:.3f}   false-alarm rate {false_alarms:.4f}")


if __name__ == "__main__":
    main()
