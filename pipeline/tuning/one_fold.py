"""One fold of one trial: train without it, choose thresholds on the next, measure on it. Brings Keras."""

import time
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np

from features.views import view_of
from models.dataset import TagDataset, read_dataset
from models.metrics import false_alarm_rate, mean_average_precision, silence_at_budget, silent_rate
from models.prediction import network_scores
from models.scored_flows import ScoredFlows
from models.training import train_network
from pipeline.background import read_background
from pipeline.fitting import background_settings, threshold_settings, training_settings
from pipeline.settings import Settings
from pipeline.tuning.folds import Folds
from pipeline.tuning.trial import FoldOutcome


@dataclass(frozen=True)
class Flows:
    """Where the flows of a study lie.

    Attributes:
        tables: Labelled tables.
        folds: The fold of each of their flows, as `Folds.save` wrote it.
        columns: Feature columns that all tables give.
        tag_names: Of the vocabulary.
        background: Tables of ordinary traffic of other networks, which joins every training.
    """

    tables: tuple[Path, ...]
    folds: Path
    columns: tuple[str, ...]
    tag_names: tuple[str, ...]
    background: tuple[Path, ...] = ()


def try_fold(flows: Flows, settings: Settings, held_out: int) -> FoldOutcome:
    """Train without a fold, choose thresholds on the next, and measure on it.

    Where no threshold detects anything within the budget, nothing fires: that is what such settings are worth.

    Raises:
        Diverged: The loss became NaN or infinite.
    """
    begun = time.monotonic()
    dataset, folds = _read(flows)
    view = view_of(flows.columns, settings.detector.view)
    narrow = _columns(dataset, view.columns)
    train, valid, held = (narrow.rows(mask) for mask in folds.masks(held_out))
    others = None
    if flows.background:
        others, _ = read_background(flows.background, train, background_settings(settings))
    trained = train_network(others.beside(train) if others else train, valid, training_settings(settings))
    elsewhere = network_scores(trained.network, others.held_out.features) if others else None
    own = valid.judged(network_scores(trained.network, valid.features))
    judged = ScoredFlows(valid.tags, own, background=elsewhere)
    cuts = judged.cuts_or_silence(threshold_settings(settings))
    scores = held.judged(network_scores(trained.network, held.features))
    budget = settings.budget_share
    return FoldOutcome(
        fold=held_out,
        flows=len(held),
        attack_flows=int(held.attack.sum()),
        silent_rate=known(silent_rate(held.tags, scores, cuts)),
        false_alarm_rate=known(false_alarm_rate(held.tags, scores, cuts)),
        silent_at_budget=known(silence_at_budget(held.tags, scores, budget)),
        mean_average_precision=known(mean_average_precision(held.tags, scores)),
        history=tuple(result.figures() for result in trained.history),
        seconds=time.monotonic() - begun,
    )


def known(figure: float | None) -> float:
    """Return a figure of a fold; all are known, because each fold has attack flows and benign ones."""
    if figure is None:
        raise ValueError("a fold without attack flows or without benign ones")
    return figure


@cache
def _read(flows: Flows) -> tuple[TagDataset, Folds]:
    """Read all flows, once in a process."""
    of_flow = np.load(flows.folds, allow_pickle=False)
    folds = Folds(of_flow, int(of_flow.max()) + 1, "", ())
    return read_dataset(flows.tables, flows.columns, flows.tag_names), folds


def _columns(dataset: TagDataset, names: tuple[str, ...]) -> TagDataset:
    if names == dataset.feature_names:
        return dataset
    at = [dataset.feature_names.index(name) for name in names]
    return replace(dataset, features=dataset.features[:, at], feature_names=names)
