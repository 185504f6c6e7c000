"""The network: normaliser and ramps, layers that all members share, then small members whose logits are averaged."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import layers, ops

from features.errors import ConfigError
from models.hurdle import HEAD, HurdleLogits
from models.members import MemberHidden, MemberOutputs
from models.normaliser import Normalisation, normaliser_layer
from models.pace import PaceJitter, pace_exponents
from models.ramps import Ramps, ramp_layer
from models.tensors import Tensor

ACTIVATIONS = ("relu", "gelu", "silu", "tanh")
MEMBERS = "members"
"""Name of the layer behind what all members share."""
EXACT = "float32"
"""Precision of what raw columns pass through, and of logits, whatever the layers between compute with."""


@dataclass(frozen=True)
class NetworkSettings:
    """Shape of the network.

    Attributes:
        transform: How columns become inputs: ``robust``, ``quantile`` or ``log`` (``models.normaliser``).
        clip: Bound on every input.
        ramps: Ramps in all that show the numbers once more, at most (``models.ramps``); 0 for none.
        widths: Units of each hidden layer that all members share; none where empty.
        members: Perceptrons on the trunk, trained side by side and averaged; 1 or more.
        member_width: Hidden units of a member.
        activation: Of the hidden layers.
        dropout: Share of hidden units dropped in training, in [0, 1).
        input_dropout: Share of inputs and ramps set to 0 in training, in [0, 1).
        input_noise: Standard deviation of noise added to inputs in training.
        pace_jitter: Standard deviations of the logarithms of three factors by which training flows are scaled: times
            within a flow, the pace of its neighbours, its volume (``models.pace``); all 0 switches it off.

    Raises:
        ConfigError: A value is out of range.
    """

    transform: str = "log"
    clip: float = 6.0
    ramps: int = 1024
    widths: tuple[int, ...] = (128,)
    members: int = 4
    member_width: int = 64
    activation: str = "relu"
    dropout: float = 0.1
    input_dropout: float = 0.1
    input_noise: float = 0.1
    pace_jitter: tuple[float, float, float] = (0.7, 1.5, 0.3)

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        rules = {
            "members": (self.members >= 1, "1 or more"),
            "clip": (self.clip > 0, "above 0"),
            "ramps": (self.ramps >= 0, "0 or more"),
            "widths": (all(width >= 1 for width in self.widths), "1 or more each"),
            "member_width": (self.member_width >= 1, "1 or more"),
            "activation": (self.activation in ACTIVATIONS, ", ".join(ACTIVATIONS)),
            "dropout": (0 <= self.dropout < 1, "in [0, 1)"),
            "input_dropout": (0 <= self.input_dropout < 1, "in [0, 1)"),
            "input_noise": (self.input_noise >= 0, "0 or more"),
            "pace_jitter": (len(self.pace_jitter) == 3 and min(self.pace_jitter) >= 0, "three numbers, 0 or more"),
        }
        for name, (holds, expected) in rules.items():
            if not holds:
                raise ConfigError(
                    "a network cannot have this shape", f"network.{name}", expected, repr(getattr(self, name))
                )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as they are logged and stored with a detector."""
        return {**asdict(self), "widths": list(self.widths), "pace_jitter": list(self.pace_jitter)}


@dataclass(frozen=True)
class NetworkViews:
    """Three views of the same weights; n_outputs is n_tags, or with a hurdle one more, that of any attack in front.

    Attributes:
        members: Answers each member's logits, shape (n, members, n_outputs); this is what is trained.
        answers: Answers their mean, shape (n, n_outputs); this is what the loss judges on validation flows.
        mean: Answers the tags' logits, shape (n, n_tags); this is what is saved and scores.
    """

    members: keras.Model
    answers: keras.Model
    mean: keras.Model

    def tag_logits(self, answers: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return what ``mean`` makes of what ``answers`` answered, shape (n, n_tags)."""
        if self.answers is self.mean:
            return answers
        return np.asarray(ops.convert_to_numpy(HurdleLogits()(answers)))


def build_network(
    normalisation: Normalisation,
    ramps: Ramps | None,
    feature_names: Sequence[str],
    log_odds: npt.NDArray[np.float32],
    settings: NetworkSettings,
    hurdle: bool = False,
) -> NetworkViews:
    """Build an untrained network that takes raw columns, NaN for null, and answers logits.

    Args:
        normalisation: Measured on the training flows.
        ramps: Placed by the same; None shows each number once.
        feature_names: Names of the feature columns, in order.
        log_odds: Start value of each output, its log-odds in training, shape (n_outputs,).
        settings: Shape of the members.
        hurdle: Whether the first output is the logit of any attack (``models.hurdle``).
    """
    raw = keras.Input((len(feature_names),), name="columns")
    paced = (
        PaceJitter(pace_exponents(feature_names).tolist(), settings.pace_jitter, dtype=EXACT)(raw)
        if any(settings.pace_jitter)
        else raw
    )
    hidden = _dropped(_inputs(paced, normalisation, ramps, settings), settings.input_dropout)
    for depth, width in enumerate(settings.widths):
        shown = _dropped(hidden, settings.dropout) if depth else hidden
        dense = layers.Dense(width, settings.activation, kernel_initializer="he_normal", name=f"trunk_{depth}")
        hidden = dense(shown)
    apart = MemberHidden(settings.members, settings.member_width, settings.activation, settings.dropout, name=MEMBERS)(
        hidden
    )
    output = MemberOutputs(len(log_odds), settings.dropout, name="tags", dtype=EXACT)
    stacked = output(apart)
    output.bias.assign(np.tile(log_odds, (settings.members, 1)))
    answered = ops.mean(stacked, axis=1)
    answers = keras.Model(raw, answered, name="flowtag")
    mean = keras.Model(raw, HurdleLogits(name=HEAD)(answered), name="flowtag") if hurdle else answers
    return NetworkViews(keras.Model(raw, stacked), answers, mean)


def _inputs(raw: Tensor, normalisation: Normalisation, ramps: Ramps | None, settings: NetworkSettings) -> Tensor:
    """Return bounded inputs, noisy in training, and behind them their ramps, which are not."""
    exact = normaliser_layer(normalisation, raw.shape[-1])(raw)
    noisy = layers.GaussianNoise(settings.input_noise, dtype=EXACT)(exact) if settings.input_noise else exact
    if not ramps:
        return noisy
    return layers.Concatenate(dtype=EXACT)([noisy, ramp_layer(ramps, exact.shape[-1])(exact)])


def _dropped(inputs: Tensor, share: float) -> Tensor:
    return layers.Dropout(share)(inputs) if share else inputs
