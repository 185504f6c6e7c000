"""Training a network on one dataset, stopping by another."""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from features.errors import ConfigError, ModelMismatch
from models.dataset import TagDataset
from models.hurdle import hurdle_log_odds, tag_log_odds
from models.losses import LossSettings, TagLoss
from models.network import EXACT, NetworkSettings, build_network
from models.normaliser import Normalisation, measure, normaliser_layer
from models.ramps import Ramps, place_ramps, worth
from models.training_state import keep, restore
from models.watch import Batches, EpochResult, Watch

Monitor = Literal["last", "silence", "loss", "mean_average_precision"]
Precision = Literal["float32", "mixed_bfloat16"]

PIECE_FLOWS = 65_536
"""Flows whose features are gathered, in the order of an epoch, at once."""
HALF = 0.5
RAMP_FLOWS = 50_000
"""Flows by which ramps are placed."""


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
        taught: How far targets are drawn towards the answers of boosted trees, in [0, 1/2), where these are better on
            the validation flows, at twice the learning rate (``models.teaching``): whoever calls prepares the flows.
        precision: What hidden layers compute with in training; weights, inputs and logits stay ``float32``, and so does
            all of the network that is kept. ``mixed_bfloat16`` is for GPUs that multiply it faster.
        jit_compile: Whether XLA compiles the steps. For GPUs: on a CPU such steps take many times longer.
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
    taught: float = 0.45
    precision: Precision = "float32"
    jit_compile: bool = False
    seed: int = 1
    loss: LossSettings = field(default_factory=LossSettings)
    network: NetworkSettings = field(default_factory=NetworkSettings)

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        for name in ("epochs", "batch_size", "patience", "learning_rate", "clip_norm"):
            if not getattr(self, name) > 0:
                raise ConfigError("training cannot run so", f"training.{name}", "above 0", repr(getattr(self, name)))
        if not 0 <= self.taught < HALF:
            raise ConfigError("the truth must decide", "training.taught", "0 <= share < 0.5", repr(self.taught))
        if self.monitor not in get_args(Monitor):
            raise ConfigError("unknown quantity", "training.monitor", ", ".join(get_args(Monitor)), repr(self.monitor))
        if self.precision not in get_args(Precision):
            expected = ", ".join(get_args(Precision))
            raise ConfigError("unknown precision", "training.precision", expected, repr(self.precision))

    def to_dict(self) -> dict[str, Any]:
        """Return plain nested values, as they are logged and stored with a detector."""
        return {**asdict(self), "loss": self.loss.to_dict(), "network": self.network.to_dict()}


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
    kept: Path | None = None,
) -> TrainedNetwork:
    """Train a network and return it with the weights of its best epoch on the validation flows.

    Sets Keras' global seed. Null-ness, centres and spreads are measured on ``train`` alone. Beside the flows themselves
    no more than PIECE_FLOWS of them are held in memory.

    Args:
        train: Flows to learn from, as much from each as it weighs.
        valid: Flows of another capture or time, with the same columns and tags; each counts as one.
        settings: Loss, network, schedule.
        on_epoch: Called after each epoch that is trained here.
        kept: A folder in which the state is kept after each epoch: the same call goes on behind the last one kept, and
            ends in the weights it would have ended in without a break. Whoever calls removes it, and never has another
            training in it.

    Raises:
        ModelMismatch: The two datasets differ in columns or tags, or one of them is empty.
        UnsafeLoss: The loss would be minimised by firing on every flow.
        Diverged: The loss became NaN or infinite; names the batch, and keeps it in ``kept``.
    """
    _require_matching(train, valid)
    train = train.evenly_weighed()
    loss = TagLoss(settings.loss, len(train.tag_names))
    normalisation = measure(train.features, settings.network.transform, settings.network.clip)
    hurdle = settings.loss.hurdle
    log_odds = (hurdle_log_odds if hurdle else tag_log_odds)(train.tags)
    rows = repeated_rows(train.tags, settings.rare_flows)
    keras.utils.set_random_seed(settings.seed)
    ramps = _ramps(train, rows, normalisation, settings)
    build = partial(build_network, normalisation, ramps, train.feature_names, log_odds, settings.network, hurdle)
    with computing_with(settings.precision):
        views = build()
    optimizer = _optimizer(settings, len(rows))
    views.members.compile(optimizer=optimizer, loss=loss, jit_compile=settings.jit_compile)
    optimizer.build(views.members.trainable_variables)
    watch = Watch(views, valid, settings)
    done = restore(kept, views.members, watch) if kept else 0
    for epoch in range(done + 1, settings.epochs + 1):
        if watch.over:
            break
        result = watch.judge(epoch, _epoch(views.members, train, rows, settings, Batches(epoch, kept)))
        if kept:
            keep(kept, views.members, watch)
        if on_epoch:
            on_epoch(result)
    kept_network = views.mean if settings.precision == EXACT else build().mean
    kept_network.set_weights(watch.best_weights)
    return TrainedNetwork(kept_network, tuple(watch.history))


