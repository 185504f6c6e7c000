"""From local flows and a loaded detector to an adapted one; imported only where there is work to do."""

from dataclasses import dataclass, replace

import numpy as np

from features.labels.vocabulary import UNKNOWN
from models.adaptation import AdaptSettings, Mask, Scores, lifted, lifted_thresholds, suspects
from models.calibration import fit_calibration
from models.card import ADAPTED, DetectorCard
from models.dataset import TagDataset
from models.detector import Detector
from models.familiarity import Familiarity, measure_familiarity
from models.finetune import finetune
from models.firing import any_fired, evidence
from models.losses import LossSettings
from models.metrics import evaluate, false_alarm_rate, silent_rate
from models.scored_flows import ScoredFlows
from models.thresholds import NEVER_FIRES, Thresholds, ThresholdSettings
from models.unknown import anomalies_of, choose_cut, measure_benign
from pipeline.adapting.adapted import Side, Sources, Suspect
from pipeline.adapting.local_flows import LocalFlows, joined, read_labelled, read_local, require_enough
from pipeline.progress import Step, advance

REACH_SHARE = 0.75
LABELLED_SHARE = 0.25
STORED, HELD_OUT = "stored validation flows", "held-out labelled flows"


@dataclass(frozen=True)
class Made:
    """An adapted detector, and what is known of how it came about.

    Attributes:
        detector: With its card, what it knows, and flows whose truth is known as it scores them, if there are any.
        truth: What those flows are; empty without any.
        used: Local flows without those set aside.
        set_aside: The others.
        held_out: Local flows to judge by.
        learned: Flows of the fine-tuning.
        suspects: Sources set aside.
        before: The parent.
        after: The adapted detector.
    """

    detector: Detector
    truth: str
    used: int
    set_aside: int
    held_out: int
    learned: int
    suspects: tuple[Suspect, ...]
    before: Side
    after: Side


def make(parent: Detector, sources: Sources, settings: AdaptSettings, budget: float) -> Made:
    """Adapt a detector.

    Raises:
        InputError: There is too little local traffic, or a table cannot be read.
        ModelMismatch: A table lacks columns that the detector needs.
    """
    split = read_local(sources.local, parent, settings.held_out, budget)
    scores = parent.score(split.used.features)
    fired = _any(parent, scores)
    aside = suspects(fired, split.used.sources, settings.attack_share)
    used = split.used.rows(~aside)
    require_enough(len(used), settings.held_out, budget)
    labelled = [read_labelled(tables, parent, settings.held_out) for tables in (sources.labelled, sources.replayed)]
    tuned, learned = _tuned(parent, [learn for learn, _ in labelled], used, settings)
    known = _truth(parent, tuned, joined([judge for _, judge in labelled], parent.card))
    scores = scores[~aside] if tuned is parent else tuned.score(used.features)
    if sources.labelled:
        told = joined(labelled[0], parent.card), labelled[1][1]
        cuts = _by_labels(tuned, told, scores, (budget, settings.attack_share - float(aside.mean())))
    else:
        cuts = lifted_thresholds(parent.card.thresholds, scores, budget, known[1].attacks if known[1] else None)
    adapted = _with_card(tuned, cuts, known[1], settings)
    adapted = replace(adapted, familiarity=_familiarity(parent, adapted, used))
    adapted = _with_unknown(adapted, used)
    ruled_out = np.isin(split.held_out.sources, np.unique(split.used.sources[aside]))
    truth = "" if known[1] is None else HELD_OUT if learned else STORED
    sides = [_side(one, split.held_out, ruled_out, flows) for one, flows in zip((parent, adapted), known, strict=True)]
    named = _named(split.used, fired, aside)
    counts = (len(used), int(aside.sum()), len(split.held_out), learned)
    return Made(adapted, truth, *counts, named, *sides)


def _tuned(
    parent: Detector, labelled: list[TagDataset], used: LocalFlows, settings: AdaptSettings
) -> tuple[Detector, int]:
    """Return the detector with a network fine-tuned on labelled flows, if there are any, and on how many flows.

    With flows replayed the unlabelled ones are shown as benign; without them that would teach silence. Labelled ones
    are repeated until they are a share of LABELLED_SHARE of them and the replayed ones.
    """
    card, (truth, replayed) = parent.card, labelled
    if not len(truth) and not len(replayed):
        return parent, 0
    if len(truth):
        times = round(LABELLED_SHARE / (1 - LABELLED_SHARE) * len(replayed) / len(truth))
        truth = truth.rows(np.tile(np.arange(len(truth)), max(1, times)))
    flows = joined([truth, replayed, *([used.as_benign(card)] if len(replayed) else ())], card)
    work = f"fine-tuning on {len(flows):,} flows"

    def on_epoch(done: int) -> None:
        advance(Step(work, done, settings.epochs, "epochs"))

    network = finetune(parent.network, flows, settings, bool(len(replayed)), _loss(parent), on_epoch)
    # the curves of the parent's scores are of another network
    return Detector(network, replace(card, calibration=None), parent.familiarity), len(flows)


def _loss(parent: Detector) -> LossSettings:
    """Return the loss that the parent's card says it was trained with."""
    plain = parent.card.settings.get("training", {}).get("loss")
    return LossSettings(**plain) if plain else LossSettings()


def _truth(parent: Detector, tuned: Detector, judged: TagDataset) -> tuple[ScoredFlows | None, ScoredFlows | None]:
    """Return flows whose truth is known as parent and adapted detector score them.

    They are the parent's own validation flows while the network is the same, else the labelled flows kept back.
    """
    if tuned is parent:
        return parent.validation, parent.validation
    if not judged.attack.any():
        return None, None
    before, after = (
        ScoredFlows(judged.tags, judged.judged(one.score(judged.features))).sampled() for one in (parent, tuned)
    )
    return before, after


