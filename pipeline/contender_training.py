"""The detector and the two it is held against, plain cross-entropy and boosted trees, trained on the same flows.

What they leave in their folder: `pipeline.contenders`.
"""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from math import ceil
from pathlib import Path
from typing import Any

import joblib  # type: ignore[import-untyped]  # carries no types
import numpy as np

from features.labels.vocabulary import UNKNOWN
from features.schema import SCHEMA_VERSION, fingerprint
from features.views import name_of
from models.background import Background
from models.boosting import BoostedTags, fit_boosting
from models.calibration import fit_calibration
from models.card import DetectorCard, benign_medians
from models.dataset import TagDataset
from models.detector import Detector
from models.familiarity import Familiarity, measure_familiarity
from models.firing import any_fired
from models.losses import LossSettings
from models.metrics import evaluate
from models.scored_flows import Blocks, ScoredFlows, as_share
from models.teaching import taught, teach
from models.thresholds import Thresholds, ThresholdSettings
from models.training import TrainedNetwork, TrainingSettings, train_network
from models.unknown import UnknownSettings, anomalies_of, measure_benign
from models.watch import EpochResult
from pipeline.contenders import BOOSTING, BOOSTING_FILE, PLAIN, Matrix
from pipeline.first_fit import with_first_fit
from pipeline.progress import Step, advance, say
from pipeline.train import DETECTOR, TRAINING_FILE

HALF = 0.5
ONE_PASSES = 2.0
"""From so many benign flows allowed on one of them may be a detection: a cut costs the flows above it and one more."""


@dataclass(frozen=True)
class Sets:
    """Labelled flows to train by.

    Attributes:
        train: To learn from.
        valid: To choose thresholds on.
        learned: All that is learned from: behind ``train`` the background, where there is any.
    """

    train: TagDataset
    valid: TagDataset
    learned: TagDataset


@dataclass(frozen=True)
class Choice:
    """How a network is trained, and where its tags fire.

    Attributes:
        training: Loss, network, schedule.
        cuts: How thresholds are chosen; None for a cut of 0.5.
        blocks: When the validation flows began.
        kept: Where the state of a training in progress is kept, a folder for each network; None keeps none.
        vocabulary: Fingerprint of the one that the tags are from.
        background: Ordinary flows of other networks that join the training.
        unknown: How unknown attacks are looked for.
    """

    training: TrainingSettings
    cuts: ThresholdSettings | None
    blocks: Blocks | None = None
    kept: Path | None = None
    vocabulary: str = ""
    background: Background | None = None
    unknown: UnknownSettings = field(default_factory=UnknownSettings)


def fit_contenders(train: TagDataset, valid: TagDataset, choice: Choice, folder: Path) -> None:
    """Train all three, choose thresholds on the validation flows, and write them to a new folder.

    Raises:
        ModelError: As `train_network` and `choose_thresholds` say.
    """
    folder.mkdir()
    if choice.cuts:
        cuts = as_share(choice.cuts, valid.tags, choice.blocks)
        _tell_of_few(int((~valid.attack).sum()), cuts.false_alarm_budget)
        choice = replace(choice, cuts=cuts)
    if choice.background and choice.cuts:
        tried = with_first_fit(choice.background, (train, valid), choice.training, choice.cuts)
        choice = replace(choice, background=tried)
    sets = Sets(train, valid, choice.background.beside(train, folder) if choice.background else train)
    plain = replace(
        choice, training=replace(choice.training, loss=LossSettings(penalty="none"), taught=0.0), cuts=None, blocks=None
    )
    beside = fit_network(sets, plain, folder / PLAIN)
    trees, boosting = _fit_boosting(sets, choice, folder / BOOSTING_FILE)
    sets, choice = _taught(sets, choice, trees, (beside, boosting))
    notes = {DETECTOR: fit_network(sets, choice, folder / DETECTOR), PLAIN: beside, BOOSTING: boosting}
    (folder / TRAINING_FILE).write_text(json.dumps(notes, indent=1) + "\n", "utf-8")


