"""What a network answers for flows."""

from collections.abc import Iterator

import keras
import numpy as np
from keras import ops

PIECE_FLOWS = 65_536
"""Flows that are handed to a backend at once: it takes a copy of them all."""


def pieces(features: np.ndarray, batch_size: int = 1) -> Iterator[np.ndarray]:
    """Give the flows in pieces of whole batches, the last one as it comes; one piece where there are none."""
    step = max(1, PIECE_FLOWS // batch_size) * batch_size
    for start in range(0, max(len(features), 1), step):
        yield features[start : start + step]


def network_logits(network: keras.Model, features: np.ndarray, batch_size: int = 8192) -> np.ndarray:
    """Return the network's logits, shape (n_flows, n_tags), float32."""
    answers = [network.predict(piece, batch_size=batch_size, verbose=0) for piece in pieces(features, batch_size)]
    return np.concatenate(answers)


def network_scores(network: keras.Model, features: np.ndarray, batch_size: int = 8192) -> np.ndarray:
    """Return scores in [0, 1], shape (n_flows, n_tags), float32, of a network that answers logits."""
    logits = network_logits(network, features, batch_size)
    return np.asarray(ops.convert_to_numpy(ops.sigmoid(logits)), np.float32)
