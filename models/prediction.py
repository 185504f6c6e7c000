"""What a network answers for flows."""

import keras
import numpy as np
from keras import ops


def network_logits(network: keras.Model, features: np.ndarray, batch_size: int = 8192) -> np.ndarray:
    """Return the network's logits, shape (n_flows, n_tags), float32."""
    return np.asarray(network.predict(features, batch_size=batch_size, verbose=0))


def network_scores(network: keras.Model, features: np.ndarray, batch_size: int = 8192) -> np.ndarray:
    """Return scores in [0, 1], shape (n_flows, n_tags), float32, of a network that answers logits."""
    logits = network_logits(network, features, batch_size)
    return np.asarray(ops.convert_to_numpy(ops.sigmoid(logits)), np.float32)
