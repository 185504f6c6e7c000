"""Stage: other thresholds for a registered detector, from the scores it keeps of its validation flows; no training."""

import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from features.errors import ModelError
from features.labels.vocabulary import UNKNOWN
from models.card import ADAPTED, DetectorCard
from models.detector import VALIDATION_FILE, Detector
from models.firing import Cuts
from models.intervals import intervals
from models.metrics import Evaluation, evaluate
from models.registry import resolve
from models.scored_flows import ScoredFlows, as_share
from models.thresholds import ThresholdSettings
from models.unknown import UnknownCut, UnknownSettings
from models.verdict import judge
from pipeline.descendant import Descendant, enter, put_in_use, title_of
from pipeline.progress import say
from pipeline.register import budget_of, in_use, store, verdict_limits
from pipeline.registered import Budget, Registered
from pipeline.settings import Settings


@dataclass(frozen=True)
class Rechosen:
    """A new version, and what its thresholds do on the validation flows with 95 % intervals."""

    registered: Registered
    parent: str
    budget: float
    evaluation: Evaluation
    intervals: dict[str, tuple[float, float]]
    unknown: UnknownCut | None


def rechoose(budget: Budget, asked_for: str | None, settings: Settings) -> Rechosen:
    """Choose thresholds under another budget and register the same network with them as a new version.

    Args:
        budget: Of false alarms.
        asked_for: Address of the detector, such as ``models:/flowtag/3``; None for the one in use, whatever its view.
        settings: The registry, how thresholds are chosen, and what the verdict demands.

    Raises:
        NoChampion: There is no such detector.
        ModelError: It keeps no scores of its validation flows, or was adapted to a network, or is asked for unknown
            attacks and never looked for any.
        Uncalibrated: Nothing is detected within the budget.
        ServiceError: MLflow's database or server does not answer.
    """
    uri = asked_for or in_use(settings)
    parent = resolve(store(settings), uri)
    detector = Detector.load(parent.directory)
    if ADAPTED in detector.card.settings:
        raise ModelError(
            "thresholds that were adapted to a network cannot be chosen from other flows",
            uri,
            "a version that was trained",
            title_of(parent),
            "flowtag adapt LOCAL_TRAFFIC --budget SHARE",
        )
    flows = detector.validation
    if flows is None:
        raise ModelError("the detector keeps no scores", uri, VALIDATION_FILE, "", "flowtag train")
    asked = {"false_alarm_budget": _share(budget, detector.card), "per_hour": budget.per_hour}
    wanted = ThresholdSettings(**{**settings.thresholds.model_dump(), **asked})
    cuts = as_share(wanted, flows.tags, flows.blocks)
    chosen = flows.thresholds(cuts)
    figures = evaluate(flows.tags, flows.scores, chosen.cuts, detector.card.tag_names)
    card = _with_unknown(detector.card, flows, chosen.cuts, budget.unknown)
    card = replace(
        card,
        thresholds=chosen,
        settings={**card.settings, "thresholds": asdict(cuts)},
        validation=figures.to_dict(),
    )
    verdict = judge(figures, verdict_limits(settings, cuts.false_alarm_budget))
    with tempfile.TemporaryDirectory(prefix="flowtag") as folder:
        saved = replace(detector, card=card).save(Path(folder) / "detector")
        registered = enter(Descendant(saved, parent, "thresholds of", verdict), settings)
    if verdict.accepted:
        registered = put_in_use(registered, card.view, settings)
    say(f"MLflow: {registered}")
    sure = _intervals(flows, card.tag_names, chosen.cuts)
    return Rechosen(registered, title_of(parent), cuts.false_alarm_budget, figures, sure, card.unknown)


def _share(budget: Budget, card: DetectorCard) -> float:
    """Return the share of benign flows on which a tag may fire: as asked, else as it was chosen for."""
    return budget_of(card) if budget.share is None else budget.share


def _with_unknown(card: DetectorCard, flows: ScoredFlows, cuts: Cuts, asked: float | None) -> DetectorCard:
    """Return the card with where unknown attacks are reported under a budget, its own where none is asked for.

    Raises:
        ModelError: One is asked for, and the detector never looked for anything unknown.
    """
    if flows.anomalies is None:
        if asked is None:
            return card
        raise ModelError(
            "the detector looks for nothing unknown",
            "flowtag thresholds --unknown",
            next_step="flowtag train --set unknown.false_alarm_budget=0.001",
        )
    chosen = UnknownSettings(**card.settings[UNKNOWN]) if asked is None else UnknownSettings(asked)
    cut = flows.unknown_cut(cuts, chosen.false_alarm_budget) if chosen.false_alarm_budget else None
    return replace(card, unknown=cut, settings={**card.settings, UNKNOWN: chosen.to_dict()})


def _intervals(flows: ScoredFlows, tag_names: tuple[str, ...], cuts: Cuts) -> dict[str, tuple[float, float]]:
    return intervals(flows.tags, flows.scores, cuts, flows.blocks.of_flow, tag_names) if flows.blocks else {}
