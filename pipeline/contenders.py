"""The detector and the two it is held against, trained on the same flows: plain cross-entropy, and boosted trees.

A folder of contenders holds `detector/` and `plain_bce/` (directories of `models.detector`), `boosting.joblib` (plain
containers of scikit-learn's own objects) and `training.json` (how each came about and what it did on validation).
"""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import joblib  # type: ignore[import-untyped]  # carries no types
import numpy as np
import numpy.typing as npt

from features.schema import SCHEMA_VERSION, fingerprint
from features.table import columns_given, open_table
from features.views import name_of
from models.boosting import BoostedTags, fit_boosting
from models.calibration import Calibration, fit_calibration
from models.dataset import TagDataset, read_dataset
from models.detector import Detector, DetectorCard, benign_medians
from models.familiarity import measure_familiarity
from models.losses import LossSettings
from models.metrics import evaluate, false_alarm_rate, silent_rate
from models.scored_flows import Blocks, ScoredFlows
from models.thresholds import Thresholds, ThresholdSettings, choose_thresholds
from models.training import TrainedNetwork, TrainingSettings, train_network
from models.watch import EpochResult
from pipeline.progress import Step, advance, say
from pipeline.train import DETECTOR, TRAINING_FILE

PLAIN, BOOSTING = "plain_bce", "boosting"
BOOSTING_FILE = "boosting.joblib"
HALF = 0.5

Matrix = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Contender:
    """Something that scores flows, and where its tags fire; what else it keeps, if it does.

    Attributes:
        name: What it is called.
        score: Features to scores.
        thresholds: One a tag.
        validation: Its scores of the validation flows.
        calibration: Its scores as probabilities.
    """

    name: str
    score: Callable[[Matrix], Matrix]
    thresholds: tuple[float, ...]
    validation: ScoredFlows | None = None
    calibration: Calibration | None = None

    def evaluation(self, flows: TagDataset) -> dict[str, Any]:
        """Return its figures on flows whose truth is known, plain values."""
        return evaluate(flows.tags, self.score(flows.features), self.thresholds, flows.tag_names).to_dict()


@dataclass(frozen=True)
class Choice:
    """How a network is trained, and where its tags fire.

    Attributes:
        training: Loss, network, schedule.
        cuts: How thresholds are chosen; None for a cut of 0.5.
        blocks: When the validation flows began.
        kept: Where the state of a training in progress is kept, a folder for each network; None keeps none.
        vocabulary: Fingerprint of the one that the tags are from.
    """

    training: TrainingSettings
    cuts: ThresholdSettings | None
    blocks: Blocks | None = None
    kept: Path | None = None
    vocabulary: str = ""


def fit_contenders(train: TagDataset, valid: TagDataset, choice: Choice, folder: Path) -> None:
    """Train all three, choose thresholds on the validation flows, and write them to a new folder.

    Raises:
        ModelError: As `train_network` and `choose_thresholds` say.
    """
    folder.mkdir()
    plain = replace(
        choice, training=replace(choice.training, loss=LossSettings(penalty="none")), cuts=None, blocks=None
    )
    notes = {
        DETECTOR: fit_network(train, valid, choice, folder / DETECTOR),
        PLAIN: fit_network(train, valid, plain, folder / PLAIN),
        BOOSTING: _fit_boosting(train, valid, choice.cuts, folder / BOOSTING_FILE),
    }
    for contender in [_network(DETECTOR, Detector.load(folder / DETECTOR)), *trained_beside(folder)]:
        notes[contender.name] |= {"validation": contender.evaluation(valid), "thresholds": contender.thresholds}
    (folder / TRAINING_FILE).write_text(json.dumps(notes, indent=1) + "\n", "utf-8")


def judge(labelled: Path, detector: Path, beside: Path | None) -> tuple[int, dict[str, Any]]:
    """Return the number of flows of a labelled table, and the evaluation on them of each contender by name.

    Arguments and errors as for `contenders_on`.
    """
    flows, contenders = contenders_on(labelled, detector, beside)
    return len(flows), {contender.name: contender.evaluation(flows) for contender in contenders}


