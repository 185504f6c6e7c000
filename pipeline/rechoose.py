"""Stage: other thresholds for a registered detector, from the scores it keeps of its validation flows; no training."""

import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from features.errors import ModelError
from models.detector import VALIDATION_FILE, Detector
from models.intervals import intervals
from models.metrics import Evaluation, evaluate
from models.registry import CHALLENGER, CHAMPION, RegisteredDetector, promote, register, resolve
from models.scored_flows import ScoredFlows
from models.thresholds import ThresholdSettings, choose_thresholds
from models.tracking import tracked_run
from models.verdict import Verdict, judge
from pipeline.manifest import digest
from pipeline.progress import say
from pipeline.register import store, verdict_limits
from pipeline.registered import Budget, Registered
from pipeline.settings import Settings
from pipeline.train import in_view


@dataclass(frozen=True)
class Rechosen:
    """A new version, and what its thresholds do on the validation flows with 95 % intervals."""

    registered: Registered
    parent: str
    budget: float
    evaluation: Evaluation
    intervals: dict[str, tuple[float, float]]


def rechoose(budget: Budget, uri: str, settings: Settings) -> Rechosen:
    """Choose thresholds under another budget and register the same network with them as a new version.

    Args:
        budget: Of false alarms.
        uri: Of the detector, such as ``models:/flowtag@champion``.
        settings: The registry, how thresholds are chosen, and what the verdict demands.

    Raises:
        NoChampion: There is no such detector.
        ModelError: It keeps no scores of its validation flows.
        Uncalibrated: Nothing is detected within the budget.
        ServiceError: MLflow's database or server does not answer.
    """
    parent = resolve(store(settings), uri)
    detector = Detector.load(parent.directory)
    flows = detector.validation
    if flows is None:
        raise ModelError("the detector keeps no scores", uri, VALIDATION_FILE, "", "flowtag train")
    share = flows.share_for(budget.per_hour) if budget.per_hour is not None else budget.share
    asked = settings.thresholds.model_copy(update={"false_alarm_budget": share})
    cuts = ThresholdSettings(**asked.model_dump())
    chosen = choose_thresholds(flows.tags, flows.scores, cuts)
    figures = evaluate(flows.tags, flows.scores, chosen.values, detector.card.tag_names)
    card = replace(
        detector.card,
        thresholds=chosen,
        settings={**detector.card.settings, "thresholds": asdict(cuts)},
        validation=figures.to_dict(),
    )
    settings = settings.model_copy(update={"thresholds": asked})
    registered = _entered(replace(detector, card=card), parent, judge(figures, verdict_limits(settings)), settings)
    say(f"MLflow: {registered}")
    return Rechosen(
        registered, _title(parent), cuts.false_alarm_budget, figures, _intervals(flows, card.tag_names, chosen.values)
    )


def _intervals(
    flows: ScoredFlows, tag_names: tuple[str, ...], cuts: tuple[float, ...]
) -> dict[str, tuple[float, float]]:
    return intervals(flows.tags, flows.scores, cuts, flows.blocks.of_flow, tag_names) if flows.blocks else {}


def _entered(detector: Detector, parent: RegisteredDetector, verdict: Verdict, settings: Settings) -> Registered:
    """Register the detector with its lineage: challenger, and champion when the verdict accepts it."""
    where, told = store(settings), "; ".join(verdict.reasons)
    with (
        tempfile.TemporaryDirectory(prefix="flowtag") as folder,
        tracked_run(where, f"thresholds of {_title(parent)}", {"flowtag.parent": _title(parent)}) as run,
    ):
        directory = detector.save(Path(folder) / "detector")
        tags = {
            "flowtag.verdict": told,
            "flowtag.parent": _title(parent),
            "flowtag.parent_run": parent.run_id,
            "flowtag.detector": digest(directory),
            "flowtag.schema": detector.card.schema_fingerprint,
        }
        run.parameters({"thresholds": detector.card.settings["thresholds"]})
        run.figures({f"detector.valid.{name}": value for name, value in _numbers(detector).items()})
        example = np.array([[np.nan if one is None else one for one in detector.card.benign_medians]], np.float32)
        number = register(where, run.run_id, parent.name, directory, example, tags)
        promote(where, parent.name, number, in_view(CHALLENGER, detector.card.view))
        if verdict.accepted:
            promote(where, parent.name, number, in_view(CHAMPION, detector.card.view))
    return Registered(parent.name, number, verdict.accepted, told, run.run_id)


def _numbers(detector: Detector) -> dict[str, float]:
    plain = detector.card.validation
    return {name: float(value) for name, value in plain.items() if isinstance(value, int | float)}


def _title(version: RegisteredDetector) -> str:
    return f"{version.name} version {version.version}"
