"""The detector: a network, its thresholds and what it was trained for, as one directory.

::

    DIRECTORY/network.keras     the network, normaliser inside; takes raw columns, NaN for null, answers logits
    DIRECTORY/detector.json     tags, columns, schema, thresholds, settings, validation figures
    DIRECTORY/validation.npz    the validation flows' tags, scores and times, for other thresholds; absent likewise
    DIRECTORY/familiarity.npz   the shape of the flows it knows; absent for a network that only stands beside another
    DIRECTORY/benign.npz        where its network sees benign flows; absent where nothing unknown is looked for

Nothing in it is a pickle, and loading runs no code from it.
"""

import hashlib
import os
import shutil
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from features.errors import ModelError, ModelMismatch
from models import losses, members, normaliser, pace, ramps  # noqa: F401 (importing them registers what a saved network names)
from models.card import DetectorCard, card_and_digest
from models.familiarity import NORMALISER, Familiarity
from models.firing import Fired, any_fired, fired_tags
from models.hurdle import has_head, head_logits
from models.occlusion import Reason, top_reasons
from models.scored_flows import ScoredFlows
from models.tensors import Tensor
from models.unknown import BenignFlows, Mask, embedding, reports

NETWORK_FILE = "network.keras"
FAMILIARITY_FILE, VALIDATION_FILE, BENIGN_FILE = "familiarity.npz", "validation.npz", "benign.npz"
BATCH_FLOWS = 4_096
WORTH_COMPILING = 65_536
SCORES, PROBABILITIES, FAR, ANY, ANOMALY = "scores", "probabilities", "far", "any_attack", "anomaly"
NEAREST = 1e-6

Matrix = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Answers:
    """What a detector answers for flows.

    Attributes:
        scores: In [0, 1], shape (n_flows, n_tags); higher means more likely. Thresholds are cuts of these.
        probabilities: The same calibrated; the scores themselves where the detector has no calibration.
        any_attack: Probability of any attack, shape (n_flows,); None where the network has no hurdle head.
        far: Which flows are unlike all that the detector learned from, shape (n_flows,); none where it never said.
        anomalies: How unlike benign flows each flow is, in [0, 1), shape (n_flows,); None where nothing unknown is
            looked for.
    """

    scores: Matrix
    probabilities: Matrix
    any_attack: Matrix | None
    far: Mask
    anomalies: Matrix | None

    def rows(self, chosen: npt.NDArray[np.intp]) -> "Answers":
        """Return the answers for some of the flows."""
        any_attack, anomalies = (None if part is None else part[chosen] for part in (self.any_attack, self.anomalies))
        return Answers(self.scores[chosen], self.probabilities[chosen], any_attack, self.far[chosen], anomalies)


@dataclass(frozen=True)
class Asked:
    """A network with named outputs, asked batch by batch."""

    network: keras.Model

    def __call__(self, features: Matrix, batch_flows: int) -> dict[str, npt.NDArray[Any]]:
        """Return every output for all flows."""
        outputs = self.network.output
        found = {name: np.empty((len(features), *one.shape[1:]), one.dtype) for name, one in outputs.items()}
        whole = len(features) // batch_flows * batch_flows if len(features) >= WORTH_COMPILING else 0
        for start in range(0, len(features), batch_flows):
            rows = slice(start, start + batch_flows)
            asked = self._compiled if start < whole else self.network
            for name, values in asked.predict_on_batch(features[rows]).items():
                found[name][rows] = values
        return found

    @cached_property
    def _compiled(self) -> keras.Model:
        """The same as XLA fuses it, for whole batches of one size: twice as fast, half a second to compile."""
        compiled = keras.Model(self.network.input, self.network.output)
        compiled.compile(jit_compile=keras.config.backend() != "torch")  # whose compiler needs one of C++
        return compiled


