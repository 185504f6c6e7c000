"""Training a network on one dataset, stopping by another."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from features.errors import ConfigError, Diverged, ModelMismatch
from models.dataset import TagDataset
from models.hurdle import hurdle_log_odds, tag_log_odds
from models.losses import LossSettings, TagLoss
from models.metrics import mean_average_precision, silence_at_budget
from models.network import NetworkSettings, NetworkViews, build_network
from models.normaliser import measure

Monitor = Literal["last", "silence", "loss", "mean_average_precision"]


@dataclass(frozen=True)
class TrainingSettings:
    """How a network is trained.

    Attributes:
        epochs: At most this many passes over the training flows.
        batch_size: Flows a step.
        learning_rate: Its highest value; it rises over the first twentieth of all steps and falls along a cosine to 0.
        weight_decay: Of AdamW, on kernels alone.
        clip_norm: Bound on the gradient's norm.
        monitor: Which epoch is kept: the last, or the best on the validation flows by ``loss``, by
            ``mean_average_precision``, or by ``silence``: the silent rate at one threshold that keeps the budget of
            false alarms, then mean average precision. A tag with few flows is learnt last, long after the others have
            made the loss turn; hence the default.
        false_alarm_budget: Share of benign validation flows that may fire when silence is measured.
        patience: Epochs without a better value before training stops; of no effect with ``last``.
        rare_flows: Flows of a tag that has fewer in training are repeated until it has so many; 0 repeats none.
        seed: The same seed, data and machine give the same weights.
        loss: What is minimised.
        network: What is trained.

    Raises:
        ConfigError: A value is out of range.
    """

    epochs: int = 15
    batch_size: int = 256
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    clip_norm: float = 1.0
    monitor: Monitor = "last"
    false_alarm_budget: float = 0.001
    patience: int = 8
    rare_flows: int = 20
    seed: int = 1
    loss: LossSettings = field(default_factory=LossSettings)
    network: NetworkSettings = field(default_factory=NetworkSettings)

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        for name in ("epochs", "batch_size", "patience", "learning_rate", "clip_norm"):
            if not getattr(self, name) > 0:
                raise ConfigError("training cannot run so", f"training.{name}", "above 0", repr(getattr(self, name)))
        if self.monitor not in get_args(Monitor):
            raise ConfigError("unknown quantity", "training.monitor", ", ".join(get_args(Monitor)), repr(self.monitor))

    def to_dict(self) -> dict[str, Any]:
        """Return plain nested values, as they are logged and stored with a detector."""
        return {**asdict(self), "loss": self.loss.to_dict(), "network": self.network.to_dict()}


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


@dataclass(frozen=True)
class TrainedNetwork:
    """A network with its best epoch's weights, and how it got there."""

    network: keras.Model
    history: tuple[EpochResult, ...]

    @property
    def best_epoch(self) -> int:
        """Which epoch's weights were kept, counted from 1."""
        return max(result.epoch for result in self.history if result.best)


def train_network(
    train: TagDataset,
    valid: TagDataset,
    settings: TrainingSettings,
    on_epoch: Callable[[EpochResult], None] | None = None,
) -> TrainedNetwork:
    """Train a network and return it with the weights of its best epoch on the validation flows.

    Sets Keras' global seed. Null-ness, centres and spreads are measured on ``train`` alone.

    Args:
        train: Flows to learn from.
        valid: Flows of another capture or time, with the same columns and tags.
        settings: Loss, network, schedule.
        on_epoch: Called after each epoch.

    Raises:
        ModelMismatch: The two datasets differ in columns or tags, or one of them is empty.
        UnsafeLoss: The loss would be minimised by firing on every flow.
        Diverged: The loss became NaN or infinite.
    """
    _require_matching(train, valid)
    keras.utils.set_random_seed(settings.seed)
    loss = TagLoss(settings.loss, len(train.tag_names))
    normalisation = measure(train.features, settings.network.transform, settings.network.clip)
    hurdle = settings.loss.hurdle
    log_odds = (hurdle_log_odds if hurdle else tag_log_odds)(train.tags)
    views = build_network(normalisation, train.feature_names, log_odds, settings.network, hurdle)
    seen = train.rows(repeated_rows(train.tags, settings.rare_flows))
    # XLA on a CPU takes longer to compile than these networks take to train.
    views.members.compile(optimizer=_optimizer(settings, len(seen)), loss=loss, jit_compile=False)
    watch = _Watch(views, valid, settings, on_epoch)
    views.members.fit(
        seen.features,
        seen.tags.astype(np.float32),
        batch_size=settings.batch_size,
        epochs=settings.epochs,
        verbose=0,
        callbacks=[watch],
    )
    return TrainedNetwork(views.mean, tuple(watch.history))