def _by_labels(
    tuned: Detector, told: tuple[TagDataset, TagDataset], scores: Scores, allowed: tuple[float, float]
) -> Thresholds:
    """Return thresholds chosen anew by flows of the network whose truth is known, for the tags that these show.

    The network's unlabelled flows lift them as they lift all, but as many as may be attacks may fire on tags that the
    labelled flows show: these say what attacks of the network look like. Other tags keep the parent's thresholds.

    Args:
        tuned: The fine-tuned detector, with its parent's card.
        told: All labelled flows, and those kept back of the replayed ones.
        scores: Of the unlabelled flows, those of suspects left out.
        allowed: Share of benign flows that may fire, and of the unlabelled flows that may still be attacks.
    """
    card, (budget, room) = tuned.card, allowed
    flows = joined(told, card)
    known = ScoredFlows(flows.tags, flows.judged(tuned.score(flows.features)))
    told_by = np.asarray(
        known.cuts_or_silence(ThresholdSettings(false_alarm_budget=budget, least_positives=_least_positives(card)))
    )
    cuts = np.array([card.thresholds.values, card.thresholds.deciding])
    if told_by.ndim > 1:
        cuts = np.where(flows.tags.any(axis=0), told_by, cuts)
    shown, compared, attacks = told[0].tags.any(axis=0), evidence(scores), evidence(known.attacks)
    for tags, share in ((shown, budget + max(room, 0.0)), (~shown, budget)):
        if tags.any():
            cuts[1, tags] = lifted(cuts[1, tags], compared[:, tags], share, attacks[:, tags])
    values, detecting = (tuple(row) for row in cuts.tolist())
    return replace(card.thresholds, values=values, detecting=detecting)


def _with_card(tuned: Detector, thresholds: Thresholds, known: ScoredFlows | None, settings: AdaptSettings) -> Detector:
    card, figures = tuned.card, {}
    if known:
        figures = evaluate(known.tags, known.scores, thresholds.cuts, card.tag_names).to_dict()
        thresholds = thresholds.judged(known.tags, known.scores)
        if card.calibration is None:
            card = replace(card, calibration=fit_calibration(known.tags, known.scores, _least_positives(card)))
    chosen = {**card.settings, ADAPTED: settings.to_dict()}
    return replace(
        tuned, card=replace(card, thresholds=thresholds, settings=chosen, validation=figures), validation=known
    )


def _least_positives(card: DetectorCard) -> int:
    """Return how many flows a tag needs for a curve of its own, as the parent was trained."""
    asked: int = card.settings.get("thresholds", {}).get("least_positives", ThresholdSettings().least_positives)
    return asked


def _familiarity(parent: Detector, adapted: Detector, used: LocalFlows) -> Familiarity:
    """Return what the parent knows and the local traffic beside it, whose last part says how far it reaches."""
    local = measure_familiarity(adapted.network, *_parted(adapted, used))
    return parent.familiarity.with_local(local) if parent.familiarity else local


def _with_unknown(adapted: Detector, used: LocalFlows) -> Detector:
    """Return the detector with the local flows as what is benign, and unknown what is unlike them.

    Where benign flows lie is told by the first local flows, from where on flows are reported by the last ones.
    """
    budget = adapted.card.settings.get(UNKNOWN, {}).get("false_alarm_budget")
    if not budget:
        return adapted
    earlier, later = _parted(adapted, used)
    benign = measure_benign(adapted.network, [earlier])
    anomalies = anomalies_of(adapted.network, benign, later.features)
    cut = choose_cut(later.attack, _any(adapted, adapted.score(later.features)), anomalies, budget)
    validation = adapted.validation and replace(adapted.validation, anomalies=None)
    return replace(adapted, card=replace(adapted.card, unknown=cut), benign=benign, validation=validation)


def _parted(adapted: Detector, used: LocalFlows) -> tuple[TagDataset, TagDataset]:
    """Return the local flows to measure by and, behind them, those that say how far that reaches."""
    cut = int(REACH_SHARE * len(used))
    earlier, later = (used.rows(part).as_benign(adapted.card) for part in (slice(cut), slice(cut, None)))
    return earlier, later


def _side(detector: Detector, flows: LocalFlows, ruled_out: Mask, known: ScoredFlows | None) -> Side:
    answers = detector.answers(flows.features)
    fired = _any(detector, answers.scores)
    rates: list[float | None] = [None, None]
    if known:
        cuts = detector.card.thresholds.cuts
        rates = [rate(known.tags, known.scores, cuts) for rate in (silent_rate, false_alarm_rate)]
    elsewhere = fired[~ruled_out]
    return Side(
        float(fired.mean()) if len(fired) else 0.0,
        float(elsewhere.mean()) if len(elsewhere) else None,
        float(answers.far.mean()) if detector.familiarity and len(flows) else None,
        *rates,
    )


def _any(detector: Detector, scores: Scores) -> Mask:
    return any_fired(scores, detector.card.thresholds.cuts)


def _named(flows: LocalFlows, fired: Mask, aside: Mask) -> tuple[Suspect, ...]:
    """Return the sources set aside, those of most flows first."""
    counts, firing = np.bincount(flows.sources[aside]), np.bincount(flows.sources[aside & fired])
    order = np.argsort(-counts, kind="stable")[: int((counts > 0).sum())].tolist()
    return tuple(Suspect(flows.names[at], int(counts[at]), int(firing[at])) for at in order)


def silenced(before: Thresholds, after: Thresholds, tag_names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the tags that could fire and can no more."""
    pairs = zip(before.deciding, after.deciding, tag_names, strict=True)
    return tuple(name for old, new, name in pairs if old < NEVER_FIRES <= new)
