"""Stage: some hours of a network's unlabelled traffic and a registered detector to a version adapted to it."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from features.schema import FEATURE_NAMES, fingerprint
from features.table import columns_given, open_table
from models.adaptation import AdaptSettings
from models.detector import Detector
from models.registry import RegisteredDetector, resolve
from models.tracking import InputNote
from models.verdict import Verdict
from pipeline.adapting.adapted import Adapted, Side, Sources, Suspect
from pipeline.adapting.making import Made, make, silenced
from pipeline.descendant import Descendant, enter, put_in_use, title_of
from pipeline.manifest import Built, Plan, StageResult, digest, run_once
from pipeline.progress import say
from pipeline.register import in_use, registered_once, store, verdict_on
from pipeline.registered import Registered
from pipeline.settings import Settings
from pipeline.traffic import table_name
from pipeline.train import DETECTOR

VERSION = 2
NOTES = "adapted.json"


def adapt(sources: Sources, uri: str, use: bool, settings: Settings) -> Adapted:
    """Adapt a registered detector to a network and register it as a new version, challenger of its view.

    Done once for the same tables, detector and settings: a run that was broken off goes on, and another one answers
    with the version that is there.

    Args:
        sources: Feature tables; those with labels have them from `flowtag label`.
        uri: Of the detector, such as ``models:/flowtag/3``; empty for the one in use whose columns the tables give.
        use: Whether the new version becomes champion if the verdict accepts it.
        settings: The budget of false alarms, how to adapt, the registry, and what the verdict demands.

    Raises:
        NoChampion: There is no such detector.
        InputError: There is too little local traffic, or a table cannot be read.
        ModelMismatch: A table lacks columns that the detector needs.
        ServiceError: MLflow's database or server does not answer.
    """
    parent = resolve(store(settings), uri or _in_use(sources.local, settings))
    made = run_once(_plan(sources, parent, settings), lambda artifact: _made(sources, parent, settings, artifact))
    notes: dict[str, Any] = json.loads((made.path / NOTES).read_text("utf-8"))
    detector = Detector.load(made.path / DETECTOR)
    verdict = _verdict(detector, settings)
    registered = _registered(made, parent, sources, verdict, settings)
    if use and verdict.accepted:
        registered = put_in_use(registered, detector.card.view, settings)
        say(f"MLflow: {registered}")
    return _told(notes, registered, verdict.accepted, parent)


def _in_use(tables: Sequence[Path], settings: Settings) -> str:
    """Return the address of the detector in use whose columns all tables give."""
    given = frozenset(FEATURE_NAMES)
    for table in tables:
        with open_table(table) as source:
            given &= columns_given(source)
    return in_use(settings, given)


def _plan(sources: Sources, parent: RegisteredDetector, settings: Settings) -> Plan:
    chosen = {"adapt": settings.adapt.model_dump(mode="json"), "budget": settings.budget_share}
    inputs = {role: digest(table) for role, table in sources.by_role().items()}
    name = f"{parent.name}-{parent.version}-{table_name(sources.local[0])}"
    artifact = settings.state.root / "adapted" / name
    return Plan(
        "adapt", VERSION, artifact, {**inputs, "parent": digest(parent.directory)}, {**chosen, "schema": fingerprint()}
    )


def _made(sources: Sources, parent: RegisteredDetector, settings: Settings, artifact: Path) -> Built:
    before = Detector.load(parent.directory)
    chosen, budget = AdaptSettings(**settings.adapt.model_dump()), settings.budget_share
    found = make(before, sources, chosen, budget)
    artifact.mkdir()
    found.detector.save(artifact / DETECTOR)
    card = found.detector.card
    gone = silenced(before.card.thresholds, card.thresholds, card.tag_names)
    (artifact / NOTES).write_text(json.dumps(_notes(found, budget, gone), indent=1) + "\n", "utf-8")
    counts = {"used": found.used, "set_aside": found.set_aside, "held_out": found.held_out, "learned": found.learned}
    return Built(found.used + found.set_aside + found.held_out, counts)


def _notes(found: Made, budget: float, gone: tuple[str, ...]) -> dict[str, Any]:
    kept = ("truth", "used", "set_aside", "held_out", "learned")
    plain = {name: getattr(found, name) for name in kept}
    sides = {name: asdict(getattr(found, name)) for name in ("before", "after")}
    limit = found.detector.familiarity.limit if found.detector.familiarity else 0.0
    rest = {"suspects": [asdict(one) for one in found.suspects], "calibrated": bool(found.detector.card.calibration)}
    return {**plain, **sides, "budget": budget, "limit": limit, "silenced": gone, **rest}


def _told(notes: dict[str, Any], registered: Registered, accepted: bool, parent: RegisteredDetector) -> Adapted:
    before, after = (Side(**notes[name]) for name in ("before", "after"))
    built = {
        "silenced": tuple(notes["silenced"]),
        "suspects": tuple(Suspect(**one) for one in notes["suspects"]),
        "before": before,
        "after": after,
    }
    return Adapted(registered=registered, accepted=accepted, parent=title_of(parent), **{**notes, **built})


def _verdict(detector: Detector, settings: Settings) -> Verdict:
    """Return the verdict by the flows whose truth is known; without any it is a refusal that says so."""
    if not detector.card.validation:
        return Verdict(False, ("silent rate is unknown: there were no labelled flows to measure it on",))
    return verdict_on(detector.card.validation, settings, settings.budget_share)


def _registered(
    made: StageResult, parent: RegisteredDetector, sources: Sources, verdict: Verdict, settings: Settings
) -> Registered:
    """Register the version, once as long as the registry knows it."""
    plan = Plan(
        "register adapted",
        VERSION,
        made.path.with_name(f"{made.path.name}.registered.json"),
        {"adapted": made.digest},
        {"mlflow": settings.mlflow.model_dump(mode="json"), "verdict": list(verdict.reasons)},
    )
    return registered_once(plan, settings, lambda: _entered(made, parent, sources, verdict, settings))


def _entered(
    made: StageResult, parent: RegisteredDetector, sources: Sources, verdict: Verdict, settings: Settings
) -> Registered:
    tables = sources.by_role()
    tags = {f"flowtag.{role.replace(' ', '_')}": digest(table) for role, table in tables.items()}
    tags |= {f"flowtag.flows_{name}": str(count) for name, count in made.counts.items()}
    inputs = [_input(role, table) for role, table in tables.items()]
    notes: dict[str, Any] = json.loads((made.path / NOTES).read_text("utf-8"))
    figures = {
        f"adapt.{side}.{name}": float(value)
        for side in ("before", "after")
        for name, value in notes[side].items()
        if value is not None
    }
    return enter(Descendant(made.path / DETECTOR, parent, "adapted from", verdict, tags, inputs, figures), settings)


def _input(role: str, table: Path) -> InputNote:
    with open_table(table) as source:
        rows = source.metadata.num_rows
    learned = role.startswith(("labelled", "replayed"))
    return InputNote(table.stem, digest(table), str(table), rows, "training" if learned else "validation")
