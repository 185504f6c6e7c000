"""What is searched: settings by their keys, and how a trial's answers become settings a detector is trained with.

The literal penalty is searched by u, its weight against one tag's cross-entropy, below the collapse at u = 1, and on
cross-entropy alone: on other bases it is unsafe (`models.losses.guard`). Lambda is searched over its published range.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pipeline.settings import Settings

PENALTY, LAMBDA, BASE = "loss.penalty", "loss.lambda_", "loss.base"
RATE, WIDTHS, VIEW = "training.learning_rate", "network.widths", "detector.view"
SEARCHED = (PENALTY, LAMBDA, BASE, RATE, WIDTHS, VIEW)
LITERAL_U = "literal.u"

PENALTIES = ("none", "bounded", "hit", "event", "hurdle", "literal")
WEIGHTED = ("bounded", "hit", "event", "event_nll")
BASES = ("bce", "asymmetric", "focal", "zlpr")
LAMBDAS = (0.1, 10.0)
LITERAL_US = (0.05, 0.7)
RATES = (3e-4, 1e-2)
WIDTH_CHOICES = ("32", "64", "128", "256", "128,64")
DIGITS = 3

Answers = dict[str, Any]


class Chooser(Protocol):
    """Who answers what a setting shall be: Optuna's trial."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        """Return a number between two others."""

    def suggest_categorical(self, name: str, choices: Sequence[str]) -> str:
        """Return one of the choices."""


@dataclass(frozen=True)
class Space:
    """Which settings are searched around given ones.

    Attributes:
        base: Everything that is not searched stays as it is here.
        searched: Keys out of SEARCHED.
        views: The views that all tables give, from the largest; of one nothing is searched.
        n_tags: Number of tags, by which u of the literal penalty becomes lambda.
    """

    base: Settings
    searched: tuple[str, ...]
    views: tuple[str, ...]
    n_tags: int

    def starts(self) -> list[Answers]:
        """Return what is tried first: the settings as they are without a penalty, and as they are."""
        own = self.base.loss.penalty
        return [self._configured(penalty) for penalty in dict.fromkeys(("none", own))]

    def settings(self, chooser: Chooser) -> Settings:
        """Return the settings that a trial's answers ask for."""
        loss = self._loss(chooser)
        training = {"learning_rate": self._number(chooser, RATE, RATES, self.base.training.learning_rate)}
        widths = self._name(chooser, WIDTHS, WIDTH_CHOICES, _text(self.base.network.widths))
        view = self._name(chooser, VIEW, self.views, self.views[0])
        return self.base.model_copy(
            update={
                "loss": self.base.loss.model_copy(update=loss),
                "training": self.base.training.model_copy(update=training),
                "network": self.base.network.model_copy(
                    update={"widths": tuple(int(one) for one in widths.split(","))}
                ),
                "detector": self.base.detector.model_copy(update={"view": view}),
            }
        )

    def _loss(self, chooser: Chooser) -> dict[str, Any]:
        own = self.base.loss
        # no penalty is always among them: it is what the others are held against
        penalties = PENALTIES if PENALTY in self.searched else ("none", own.penalty)
        penalty = _named(chooser, PENALTY, penalties, own.penalty)
        if penalty == "literal" and PENALTY in self.searched:
            u = _rounded(chooser.suggest_float(LITERAL_U, *LITERAL_US))
            weight = u / self.n_tags if own.reduction == "mean" else u
            return {"penalty": penalty, "base": "bce", "lambda_": weight}
        weight = self._number(chooser, LAMBDA, LAMBDAS, own.lambda_) if penalty in WEIGHTED else own.lambda_
        return {"penalty": penalty, "base": self._name(chooser, BASE, BASES, own.base), "lambda_": weight}

    def _name(self, chooser: Chooser, key: str, choices: Sequence[str], own: str) -> str:
        return _named(chooser, key, choices, own) if key in self.searched else own

    def _number(self, chooser: Chooser, key: str, bounds: tuple[float, float], own: float) -> float:
        if key not in self.searched:
            return own
        low, high = (min(bounds[0], own), max(bounds[1], own)) if own > 0 else bounds
        return _rounded(chooser.suggest_float(key, low, high, log=True))

    def _configured(self, penalty: str) -> Answers:
        """Return answers that lead to the settings as they are, with another penalty."""
        own: Answers = {
            PENALTY: penalty,
            LAMBDA: self.base.loss.lambda_,
            BASE: self.base.loss.base,
            RATE: self.base.training.learning_rate,
            WIDTHS: _text(self.base.network.widths),
            VIEW: self.views[0],
        }
        asked = {key: value for key, value in own.items() if key in (PENALTY, *self.searched)}
        if penalty not in WEIGHTED or not self.base.loss.lambda_ > 0:
            asked.pop(LAMBDA, None)
        return asked


def _named(chooser: Chooser, key: str, choices: Sequence[str], own: str) -> str:
    """Return one of the choices, the configured one among them; of one nothing is asked."""
    distinct = tuple(dict.fromkeys((*choices, own)))
    return chooser.suggest_categorical(key, distinct) if len(distinct) > 1 else own


def _rounded(value: float) -> float:
    """Return a number of so many digits that a person can read it."""
    return float(f"{value:.{DIGITS}g}")


def _text(widths: Sequence[int]) -> str:
    return ",".join(map(str, widths))