def _tell_of_few(benign: int, budget: float) -> None:
    """Say so where no benign validation flow may be a detection, though the budget is above 0."""
    if 0 < budget * (benign + 1) < ONE_PASSES:
        say(
            f"{benign:,} benign validation flows are few for a budget of {budget:g}: thresholds stand above "
            f"all of them, weak attacks may stay silent. Validate on {ceil(ONE_PASSES / budget):,} of them or more, "
            "or allow more: --set thresholds.false_alarm_budget=SHARE"
        )


def fit_network(sets: Sets, choice: Choice, path: Path) -> dict[str, Any]:
    """Train one network, cut at 0.5 without threshold settings, save it, and return how it went."""
    settings = choice.training
    work = f"training with {settings.loss.penalty} penalty" if choice.cuts else "training plain cross-entropy beside it"
    begun = time.monotonic()

    def on_epoch(result: EpochResult) -> None:
        note = f"validation loss {result.validation_loss:.4f}"
        advance(Step(work, result.epoch, settings.epochs, "epochs", note))

    kept = choice.kept / path.name if choice.kept else None
    trained = train_network(sets.learned, sets.valid, settings, on_epoch, kept)
    advance(Step(work, settings.epochs, settings.epochs, "epochs"))
    seconds = time.monotonic() - begun
    say(f"{work}: best of {len(trained.history)} epochs is epoch {trained.best_epoch}, {seconds:.0f} s")
    card = _save(trained, sets, choice, path)
    history = [{"epoch": result.epoch, **result.figures()} for result in trained.history]
    notes = {"seconds": seconds, "best_epoch": trained.best_epoch, "history": history, "settings": settings.to_dict()}
    notes |= {"validation": card.validation, "thresholds": card.thresholds.cuts}
    return {**notes, "background": card.background} if choice.background else notes


def _save(trained: TrainedNetwork, sets: Sets, choice: Choice, path: Path) -> DetectorCard:
    """Choose thresholds, measure what is known, save the detector, and return its card."""
    train, valid = sets.train, sets.valid
    halves = Thresholds((HALF,) * len(train.tag_names), tuple("pooled" for _ in train.tag_names), 0.0, 0.0)
    card = DetectorCard(
        tag_names=train.tag_names,
        feature_names=train.feature_names,
        schema_version=SCHEMA_VERSION,
        schema_fingerprint=fingerprint(),
        thresholds=halves,
        benign_medians=benign_medians(train),
        settings={
            "training": choice.training.to_dict(),
            "thresholds": asdict(choice.cuts) if choice.cuts else {"all": HALF},
            **({"background": choice.background.settings.to_dict()} if choice.background else {}),
        },
        validation={},
        view=name_of(train.feature_names),
        vocabulary=choice.vocabulary,
    )
    score = Detector(trained.network, card).score
    scores = valid.judged(score(valid.features))
    scored = _scored(score, scores, valid, choice)
    cuts = scored.thresholds(choice.cuts) if choice.cuts else halves.judged(valid.tags, scores)
    figures = evaluate(valid.tags, scores, cuts.cuts, valid.tag_names).to_dict()
    card = replace(card, thresholds=cuts, validation=figures, background=_elsewhere(score, cuts, choice))
    if not choice.cuts:
        Detector(trained.network, card).save(path)
        return card
    card = replace(card, calibration=fit_calibration(valid.tags, scores, choice.cuts.least_positives))
    detector = Detector(trained.network, card, _known(trained, sets, choice), scored)
    if choice.unknown.false_alarm_budget:
        detector = _looking_for_unknown(detector, scored, sets, choice)
    replace(detector, validation=(detector.validation or scored).sampled()).save(path)
    return detector.card


def _scored(score: Callable[[Matrix], Matrix], scores: Matrix, valid: TagDataset, choice: Choice) -> ScoredFlows:
    """Return the validation flows with their scores, and those of the held-out background without what is set aside."""
    own = ScoredFlows(valid.tags, scores, choice.blocks)
    if not choice.background:
        return own
    return replace(own, background=score(_ordinary(score, own, choice.background, choice.cuts)))


