"""Every loss on fixed rows under the backend of KERAS_BACKEND, values and gradients into a file; run as a script."""

import sys
from collections.abc import Callable
from typing import Any, get_args

import keras
import numpy as np

from models.losses import LossSettings, row_loss
from models.losses.settings import Base, Penalty
from tests.models.losses.loss_oracle import some_rows


def values_and_gradients(of_logits: Callable[[Any], Any], logits: np.ndarray) -> tuple[Any, Any]:
    """Return a loss of each row and its gradient by the logits; None for NumPy, which has no gradients."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf  # noqa: PLC0415 (one backend a process)

        z = tf.Variable(logits)
        with tf.GradientTape() as tape:
            value = of_logits(z)
        return value, tape.gradient(value, z)
    if backend == "jax":
        import jax  # noqa: PLC0415

        return of_logits(logits), jax.grad(lambda z: of_logits(z).sum())(jax.numpy.asarray(logits))
    if backend == "torch":
        import torch  # noqa: PLC0415

        z = torch.tensor(logits, requires_grad=True)
        value = of_logits(z)
        value.sum().backward()
        return value.detach(), z.grad
    return of_logits(logits), None


def every_loss() -> dict[str, Any]:
    """Return values and gradients by name of the loss."""
    tags, logits = (part.astype(np.float32) for part in some_rows(40, 6))
    tags[::7, 2] = -1.0
    more = np.concatenate([logits[:, ::-1][:, :1], logits], axis=1)
    found = {}
    for base in get_args(Base):
        for penalty in get_args(Penalty):
            for reduction in ("mean", "sum") if penalty in ("literal", "hurdle") else ("mean",):
                settings = LossSettings(base, penalty, 1.3, reduction, label_smoothing=0.02)  # type: ignore[arg-type]
                given = more if settings.hurdle else logits
                truth = keras.ops.convert_to_tensor(tags)
                value, gradient = values_and_gradients(lambda z: row_loss(truth, z, settings), given)  # noqa: B023
                found[f"{base} {penalty} {reduction} value"] = np.asarray(value)
                if gradient is not None:
                    found[f"{base} {penalty} {reduction} gradient"] = np.asarray(gradient)
    return found


if __name__ == "__main__":
    np.savez(sys.argv[1], **every_loss())
