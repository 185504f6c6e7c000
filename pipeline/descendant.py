"""A detector made of a registered one, entered in the registry as a new version with its lineage."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from features.labels.vocabulary import UNKNOWN
from models.card import ADAPTED
from models.detector import Detector
from models.registry import CHALLENGER, CHAMPION, RegisteredDetector, promote, register
from models.tracking import InputNote, tracked_run
from models.verdict import Verdict
from pipeline.manifest import digest
from pipeline.register import known_numbers, store
from pipeline.registered import Registered
from pipeline.settings import Settings
from pipeline.train import in_view


@dataclass(frozen=True)
class Descendant:
    """What is entered.

    Attributes:
        folder: Where `Detector.save` left it.
        parent: What it was made of.
        made: What was done, as the run is called: "thresholds of".
        verdict: Whether it is fit for use.
        tags: More tags of the version.
        inputs: Tables it was made by.
        figures: More figures of the run.
    """

    folder: Path
    parent: RegisteredDetector
    made: str
    verdict: Verdict
    tags: Mapping[str, str] = field(default_factory=dict)
    inputs: Sequence[InputNote] = ()
    figures: Mapping[str, float] = field(default_factory=dict)


def enter(one: Descendant, settings: Settings) -> Registered:
    """Register a descendant as challenger of its view; it is not in use yet.

    Raises:
        ServiceError: MLflow's database or server does not answer.
    """
    where, told, title = store(settings), "; ".join(one.verdict.reasons), title_of(one.parent)
    card = Detector.load(one.folder).card
    lineage = {"flowtag.parent": title, "flowtag.parent_run": one.parent.run_id}
    with tracked_run(where, f"{one.made} {title}", {"flowtag.parent": title}) as run:
        run.parameters(
            {name: card.settings[name] for name in ("thresholds", UNKNOWN, ADAPTED) if name in card.settings}
        )
        run.inputs(one.inputs)
        run.figures(
            {f"detector.valid.{name}": value for name, value in known_numbers(card.validation)} | dict(one.figures)
        )
        example = np.array([[np.nan if value is None else value for value in card.benign_medians]], np.float32)
        tags = {
            "flowtag.verdict": told,
            "flowtag.detector": digest(one.folder),
            "flowtag.schema": card.schema_fingerprint,
            **lineage,
            **one.tags,
        }
        number = register(where, run.run_id, one.parent.name, one.folder, example, tags)
        promote(where, one.parent.name, number, in_view(CHALLENGER, card.view))
    return Registered(one.parent.name, number, False, told, run.run_id)


def put_in_use(registered: Registered, view: str, settings: Settings) -> Registered:
    """Make a registered version the champion of its view and return it so."""
    promote(store(settings), registered.name, registered.version, in_view(CHAMPION, view))
    return replace(registered, in_use=True)


def title_of(version: RegisteredDetector) -> str:
    """Return what a version is called: flowtag version 3."""
    return f"{version.name} version {version.version}"