def _ordinary(
    score: Callable[[Matrix], Matrix], own: ScoredFlows, background: Background, cuts: ThresholdSettings | None
) -> Matrix:
    """Return the held-out background without what is set aside."""
    features = background.held_out.features
    if not cuts or not background.settings.attack_share:
        return features
    return features[~background.set_aside(any_fired(score(features), own.thresholds(cuts).cuts))]


def _looking_for_unknown(detector: Detector, scored: ScoredFlows, sets: Sets, choice: Choice) -> Detector:
    """Return the detector with where benign flows lie, and from where on what is unlike them is reported."""
    learned, judged = [sets.train], [sets.valid.features]
    if choice.background:
        own = replace(scored, background=None)
        learned.append(choice.background.learned)
        judged.append(_ordinary(detector.score, own, choice.background, choice.cuts))
    benign = measure_benign(detector.network, learned)
    anomalies = np.concatenate([anomalies_of(detector.network, benign, features) for features in judged])
    seen = replace(scored, anomalies=anomalies)
    cut = seen.unknown_cut(detector.card.thresholds.cuts, choice.unknown.false_alarm_budget)
    card = replace(detector.card, unknown=cut, settings={**detector.card.settings, UNKNOWN: choice.unknown.to_dict()})
    return replace(detector, card=card, validation=seen, benign=benign)


def _elsewhere(score: Callable[[Matrix], Matrix], cuts: Thresholds, choice: Choice) -> dict[str, Any]:
    """Return what a network does on the background; empty where there is none."""
    if not choice.background:
        return {}
    parts = (choice.background.learned, choice.background.held_out)
    return choice.background.told(np.concatenate([any_fired(score(part.features), cuts.cuts) for part in parts]))


def _known(trained: TrainedNetwork, sets: Sets, choice: Choice) -> Familiarity:
    own = measure_familiarity(trained.network, sets.train, sets.valid)
    if not choice.background:
        return own
    return own.with_background(
        measure_familiarity(trained.network, choice.background.learned, choice.background.held_out)
    )


def _taught(
    sets: Sets, choice: Choice, trees: BoostedTags, notes: tuple[dict[str, Any], dict[str, Any]]
) -> tuple[Sets, Choice]:
    """Return what the detector learns, and how: from the trees as well if they beat plain cross-entropy on validation.

    Args:
        sets: What the trees were grown on.
        choice: How the detector is to be trained; what comes back says how far it is taught in truth.
        trees: The teacher.
        notes: How plain cross-entropy went, and the trees.
    """
    alone, theirs = (note["validation"]["mean_average_precision"] for note in notes)
    if not choice.training.taught or not teach(theirs, alone):
        return sets, replace(choice, training=replace(choice.training, taught=0.0))
    learned, training = taught(sets.learned, trees, choice.training)
    say(
        f"trees teach, at a learning rate of {training.learning_rate:g}: their mean average precision on validation "
        f"flows is {theirs:.3f}, that of a network alone {alone or 0:.3f}"
    )
    return replace(sets, learned=learned), replace(choice, training=training)


def _fit_boosting(sets: Sets, choice: Choice, path: Path) -> tuple[BoostedTags, dict[str, Any]]:
    """Grow the trees, choose their thresholds as the detector's are chosen, save both; return them and how it went."""
    begun = time.monotonic()
    boosted = fit_boosting(sets.learned)
    seconds = time.monotonic() - begun
    valid = sets.valid
    scores = valid.judged(boosted.score(valid.features))
    thresholds = _scored(boosted.score, scores, valid, choice).cuts_or_silence(choice.cuts or ThresholdSettings())
    saved = {"ensembles": boosted.ensembles, "shares": boosted.shares, "tag_names": boosted.tag_names}
    joblib.dump({**saved, "thresholds": thresholds}, path)
    drawn = "" if boosted.flows == len(sets.learned) else f" on {boosted.flows:,} flows"
    say(f"gradient boosting beside it: one ensemble a tag{drawn}, {seconds:.0f} s")
    figures = evaluate(valid.tags, scores, thresholds, valid.tag_names).to_dict()
    notes = {"seconds": seconds, "flows": boosted.flows, "constant_tags": boosted.constant_tags}
    return boosted, {**notes, "validation": figures, "thresholds": thresholds}