@contextmanager
def computing_with(precision: Precision) -> Iterator[None]:
    """Let layers that are built meanwhile compute with a precision."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _epoch(
    members: keras.Model,
    train: TagDataset,
    rows: npt.NDArray[np.intp],
    settings: TrainingSettings,
    batches: Batches,
) -> float:
    """Pass once over the rows, in an order that follows from seed and epoch; return the mean loss of the steps."""
    order = np.random.default_rng([settings.seed, batches.epoch]).permutation(rows)
    piece = max(1, PIECE_FLOWS // settings.batch_size) * settings.batch_size
    losses = []
    for start in range(0, len(order), piece):
        chosen = order[start : start + piece]
        flows = train.rows(chosen)
        batches.begin(flows, chosen, settings.batch_size)
        passed = members.fit(
            flows.features,
            flows.targets(),
            sample_weight=flows.weights,
            batch_size=settings.batch_size,
            shuffle=False,
            verbose=0,
            callbacks=[batches],
        )
        losses.append(passed.history["loss"][0])
    weights = [min(piece, len(order) - start) for start in range(0, len(order), piece)]
    return float(np.average(losses, weights=weights))


def repeated_rows(tags: npt.NDArray[np.uint8], rare_flows: int) -> npt.NDArray[np.intp]:
    """Return row numbers, those of rare tags repeated until each tag that occurs has ``rare_flows`` rows.

    A tag on one flow with ``rare_flows`` 20: that flow's row number comes 20 times, all others once.
    """
    positives = np.maximum(tags.sum(axis=0, dtype=np.int64), 1)
    times = np.maximum(-(-rare_flows // positives), 1)
    return np.repeat(np.arange(len(tags)), np.where(tags > 0, times, 1).max(axis=1, initial=1))


def _ramps(
    train: TagDataset, rows: npt.NDArray[np.intp], normalisation: Normalisation, settings: TrainingSettings
) -> Ramps | None:
    """Place ramps by at most about RAMP_FLOWS of the training rows, evenly spread."""
    if not settings.network.ramps:
        return None
    normalise = normaliser_layer(normalisation, len(train.feature_names))
    with _draws_kept():
        shown = train.rows(rows[:: max(1, len(rows) // RAMP_FLOWS)])
        inputs = np.asarray(ops.convert_to_numpy(normalise(shown.features)))
        ramps = place_ramps(inputs, worth(inputs, shown.tags, settings.network.ramps, settings.seed))
    return ramps if ramps.columns else None


@contextmanager
def _draws_kept() -> Iterator[None]:
    """Keep the state of Python's random numbers, by which Keras seeds layers, whatever other threads draw meanwhile."""
    state = random.getstate()
    yield
    random.setstate(state)


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