@dataclass(frozen=True)
class Detector:
    """A trained network that may be trusted as far as its card says."""

    network: keras.Model
    card: DetectorCard
    familiarity: Familiarity | None = None
    validation: ScoredFlows | None = None
    benign: BenignFlows | None = None

    def score(self, features: Matrix, batch_flows: int = BATCH_FLOWS) -> Matrix:
        """Return scores in [0, 1], higher means more likely.

        Args:
            features: Shape (n_flows, n_features), columns as ``card.feature_names``, NaN for null.
            batch_flows: Flows computed at once.

        Returns:
            Shape (n_flows, n_tags), float32.

        Raises:
            ModelMismatch: The number of columns is not the detector's.
        """
        self._require_columns(features)
        return self._scoring(features, batch_flows)[SCORES]

    def fired(self, scores: Matrix) -> Fired:
        """Return which tags fire at the detector's thresholds, shape (n_flows, n_tags)."""
        return fired_tags(scores, self.card.thresholds.cuts)

    def answers(self, features: Matrix) -> Answers:
        """Return all that the detector says of flows, passing through the network once.

        Args:
            features: Shape (n_flows, n_features), columns as ``card.feature_names``, NaN for null.

        Raises:
            ModelMismatch: The number of columns is not the detector's.
        """
        self._require_columns(features)
        found = self._answering(features, BATCH_FLOWS)
        any_attack = found[ANY][:, 0] if ANY in found else None
        far = found.get(FAR, np.zeros(len(features), np.bool_))
        return Answers(found[SCORES], found.get(PROBABILITIES, found[SCORES]), any_attack, far, found.get(ANOMALY))

    def unknown(self, answers: Answers) -> Mask:
        """Return which flows are reported as unknown: no tag fires, and they are unlike benign flows."""
        fired = any_fired(answers.scores, self.card.thresholds.cuts)
        if self.card.unknown is None or answers.anomalies is None:
            return np.zeros(len(fired), np.bool_)
        return reports(self.card.unknown.threshold, fired, answers.anomalies)

    def far(self, features: Matrix) -> Mask:
        """Return which flows are unlike all that the detector learned from, as `answers` says."""
        return self.answers(features).far

    @cached_property
    def _scoring(self) -> Asked:
        """The scores alone, which is all that some ask for."""
        columns, shown = self._shown()
        return Asked(keras.Model(columns, {SCORES: ops.sigmoid(shown[SCORES])}))

    @cached_property
    def _answering(self) -> Asked:
        """The network with all that is asked of it as outputs, by name: what one pass finds, NumPy need not."""
        columns, shown = self._shown()
        outputs = {SCORES: ops.sigmoid(shown[SCORES])}
        if self.card.calibration:
            outputs[PROBABILITIES] = self.card.calibration.probabilities_in(shown[SCORES])
        if self.familiarity:
            outputs[FAR] = self.familiarity.far_in(shown[FAR])
        if ANY in shown:
            outputs[ANY] = ops.sigmoid(shown[ANY][:, :1])
        if self.benign:
            outputs[ANOMALY] = self.benign.anomalies_in(shown[ANOMALY])
        return Asked(keras.Model(columns, outputs))

    def _shown(self) -> tuple[Tensor, dict[str, Tensor]]:
        """Return an input, and what the network shows of it, to build on: by the name of what is made of each.

        The network is one operation there: a saved one's operations may have the names that Keras gives to new ones.
        """
        shown = {SCORES: self.network.output}
        if self.familiarity:
            shown[FAR] = self.network.get_layer(NORMALISER).output
        if has_head(self.network):
            shown[ANY] = head_logits(self.network)
        if self.benign:
            shown[ANOMALY] = embedding(self.network)
        columns = keras.Input(self.network.input_shape[1:])
        return columns, keras.Model(self.network.input, shown, name="shown")(columns)

    @cached_property
    def _explained(self) -> keras.Model:
        """The network, its logits followed by that of the anomaly score where unknown attacks are looked for."""
        if not self.benign:
            return self.network
        columns, shown = self._shown()
        distances = ops.maximum(self.benign.distances_in(shown[ANOMALY]), NEAREST)
        return keras.Model(columns, ops.concatenate([shown[SCORES], ops.log(distances)[:, None]], axis=1))

    def reasons(self, features: Matrix, tags: Sequence[int], top: int = 3) -> tuple[tuple[Reason, ...], ...]:
        """Return, for each flow, the columns whose typical benign value would lower the score of its tag most.

        Args:
            features: Flows that fired, shape (n_flows, n_features).
            tags: Position of the tag to explain, one a flow; behind the last tag is the anomaly score.
            top: At most so many columns a flow.
        """
        self._require_columns(features)
        medians = np.asarray([np.nan if value is None else value for value in self.card.benign_medians], np.float32)
        return top_reasons(self._explained, features, np.asarray(tags, np.intp), medians, self.card.feature_names, top)

    @classmethod
    def load(cls, directory: Path) -> "Detector":
        """Load a detector from its directory.

        Raises:
            ModelError: The directory holds no detector, or a damaged one.
            ModelMismatch: It was written in another format, or its network has other columns or tags than its card.
        """
        card, weights = card_and_digest(directory)
        network = _read_network(directory / NETWORK_FILE)
        shapes = (network.input_shape[-1], network.output_shape[-1])
        named = (len(card.feature_names), len(card.tag_names))
        if shapes != named:
            raise ModelMismatch("network and card differ in columns and tags", str(directory), str(named), str(shapes))
        if weights_digest(network) != weights:
            raise ModelError("the network is not the one the card was written for", str(directory), weights)
        known, scored, benign = (directory / name for name in (FAMILIARITY_FILE, VALIDATION_FILE, BENIGN_FILE))
        return cls(
            network,
            card,
            Familiarity.load(known) if known.exists() else None,
            ScoredFlows.load(scored) if scored.exists() else None,
            BenignFlows.load(benign) if benign.exists() else None,
        )

    def save(self, directory: Path) -> Path:
        """Write the detector, replacing what was there; a crash leaves no half detector."""
        partial = directory.with_name(f".{directory.name}.{os.getpid()}")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        self.network.save(partial / NETWORK_FILE)
        self.card.save(partial, weights_digest(self.network))
        if self.familiarity:
            self.familiarity.save(partial / FAMILIARITY_FILE)
        if self.validation:
            self.validation.save(partial / VALIDATION_FILE)
        if self.benign:
            self.benign.save(partial / BENIGN_FILE)
        if directory.exists():
            shutil.rmtree(directory)
        partial.rename(directory)
        return directory

    def _require_columns(self, features: Matrix) -> None:
        if features.ndim != 2 or features.shape[1] != len(self.card.feature_names):
            expected = f"(flows, {len(self.card.feature_names)})"
            raise ModelMismatch("features do not fit the detector", "Detector", expected, str(features.shape))


def weights_digest(network: keras.Model) -> str:
    """Return the SHA-256 of a network's weights, equal for equal networks whenever they were saved."""
    digest = hashlib.sha256()
    for weight in network.get_weights():
        digest.update(np.ascontiguousarray(weight).tobytes())
    return digest.hexdigest()


def _read_network(path: Path) -> keras.Model:
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise ModelError(
            "the network cannot be read", str(path), "a .keras file of flowtag", str(error).partition("\n")[0]
        ) from error
