"""Unknown attacks: flows that no tag names and that are unlike the benign flows a detector learned from.

Tags say nothing about attacks that training never showed. So a detector remembers where in its network's embedding,
what the members see, its benign training flows lie: a mixture of Gaussians on their principal axes. A flow's anomaly
score grows with its distance from all of them. Its threshold has a budget of false alarms of its own: the share of
benign flows on which no tag fires and that are reported all the same. A handful of validation flows says where it is,
and other days and captures differ, so it is kept with confidence and not in the mean. Tags never depend on any of it.

Sources: Lee et al. 2018 (Gaussians in a network's features for inputs it was not made for); Zong et al. 2018 (density
of a compressed representation for anomalies). What else was measured: docs/decisions/0016-unknown-attacks.md.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops
from scipy.stats import beta  # type: ignore[import-untyped]  # comes with scikit-learn
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from features.errors import ConfigError
from models.dataset import TagDataset
from models.network import MEMBERS
from models.saved_arrays import saved_arrays
from models.tensors import Tensor
from models.thresholds import NEVER_FIRES

Matrix = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

BATCH_FLOWS = 8_192
MOST_FLOWS = 20_000
EXPLAINED, MOST_AXES = 0.98, 32
CLUSTERS, FLOWS_A_CLUSTER = 64, 20
LEAST_VARIANCE = 1e-4
CLUSTER_NOISE = 1e-2
STEPS, SEED = 50, 1
SURE = 0.95


@dataclass(frozen=True)
class UnknownSettings:
    """How unknown attacks are looked for.

    Attributes:
        false_alarm_budget: Share of benign flows that may be reported as unknown, beside those on which a tag fires, in
            [0, 1); 0 looks for none.

    Raises:
        ConfigError: The budget is no share.
    """

    false_alarm_budget: float = 0.001

    def __post_init__(self) -> None:
        """Refuse what is no share."""
        if not 0 <= self.false_alarm_budget < 1:
            raise ConfigError(
                "not a share", "unknown.false_alarm_budget", "0 <= budget < 1", repr(self.false_alarm_budget)
            )

    def to_dict(self) -> dict[str, float]:
        """Return plain values, as they are logged and stored with a detector."""
        return asdict(self)


@dataclass(frozen=True)
class UnknownCut:
    """Where a flow without a fired tag is reported as unknown, and what that did on the validation flows.

    Attributes:
        threshold: In (0, 1), or `NEVER_FIRES`; a flow is reported when its anomaly score >= threshold and no tag fires.
        false_alarm_rate: Share of benign flows that are reported as unknown; at most the budget.
        silent_rate: Share of attack flows on which neither a tag fires nor this; None without attack flows.
    """

    threshold: float
    false_alarm_rate: float
    silent_rate: float | None


@dataclass(frozen=True)
class BenignFlows:
    """Where benign flows lie in a network's embedding, as a mixture of Gaussians on their principal axes.

    Attributes:
        centre: Mean of the embedding, shape (n_units,).
        axes: Principal axes, each divided by the standard deviation along it, shape (n_units, n_axes).
        means: Of the clusters, on the axes, shape (n_clusters, n_axes).
        precisions: One over the variances, same shape.
        weights: Share of the flows in each cluster, shape (n_clusters,), above 0 and 1 together.
    """

    centre: Matrix
    axes: Matrix
    means: Matrix
    precisions: Matrix
    weights: Matrix

    def distances(self, embedded: Matrix) -> Matrix:
        """Return how far flows lie from all clusters, shape (n_flows,), 0 or more and about 1 for a benign flow.

        It is the Mahalanobis distance from the one cluster there may be, over sqrt(axes); from many the soft least of
        them: sqrt(2 (highest possible - logarithm of the mixture's density) / axes).

        Args:
            embedded: What the members of the network see, shape (n_flows, n_units).
        """
        return np.asarray(ops.convert_to_numpy(self.distances_in(ops.convert_to_tensor(embedded))))

    def distances_in(self, embedded: Tensor) -> Tensor:
        """Return the same inside a network."""
        along = ops.matmul(ops.cast(embedded, "float32") - self.centre, self.axes)
        peaks = np.log(self.weights) + np.log(self.precisions).sum(axis=1) / 2
        pulls, offsets = (self.means * self.precisions).T, (np.square(self.means) * self.precisions).sum(axis=1)
        falls = ops.matmul(ops.square(along), self.precisions.T) - 2 * ops.matmul(along, pulls) + offsets
        densities = ops.logsumexp(ops.maximum(falls, 0) / -2 + peaks, axis=1)
        fallen = float(np.logaddexp.reduce(peaks)) - densities
        return ops.sqrt(ops.maximum(fallen, 0) * (2 / self.axes.shape[1]))

    def anomalies_in(self, embedded: Tensor) -> Tensor:
        """Return anomaly scores inside a network, as `anomaly_scores` says."""
        return anomaly_scores(self.distances_in(embedded))

    def save(self, path: Path) -> None:
        """Write them as plain arrays."""
        np.savez(path, **asdict(self))

    @classmethod
    def load(cls, path: Path) -> "BenignFlows":
        """Read what `save` wrote; no pickle is ever read.

        Raises:
            ModelError: The file is damaged or of other arrays.
        """
        with saved_arrays(path, "what the detector knows of benign flows") as saved:
            return cls(**_arrays(saved))


def _arrays(saved: Mapping[str, npt.NDArray[Any]]) -> dict[str, Matrix]:
    return {field.name: saved[field.name].astype(np.float32) for field in fields(BenignFlows)}


def anomaly_scores(distances: Tensor) -> Tensor:
    """Return distances as scores in [0, 1): higher means less like benign flows, a half is about a benign flow's."""
    return distances / (1 + distances)


def embedding(network: keras.Model) -> Tensor:
    """Return what the members of a network see of flows, as an output to build on, shape (n_flows, n_units)."""
    return network.get_layer(MEMBERS).input


def measure_benign(network: keras.Model, learned: Sequence[TagDataset]) -> BenignFlows:
    """Measure where a network sees benign flows.

    Args:
        network: Trained.
        learned: What it learned from; about MOST_FLOWS of the benign flows, evenly spread, are looked at.
    """
    benign = [np.flatnonzero(~flows.attack) for flows in learned]
    step = max(1, sum(map(len, benign)) // MOST_FLOWS)
    parts = [flows.features[rows[::step]] for flows, rows in zip(learned, benign, strict=True)]
    return fit_benign(_embedded(network, np.concatenate(parts)))


def anomalies_of(network: keras.Model, benign: BenignFlows, features: Matrix) -> Matrix:
    """Return the anomaly scores of flows, shape (n_flows,), by their raw columns."""
    return np.asarray(anomaly_scores(benign.distances(_embedded(network, features))))


def _embedded(network: keras.Model, features: Matrix) -> Matrix:
    embedder = keras.Model(network.input, embedding(network))
    starts = range(0, len(features), BATCH_FLOWS)
    parts = [np.asarray(embedder.predict_on_batch(features[at : at + BATCH_FLOWS]), np.float32) for at in starts]
    return np.concatenate([np.empty((0, embedder.output_shape[-1]), np.float32), *parts])


def fit_benign(embedded: Matrix) -> BenignFlows:
    """Return the mixture of embedded flows, shape (n_flows, n_units): CLUSTERS, or fewer where flows are few."""
    exact = embedded.astype(np.float64)
    centre = exact.mean(axis=0)
    variances, vectors = np.linalg.eigh(np.cov((exact - centre).T, bias=True))
    variances, vectors = np.maximum(variances[::-1], 0), vectors[:, ::-1]
    explained = np.cumsum(variances) / max(variances.sum(), np.finfo(np.float64).tiny)
    count = min(int((explained < EXPLAINED).sum()) + 1, MOST_AXES, len(variances))
    axes = vectors[:, :count] / np.sqrt(variances[:count] + LEAST_VARIANCE * max(variances[0], LEAST_VARIANCE))
    mixture = _mixture((exact - centre) @ axes)
    parts = (centre, axes, mixture.means_, mixture.precisions_, np.maximum(mixture.weights_, 1 / len(exact)))
    return BenignFlows(*(np.asarray(part, np.float32) for part in parts))


def _mixture(along: npt.NDArray[np.float64]) -> GaussianMixture:
    """Return clusters of flows on their axes, as many as flows that differ can fill."""
    clusters = min(CLUSTERS, max(1, len(along) // FLOWS_A_CLUSTER), len(np.unique(along, axis=0)))
    mixture = GaussianMixture(
        clusters, covariance_type="diag", reg_covar=CLUSTER_NOISE, max_iter=STEPS, random_state=SEED
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a few steps short it is a density all the same
        return mixture.fit(along)


def choose_cut(attack: Mask, fired: Mask, anomalies: Matrix, budget: float) -> UnknownCut:
    """Choose the threshold of anomaly scores on validation flows.

    Args:
        attack: Which flows carry a tag, shape (n_flows,).
        fired: On which of them a tag fires, same shape.
        anomalies: Anomaly scores, same shape.
        budget: Share of the benign flows that may be reported, surely.
    """
    benign = ~attack
    threshold = threshold_for(anomalies[benign & ~fired], surely_within(budget, int(benign.sum())))
    return judged_cut(threshold, attack, fired, anomalies)


def surely_within(budget: float, flows: int) -> int:
    """Return how many of so many benign flows may be reported and the budget surely holds; 0 where none may.

    The upper end of the exact interval for their share is then at most the budget (Clopper and Pearson 1934): of 7,564
    flows, of which 0.1 % are seven, two.
    """
    counts = np.arange(int(budget * flows) + 1)
    highest = beta.ppf(SURE, counts + 1, np.maximum(flows - counts, 1))
    return max(int((highest <= budget).sum()) - 1, 0)


def threshold_for(anomalies: Matrix, most: int) -> float:
    """Return the threshold that so many flows reach at most: in the middle between the scores that it parts.

    Without any flow nothing says where it belongs, and it is `NEVER_FIRES`.
    """
    if not len(anomalies):
        return NEVER_FIRES
    falling, most = -np.sort(-anomalies), min(most, len(anomalies) - 1)
    between = (falling[max(most - 1, 0)] + falling[most]) / 2
    return float(max(between, np.nextafter(falling[most], np.float32(np.inf))))


def judged_cut(threshold: float, attack: Mask, fired: Mask, anomalies: Matrix) -> UnknownCut:
    """Return a threshold with what it does on flows whose truth is known; arguments as for `choose_cut`."""
    reported = reports(threshold, fired, anomalies)
    silent = float((~fired & ~reported)[attack].mean()) if attack.any() else None
    return UnknownCut(threshold, float(reported[~attack].mean()) if not attack.all() else 0.0, silent)


def reports(threshold: float, fired: Mask, anomalies: Matrix) -> Mask:
    """Return which flows are reported as unknown: of high anomaly score, and without a fired tag."""
    return np.asarray(~fired & (anomalies >= np.float64(threshold)))
