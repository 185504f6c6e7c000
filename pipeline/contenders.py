"""The detector and the two it is held against, plain cross-entropy and boosted trees, judged on the same flows.

A folder of contenders holds `detector/` and `plain_bce/` (directories of `models.detector`), `boosting.joblib` (plain
containers of scikit-learn's own objects) and `training.json` (how each came about and what it did on validation).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import joblib  # type: ignore[import-untyped]  # carries no types
import numpy as np
import numpy.typing as npt

from features.labels.vocabulary import UNKNOWN
from features.schema import fingerprint
from features.table import columns_given, open_table
from models.boosting import BoostedTags
from models.calibration import Calibration
from models.dataset import TagDataset, read_dataset
from models.detector import Answers, Detector
from models.firing import Cuts, any_fired
from models.metrics import evaluate
from models.scored_flows import ScoredFlows
from models.unknown import UnknownCut, judged_cut, reports
from pipeline.train import DETECTOR

PLAIN, BOOSTING = "plain_bce", "boosting"
BOOSTING_FILE = "boosting.joblib"

Matrix = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Contender:
    """Something that answers for flows, and where its tags fire; what else it keeps, if it does.

    Attributes:
        name: What it is called.
        answer: Features to what it says of them.
        thresholds: Where its tags fire.
        validation: Its scores of the validation flows.
        calibration: Its scores as probabilities.
        cut: From where on it reports flows as unknown; None for one that looks for none.
    """

    name: str
    answer: Callable[[Matrix], Answers]
    thresholds: Cuts
    validation: ScoredFlows | None = None
    calibration: Calibration | None = None
    cut: UnknownCut | None = None

    def unknown(self, flows: TagDataset, answers: Answers) -> dict[str, Any] | None:
        """Return what reporting unknown attacks does on flows whose truth is known; None where none are looked for.

        Returns:
            ``flows`` reported, ``false_alarm_rate``: share of benign flows that are, and ``silent_rate`` with them:
            share of attack flows on which no tag fires and that are not reported either.
        """
        if self.cut is None or answers.anomalies is None:
            return None
        fired = any_fired(answers.scores, self.thresholds)
        found = judged_cut(self.cut.threshold, flows.attack, fired, answers.anomalies)
        return {
            "flows": int(reports(found.threshold, fired, answers.anomalies).sum()),
            "false_alarm_rate": None if flows.attack.all() else found.false_alarm_rate,
            "silent_rate": found.silent_rate,
        }

    def figures(self, flows: TagDataset) -> dict[str, Any]:
        """Return its figures on flows whose truth is known, plain values."""
        answers = self.answer(flows.features)
        judged = evaluate(flows.tags, flows.judged(answers.scores), self.thresholds, flows.tag_names)
        return {**judged.to_dict(), UNKNOWN: self.unknown(flows, answers)}


def judge(labelled: Path, detector: Path, beside: Path | None) -> tuple[int, dict[str, Any]]:
    """Return the number of flows of a labelled table, and the evaluation on them of each contender by name.

    Arguments and errors as for `contenders_on`.
    """
    flows, contenders = contenders_on(labelled, detector, beside)
    return len(flows), {one.name: one.figures(flows) for one in contenders}


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
        loaded.card.require_columns(columns_given(table), fingerprint())
    flows = read_dataset([labelled], loaded.card.feature_names, loaded.card.tag_names, labelled.parent)
    return flows, [_network(DETECTOR, loaded), *(trained_beside(beside) if beside else ())]


def trained_beside(folder: Path) -> list[Contender]:
    """Return the two contenders of the detector in the same folder."""
    saved = joblib.load(folder / BOOSTING_FILE)
    trees = BoostedTags(saved["ensembles"], saved["shares"], saved["tag_names"])
    boosting = Contender(BOOSTING, partial(_answers_of, trees), saved["thresholds"])
    return [_network(PLAIN, Detector.load(folder / PLAIN)), boosting]


def _network(name: str, detector: Detector) -> Contender:
    card, known = detector.card, detector.validation
    return Contender(name, detector.answers, card.thresholds.cuts, known, card.calibration, card.unknown)


def _answers_of(trees: BoostedTags, features: Matrix) -> Answers:
    scores = trees.score(features)
    return Answers(scores, scores, None, np.zeros(len(scores), np.bool_), None)