def contenders_on(labelled: Path, detector: Path, beside: Path | None) -> tuple[TagDataset, list[Contender]]:
    """Return the flows of a labelled table, and who is to be judged by them, the detector first.

    Args:
        labelled: A labelled table.
        detector: The detector in question.
        beside: The folder with the two that were trained beside it, if they are known.

    Raises:
        ModelMismatch: The detector was trained for another schema, or for columns that the table lacks.
    """
    loaded = Detector.load(detector)
    with open_table(labelled, labelled=True) as table:
        loaded.require_columns(columns_given(table), fingerprint())
    flows = read_dataset([labelled], loaded.card.feature_names, loaded.card.tag_names)
    return flows, [_network(DETECTOR, loaded), *(trained_beside(beside) if beside else ())]


def trained_beside(folder: Path) -> list[Contender]:
    """Return the two contenders of the detector in the same folder."""
    saved = joblib.load(folder / BOOSTING_FILE)
    trees = BoostedTags(saved["ensembles"], saved["shares"], saved["tag_names"])
    return [_network(PLAIN, Detector.load(folder / PLAIN)), Contender(BOOSTING, trees.score, saved["thresholds"])]


def _network(name: str, detector: Detector) -> Contender:
    card = detector.card
    return Contender(name, detector.score, card.thresholds.values, detector.validation, card.calibration)


def fit_network(train: TagDataset, valid: TagDataset, choice: Choice, path: Path) -> dict[str, Any]:
    """Train one network, cut at 0.5 without threshold settings, save it, and return how it went."""
    settings = choice.training
    work = f"training with {settings.loss.penalty} penalty" if choice.cuts else "training plain cross-entropy beside it"
    begun = time.monotonic()

    def on_epoch(result: EpochResult) -> None:
        note = f"validation loss {result.validation_loss:.4f}"
        advance(Step(work, result.epoch, settings.epochs, "epochs", note))

    trained = train_network(train, valid, settings, on_epoch, choice.kept / path.name if choice.kept else None)
    advance(Step(work, settings.epochs, settings.epochs, "epochs"))
    seconds = time.monotonic() - begun
    say(f"{work}: best of {len(trained.history)} epochs is epoch {trained.best_epoch}, {seconds:.0f} s")
    _save(trained, train, valid, choice, path)
    history = [{"epoch": result.epoch, **result.figures()} for result in trained.history]
    return {"seconds": seconds, "best_epoch": trained.best_epoch, "history": history, "settings": settings.to_dict()}


def _save(trained: TrainedNetwork, train: TagDataset, valid: TagDataset, choice: Choice, path: Path) -> None:
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
        },
        validation={},
        view=name_of(train.feature_names),
        vocabulary=choice.vocabulary,
    )
    scores = Detector(trained.network, card).score(valid.features)
    cuts = choose_thresholds(valid.tags, scores, choice.cuts) if choice.cuts else _as_found(valid, scores, halves)
    figures = evaluate(valid.tags, scores, cuts.values, valid.tag_names).to_dict()
    card = replace(card, thresholds=cuts, validation=figures)
    if not choice.cuts:
        Detector(trained.network, card).save(path)
        return
    card = replace(card, calibration=fit_calibration(valid.tags, scores, choice.cuts.least_positives))
    known = measure_familiarity(trained.network, train, valid)
    scored = ScoredFlows(valid.tags, scores, choice.blocks).sampled()
    Detector(trained.network, card, known, scored).save(path)


def _as_found(valid: TagDataset, scores: Matrix, cuts: Thresholds) -> Thresholds:
    """Return given thresholds with what they do on the validation flows."""
    false_alarms = false_alarm_rate(valid.tags, scores, cuts.values) or 0.0
    return replace(cuts, false_alarm_rate=false_alarms, silent_rate=silent_rate(valid.tags, scores, cuts.values) or 0.0)


def _fit_boosting(train: TagDataset, valid: TagDataset, cuts: ThresholdSettings | None, path: Path) -> dict[str, Any]:
    """Grow the trees, choose their thresholds as the detector's are chosen, save both, and return how it went."""
    begun = time.monotonic()
    boosted = fit_boosting(train)
    seconds = time.monotonic() - begun
    thresholds = choose_thresholds(valid.tags, boosted.score(valid.features), cuts).values
    saved = {"ensembles": boosted.ensembles, "shares": boosted.shares, "tag_names": boosted.tag_names}
    joblib.dump({**saved, "thresholds": thresholds}, path)
    say(f"gradient boosting beside it: one ensemble a tag, {seconds:.0f} s")
    return {"seconds": seconds, "constant_tags": boosted.constant_tags}
