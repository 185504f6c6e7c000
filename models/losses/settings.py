"""The loss a detector is trained with, as one frozen value."""

from dataclasses import asdict, dataclass
from typing import Literal, get_args

from features.errors import ConfigError

Base = Literal["bce", "focal", "asymmetric", "zlpr"]
Penalty = Literal["none", "bounded", "hit", "event", "event_nll", "hurdle", "literal"]
Reduction = Literal["mean", "sum"]


@dataclass(frozen=True)
class LossSettings:
    """A base over tags and a penalty on silence; the default cannot collapse at any lambda.

    Attributes:
        base: Loss of the tags: binary cross-entropy, focal loss per element (Lin 2017), asymmetric loss (Ridnik 2021),
            or ZLPR, which ranks a row's tags (Su 2022).
        penalty: What an attack row pays for firing nothing (``models.losses.penalties``); ``literal`` is the published
            form, which is unsafe from a critical lambda on and guarded; ``hurdle`` is no penalty but another answer,
            a probability of any attack before those of the tags, and knows no lambda.
        lambda_: Weight of the penalty, in units of one tag for every form but ``literal``; at least 0.
        reduction: Whether the base is averaged (Keras) or summed (the NumPy example) over tags. The well-posed forms
            are only scaled by it; for ``literal`` it decides what lambda means.
        focal_gamma: Exponent of the focal base, at least 0; 0 is cross-entropy times ``focal_alpha``.
        focal_alpha: Weight of the focal base, the same for rows with and without the tag.
        positive_gamma: Exponent of the asymmetric base where the tag is true, at least 0.
        negative_gamma: The same where it is absent.
        margin: Probability below which an absent tag costs nothing in the asymmetric base, in [0, 1).
        label_smoothing: How far the base's targets are drawn towards 1/2, in [0, 1); penalties see plain tags.
        literal_eps: The epsilon inside the published logarithm.
        allow_unsafe: Build the loss even where its optimum is to fire on everything, to reproduce the collapse.

    Raises:
        ConfigError: A name is unknown or a number is out of range.
    """

    base: Base = "bce"
    penalty: Penalty = "bounded"
    lambda_: float = 3.0
    reduction: Reduction = "mean"
    focal_gamma: float = 2.0
    focal_alpha: float = 0.25
    positive_gamma: float = 1.0
    negative_gamma: float = 4.0
    margin: float = 0.05
    label_smoothing: float = 0.0
    literal_eps: float = 1e-7
    allow_unsafe: bool = False

    def __post_init__(self) -> None:
        """Refuse unknown names and numbers out of range."""
        _require_one_of("loss.base", self.base, get_args(Base))
        _require_one_of("loss.penalty", self.penalty, get_args(Penalty))
        _require_one_of("loss.reduction", self.reduction, get_args(Reduction))
        _require_range("loss.lambda_", self.lambda_, at_least=0.0)
        _require_range("loss.focal_gamma", self.focal_gamma, at_least=0.0)
        _require_range("loss.focal_alpha", self.focal_alpha, above=0.0)
        _require_range("loss.positive_gamma", self.positive_gamma, at_least=0.0)
        _require_range("loss.negative_gamma", self.negative_gamma, at_least=0.0)
        _require_share("loss.margin", self.margin)
        _require_share("loss.label_smoothing", self.label_smoothing)
        _require_range("loss.literal_eps", self.literal_eps, above=0.0)

    @property
    def hurdle(self) -> bool:
        """Whether the network answers one logit more, whether there is any attack, before those of the tags."""
        return self.penalty == "hurdle"

    def to_dict(self) -> dict[str, str | float | bool]:
        """Return the settings as plain values, as they are logged and stored with a detector."""
        return asdict(self)


def _require_one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ConfigError(f"unknown {name}", name, ", ".join(allowed), repr(value))


def _require_share(name: str, value: float) -> None:
    if not 0 <= value < 1:
        raise ConfigError(f"{name} is out of range", name, "0 <= value < 1", repr(value))


def _require_range(name: str, value: float, *, at_least: float | None = None, above: float | None = None) -> None:
    low = at_least if at_least is not None else above
    # written so that NaN fails as well
    holds = value >= at_least if at_least is not None else value > (above or 0.0)
    if not (holds and value < float("inf")):
        raise ConfigError(
            f"{name} is out of range", name, f"{'>=' if at_least is not None else '>'} {low}", repr(value)
        )
