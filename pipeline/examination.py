"""All that can be said of how good contenders are on flows whose truth is known; plain values for JSON."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from features.errors import Uncalibrated
from features.labels.vocabulary import UNKNOWN
from models.calibration import reliability, tag_calibration_errors
from models.confusion import confusions
from models.dataset import TagDataset
from models.detector import Answers
from models.firing import fired_tags
from models.intervals import intervals
from models.metrics import calibration_error, evaluate, silence_at_budget
from models.scored_flows import Blocks, ScoredFlows, read_blocks
from models.thresholds import ThresholdSettings
from pipeline.contenders import Contender, Matrix
from pipeline.settings import Settings

BUDGETS = (0.0005, 0.001, 0.005, 0.01, 0.05)

Plain = dict[str, Any]


def examination(labelled: Path, flows: TagDataset, contenders: Sequence[Contender], settings: Settings) -> Plain:
    """Return figures of each contender, and what the first one's thresholds are worth at several budgets.

    Returns:
        ``hours`` of traffic, ``contenders`` by name, and ``rechosen``: thresholds chosen on the first contender's own
        validation flows for each of BUDGETS, with what they do here; empty where it keeps none.
    """
    blocks = read_blocks([labelled])
    answered = {one.name: one.answer(flows.features) for one in contenders}
    first, cuts = contenders[0], ThresholdSettings(**settings.thresholds.model_dump())
    scores = flows.judged(answered[first.name].scores)
    rechosen = list(_rechosen(first.validation, flows, scores, cuts)) if first.validation else []
    figures = {one.name: _figures(one, flows, answered[one.name], blocks) for one in contenders}
    return {"hours": blocks.hours, "contenders": figures, "rechosen": rechosen}


def _figures(contender: Contender, flows: TagDataset, answers: Answers, blocks: Blocks) -> Plain:
    scores = flows.judged(answers.scores)
    figures = evaluate(flows.tags, scores, contender.thresholds, flows.tag_names)
    alarms = (figures.false_alarm_rate or 0.0) * figures.benign_flows
    mixed = confusions(flows.tags, fired_tags(scores, contender.thresholds), flows.tag_names)
    return {
        **figures.to_dict(),
        UNKNOWN: contender.unknown(flows, answers),
        "false_alarms_per_hour": alarms / blocks.hours if blocks.hours and figures.benign_flows else None,
        "intervals": intervals(flows.tags, scores, contender.thresholds, blocks.of_flow, flows.tag_names),
        "at_budgets": [
            {"budget": budget, "silent_rate": silence_at_budget(flows.tags, scores, budget)} for budget in BUDGETS
        ],
        "confusions": [asdict(one) for one in mixed],
        "calibration": _calibration(contender, flows, scores),
    }


def _calibration(contender: Contender, flows: TagDataset, scores: Matrix) -> Plain:
    """Return calibration errors of all pairs and each tag, and the reliability curve, of scores and probabilities."""
    read = {"scores": scores}
    if contender.calibration:
        read["probabilities"] = contender.calibration.probabilities(scores)
    return {
        name: {
            "error": calibration_error(flows.tags, values),
            "tags": dict(zip(flows.tag_names, tag_calibration_errors(flows.tags, values), strict=True)),
            "reliability": [asdict(one) for one in reliability(flows.tags, values)],
        }
        for name, values in read.items()
    }


def _rechosen(known: ScoredFlows, flows: TagDataset, scores: Matrix, cuts: ThresholdSettings) -> Iterator[Plain]:
    """Yield what thresholds for each budget do here; nothing for a budget within which nothing can be detected."""
    for budget in BUDGETS:
        try:
            chosen = known.thresholds(replace(cuts, false_alarm_budget=budget, per_hour=None))
        except Uncalibrated:
            continue
        found = evaluate(flows.tags, scores, chosen.cuts, flows.tag_names)
        kept = ("silent_rate", "false_alarm_rate", "macro_f1")
        yield {"budget": budget, **{name: getattr(found, name) for name in kept}}