def network_logits(network: keras.Model, features: np.ndarray, batch_size: int = 8192) -> np.ndarray:
    """Return the network's logits, shape (n_flows, n_tags), float32."""
    return np.asarray(network.predict(features, batch_size=batch_size, verbose=0))


def network_scores(network: keras.Model, features: np.ndarray, batch_size: int = 8192) -> np.ndarray:
    """Return scores in [0, 1], shape (n_flows, n_tags), float32, of a network that answers logits."""
    logits = network_logits(network, features, batch_size)
    return np.asarray(ops.convert_to_numpy(ops.sigmoid(logits)), np.float32)


class _Watch(keras.callbacks.Callback):  # type: ignore[misc]  # keras carries no types
    """Judges each epoch on the validation flows, keeps the best weights, stops when nothing improves."""

    def __init__(
        self,
        views: NetworkViews,
        valid: TagDataset,
        settings: TrainingSettings,
        on_epoch: Callable[[EpochResult], None] | None,
    ) -> None:
        super().__init__()
        self.views = views
        self.valid = valid
        self.settings = settings
        self.on_epoch = on_epoch
        self.history: list[EpochResult] = []
        self.best_value: tuple[float, float] = (-np.inf, -np.inf)
        self.best_weights: list[np.ndarray] = []

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Judge the epoch; stop on NaN or when patience has run out."""
        result = self._judged(epoch + 1, float((logs or {})["loss"]))
        self.history.append(result)
        if result.best:
            self.best_weights = self.views.mean.get_weights()
        if self.on_epoch:
            self.on_epoch(result)
        last_best = max(past.epoch for past in self.history if past.best)
        if result.epoch - last_best >= self.settings.patience:
            self.model.stop_training = True

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002 (Keras passes it by name)
        """Put the best epoch's weights back."""
        self.views.mean.set_weights(self.best_weights)

    def _judged(self, epoch: int, training_loss: float) -> EpochResult:
        answers = network_logits(self.views.answers, self.valid.features)
        validation_loss = float(self.views.members.loss(self.valid.tags, answers))
        if not np.isfinite([training_loss, validation_loss]).all():
            raise Diverged(
                f"the loss was {training_loss} in training and {validation_loss} in validation",
                f"epoch {epoch}",
                "finite numbers",
                "",
                "a lower learning rate, or look for infinities in the features",
            )
        logits = self.views.tag_logits(answers)
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


def repeated_rows(tags: npt.NDArray[np.uint8], rare_flows: int) -> npt.NDArray[np.intp]:
    """Return row numbers, those of rare tags repeated until each tag that occurs has ``rare_flows`` rows.

    A tag on one flow with ``rare_flows`` 20: that flow's row number comes 20 times, all others once.
    """
    positives = np.maximum(tags.sum(axis=0, dtype=np.int64), 1)
    times = np.maximum(-(-rare_flows // positives), 1)
    return np.repeat(np.arange(len(tags)), np.where(tags > 0, times, 1).max(axis=1, initial=1))


def _optimizer(settings: TrainingSettings, flows: int) -> keras.optimizers.Optimizer:
    steps = -(-flows // settings.batch_size) * settings.epochs
    rising = max(1, steps // 20)
    schedule = keras.optimizers.schedules.CosineDecay(
        settings.learning_rate / 25,
        max(1, steps - rising),
        warmup_target=settings.learning_rate,
        warmup_steps=rising,
    )
    optimizer = keras.optimizers.AdamW(schedule, weight_decay=settings.weight_decay, global_clipnorm=settings.clip_norm)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    return optimizer


def _require_matching(train: TagDataset, valid: TagDataset) -> None:
    if (train.feature_names, train.tag_names) != (valid.feature_names, valid.tag_names):
        raise ModelMismatch(
            "training and validation differ in columns or tags",
            "train_network",
            f"{len(train.feature_names)} columns, {len(train.tag_names)} tags",
            f"{len(valid.feature_names)} columns, {len(valid.tag_names)} tags",
        )
    if not len(train) or not len(valid):
        raise ModelMismatch(
            "there is nothing to learn from", "train_network", "flows in both", f"{len(train)} and {len(valid)}"
        )
