"""What watches a training: each epoch judged on the validation flows, each batch looked at for NaN."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import numpy.typing as npt

from features.errors import Diverged
from models.dataset import TagDataset
from models.metrics import mean_average_precision, silence_at_budget
from models.network import NetworkViews
from models.prediction import network_logits

if TYPE_CHECKING:
    from models.training import TrainingSettings

DIVERGED_FILE = "diverged.npz"
ROWS_NAMED = 8
NEVER = -1e9
"""A logit below all others, for tags of which the truth says nothing."""


@dataclass(frozen=True)
class EpochResult:
    """What one epoch gave.

    Attributes:
        epoch: Counted from 1.
        training_loss: Mean over the epoch's steps, members apart, dropout on.
        validation_loss: The same loss of the mean network on the validation flows.
        silent_rate: On the validation flows, at one threshold that keeps the budget of false alarms; None where there
            is no attack flow or no benign flow.
        mean_average_precision: On the validation flows; None where no tag has positives there.
        best: Whether the watched quantity was the best so far.
    """

    epoch: int
    training_loss: float
    validation_loss: float
    silent_rate: float | None
    mean_average_precision: float | None
    best: bool

    def figures(self) -> dict[str, float]:
        """Return the numbers that are known, by name."""
        known = {key: value for key, value in asdict(self).items() if key not in ("epoch", "best")}
        return {key: float(value) for key, value in known.items() if value is not None}


class Watch:
    """Judges each epoch on the validation flows, keeps the best weights, says when nothing improves any more."""

    def __init__(self, views: NetworkViews, valid: TagDataset, settings: "TrainingSettings") -> None:
        self.views = views
        self.valid = valid
        self.settings = settings
        self.history: list[EpochResult] = []
        self.best_value: tuple[float, float] = (-np.inf, -np.inf)
        self.best_weights: list[np.ndarray] = []

    @property
    def over(self) -> bool:
        """Whether so many epochs brought nothing better that training stops."""
        last_best = max((past.epoch for past in self.history if past.best), default=0)
        return len(self.history) - last_best >= self.settings.patience

    def judge(self, epoch: int, training_loss: float) -> EpochResult:
        """Return what an epoch gave on the validation flows, and keep its weights if they are the best so far.

        Raises:
            Diverged: A loss is NaN or infinite.
        """
        result = self._judged(epoch, training_loss)
        self.history.append(result)
        if result.best:
            self.best_weights = self.views.mean.get_weights()
        return result

    def _judged(self, epoch: int, training_loss: float) -> EpochResult:
        answers = network_logits(self.views.answers, self.valid.features)
        validation_loss = float(self.views.members.loss(self.valid.targets(), answers))
        if not np.isfinite([training_loss, validation_loss]).all():
            losses = f"the loss was {training_loss} in training and {validation_loss} in validation"
            raise _diverged(losses, f"epoch {epoch}")
        logits = self.valid.judged(self.views.tag_logits(answers), NEVER)
        precision = mean_average_precision(self.valid.tags, logits)
        silent = silence_at_budget(self.valid.tags, logits, self.settings.false_alarm_budget)
        value = self._value(validation_loss, silent, precision)
        best = self.settings.monitor == "last" or value > self.best_value
        self.best_value = max(self.best_value, value)
        return EpochResult(epoch, training_loss, validation_loss, silent, precision, best)

    def _value(self, loss: float, silent: float | None, precision: float | None) -> tuple[float, float]:
        """Return what is watched, higher is better; the loss where the flows do not say."""
        if self.settings.monitor == "silence" and silent is not None and precision is not None:
            return -silent, precision
        if self.settings.monitor == "mean_average_precision" and precision is not None:
            return precision, -loss
        return -loss, 0.0


class Batches(keras.callbacks.Callback):  # type: ignore[misc]  # keras carries no types
    """Stops at the first batch whose loss is not finite, names its rows, and keeps them."""

    def __init__(self, epoch: int, kept: Path | None) -> None:
        super().__init__()
        self.epoch = epoch
        self._kept = kept

    def begin(self, flows: TagDataset, rows: npt.NDArray[np.intp], batch_size: int) -> None:
        """Say which flows come next, in order, and where they lie among the training flows."""
        self._flows, self._rows, self._batch_size = flows, rows, batch_size

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Look at the loss so far, which one batch without a number spoils."""
        loss = float((logs or {})["loss"])
        if np.isfinite(loss):
            return
        chosen = slice(batch * self._batch_size, (batch + 1) * self._batch_size)
        rows = self._rows[chosen]
        where = f"epoch {self.epoch}, the batch of training rows {_named(rows)}"
        if self._kept:
            self._kept.mkdir(parents=True, exist_ok=True)
            path = self._kept / DIVERGED_FILE
            np.savez_compressed(path, rows=rows, features=self._flows.features[chosen], tags=self._flows.tags[chosen])
            where += f", kept in {path}"
        raise _diverged(f"the loss was {loss} in training", where)


def _diverged(what: str, where: str) -> Diverged:
    """Return the error of a loss that is no number."""
    return Diverged(what, where, "finite numbers", "", "a lower learning rate, or look for infinities in the features")


def _named(rows: Sequence[int] | npt.NDArray[np.intp]) -> str:
    """Return row numbers as text: 3, 17, 20 and 253 more."""
    named = ", ".join(str(int(row)) for row in rows[:ROWS_NAMED])
    return named + (f" and {len(rows) - ROWS_NAMED} more" if len(rows) > ROWS_NAMED else "")
