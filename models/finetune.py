"""Fine-tuning a trained network on another network's flows without forgetting what it knows.

Where flows it was trained on are at hand they are replayed among the new ones. Where they are not, the learning rate is
a tenth, and the loss grows with the squared distance of the weights from where they were (L2-SP, Li et al. 2018).
"""

from collections.abc import Callable

import keras
from keras import ops

from models.adaptation import AdaptSettings
from models.dataset import TagDataset
from models.losses import LossSettings, TagLoss
from models.tensors import Tensor

BATCH_FLOWS = 256
WEIGHT_DECAY, CLIP_NORM = 1e-2, 1.0
SLOWER = 10.0


def finetune(
    network: keras.Model,
    flows: TagDataset,
    settings: AdaptSettings,
    replayed: bool,
    loss: LossSettings,
    on_epoch: Callable[[int], None] | None = None,
) -> keras.Model:
    """Return a copy of a network that has also learned from some flows; the network itself stays as it is.

    Sets Keras' global seed: the same flows and settings give the same weights on the same machine.

    Args:
        network: Raw columns in, logits of the tags out.
        flows: To learn from, in any order.
        settings: Epochs, learning rate, anchor.
        replayed: Whether flows that the network was trained on are among them; else it is held near its old weights.
        loss: What it was trained with; of a hurdle the cross-entropy of the tags, since that is what is saved.
        on_epoch: Called with the number of epochs done.
    """
    keras.utils.set_random_seed(1)
    tuned = keras.models.clone_model(network)
    tuned.set_weights(network.get_weights())
    if not replayed:
        for variable in tuned.trainable_variables:
            variable.regularizer = _Anchor(ops.copy(variable), settings.anchor)
    rate = settings.learning_rate / (1.0 if replayed else SLOWER)
    optimizer = keras.optimizers.AdamW(rate, weight_decay=WEIGHT_DECAY if replayed else 0.0, global_clipnorm=CLIP_NORM)
    plain = LossSettings(base=loss.base) if loss.hurdle else loss
    tuned.compile(optimizer=optimizer, loss=TagLoss(plain, len(flows.tag_names)), jit_compile=False)
    tuned.fit(
        flows.features,
        flows.targets(),
        sample_weight=flows.weights,
        batch_size=BATCH_FLOWS,
        epochs=settings.epochs,
        verbose=0,
        callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=lambda at, _: on_epoch(at + 1))] if on_epoch else [],
    )
    for variable in tuned.trainable_variables:
        variable.regularizer = None
    return tuned


class _Anchor:
    """The weighted squared distance of a variable from where it was."""

    def __init__(self, old: Tensor, weight: float) -> None:
        self.old = old
        self.weight = weight

    def __call__(self, variable: Tensor) -> Tensor:
        return self.weight * ops.sum(ops.square(variable - self.old))
