"""Stage: a trained detector into MLflow: its run, its figures, its version, and the verdict whether to use it."""

import json
import tempfile
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from features.errors import ModelMismatch, NoChampion
from features.labels.vocabulary import read_vocabulary
from features.schema import FEATURE_NAMES, fingerprint
from features.table import open_table
from features.views import VIEW_NAMES, View, missing_text
from models.calibration import reliability
from models.card import DetectorCard, read_card
from models.dataset import feature_matrix
from models.detector import VALIDATION_FILE, Matrix
from models.metrics import Evaluation, TagFigures, calibration_error
from models.registry import CHALLENGER, CHAMPION, promote, resolve
from models.registry import register as register_version
from models.scored_flows import ScoredFlows
from models.tracking import InputNote, TrackedRun, TrackingStore, tracked_run
from models.verdict import Verdict, VerdictLimits, judge
from pipeline.manifest import Built, Plan, StageResult, digest, finished, run_once
from pipeline.progress import say
from pipeline.registered import Champion, Registered, no_champion
from pipeline.reliability import draw_reliability
from pipeline.settings import Settings
from pipeline.train import DETECTOR, TRAINING_FILE, Tables, chosen_view, in_view

VERSION = 1
EXAMPLE_FLOWS = 5


def register(trained: StageResult, tables: Tables, settings: Settings) -> Registered:
    """Log a training, register its detector as challenger, and promote it to champion when the verdict accepts it.

    Done once for each trained detector, as long as the registry still knows the version.

    Raises:
        ServiceError: MLflow's database or server does not answer.
    """
    limits = verdict_limits(settings, budget_of(read_card(trained.path / DETECTOR)))
    plan = Plan(
        "register",
        VERSION,
        trained.path.with_name(f"{trained.path.name}.registered.json"),
        {"trained": trained.digest},
        {"mlflow": settings.mlflow.model_dump(mode="json"), "verdict": asdict(limits)},
    )
    registered = registered_once(plan, settings, lambda: _entered(trained, tables, settings))
    return _as_of_now(registered, chosen_view(tables, settings), settings) if registered.in_use else registered


def _as_of_now(registered: Registered, view: View, settings: Settings) -> Registered:
    """Return what was put in use with what is by now: other thresholds, another training, somebody's own choice."""
    try:
        now = resolve(store(settings), f"models:/{registered.name}@{in_view(CHAMPION, view.name)}").version
    except NoChampion:
        return replace(registered, since="no version is by now")
    return registered if now == registered.version else replace(registered, since=f"version {now} is by now")


def registered_once(plan: Plan, settings: Settings, enter: Callable[[], Registered]) -> Registered:
    """Enter a detector in the registry, or answer from the receipt as long as the registry knows that version."""
    earlier = finished(plan)
    if earlier and not _still_known(_receipt(earlier.path), settings):
        earlier.path.unlink()
    return _receipt(run_once(plan, lambda artifact: _with_receipt(enter(), artifact)).path)


def champion(settings: Settings, given: Collection[str] = FEATURE_NAMES) -> Champion:
    """Fetch the detector in use for flows that give some feature columns: of those that need no others the largest.

    Raises:
        NoChampion: No detector is in use for any view.
        ModelMismatch: Those in use all need columns that are not given; shows what the smallest of them lacks.
        ServiceError: MLflow's database or server does not answer.
    """
    lacking: tuple[str, list[str]] | None = None
    for view in VIEW_NAMES:
        try:
            found = resolve(store(settings), f"models:/{settings.mlflow.model_name}@{in_view(CHAMPION, view)}")
        except NoChampion:
            continue
        missing = [name for name in read_card(found.directory).feature_names if name not in given]
        if not missing:
            return Champion(found.directory, found.name, found.version, view)
        lacking = (f"{found.name} version {found.version}, view {view}", missing)
    if lacking is None:
        raise no_champion(settings)
    raise ModelMismatch(
        "the flows lack columns that every detector in use needs",
        lacking[0],
        "a table with its columns",
        missing_text(lacking[1]),
        "flowtag train --train SOURCE --valid SOURCE, on flows like these",
    )


def in_use(settings: Settings, given: Collection[str] = FEATURE_NAMES) -> str:
    """Return the address of the detector that `champion` finds, by its version; raises as that does."""
    found = champion(settings, given)
    return f"models:/{found.name}/{found.version}"


def store(settings: Settings) -> TrackingStore:
    """Return where MLflow keeps runs and detectors."""
    return TrackingStore(settings.tracking_uri, settings.artifact_root, settings.mlflow.experiment)


def budget_of(card: DetectorCard) -> float:
    """Return the share of benign flows that a detector's thresholds were chosen for."""
    budget: float = card.settings["thresholds"]["false_alarm_budget"]
    return budget


def verdict_limits(settings: Settings, budget: float) -> VerdictLimits:
    """Return the limits that the configuration asks for, with the share that thresholds were chosen for."""
    return VerdictLimits(**settings.verdict.model_dump(), false_alarm_budget=budget)


def verdict_on(figures: dict[str, Any], settings: Settings, budget: float) -> Verdict:
    """Return the verdict on a detector by its figures, plain values as a card keeps them, and by its budget."""
    tags = tuple(TagFigures(**tag) for tag in figures["tags"])
    return judge(Evaluation(**{**figures, "tags": tags}), verdict_limits(settings, budget))


def _entered(trained: StageResult, tables: Tables, settings: Settings) -> Registered:
    notes: dict[str, Any] = json.loads((trained.path / TRAINING_FILE).read_text("utf-8"))
    name, where = settings.mlflow.model_name, store(settings)
    view = chosen_view(tables, settings)
    budget = budget_of(read_card(trained.path / DETECTOR))
    verdict = verdict_on(notes[DETECTOR]["validation"], settings, budget)
    told = {"flowtag.verdict": "; ".join(verdict.reasons), **_lineage(trained, settings)}
    with tracked_run(where, name, told) as run:
        _log(run, notes, tables, settings)
        _log_reliability(run, trained.path / DETECTOR)
        _log_unknown(run, trained.path / DETECTOR)
        number = register_version(where, run.run_id, name, trained.path / DETECTOR, _example(tables, view), told)
        promote(where, name, number, in_view(CHALLENGER, view.name))
        if verdict.accepted:
            promote(where, name, number, in_view(CHAMPION, view.name))
    return Registered(name, number, verdict.accepted, told["flowtag.verdict"], run.run_id)


def _with_receipt(registered: Registered, artifact: Path) -> Built:
    artifact.write_text(json.dumps(asdict(registered), indent=1) + "\n", "utf-8")
    say(f"MLflow: {registered}")
    return Built(1, {"version": registered.version})


def _log(run: TrackedRun, notes: dict[str, Any], tables: Tables, settings: Settings) -> None:
    """Log settings, inputs, and for each contender its epochs and its figures on the validation flows."""
    sections = ("meter", "network", "loss", "training", "thresholds", "unknown", "verdict")
    run.parameters({section: getattr(settings, section).model_dump(mode="json") for section in sections})
    if tables.background:
        run.parameters({"background": settings.background.model_dump(mode="json", exclude={"sources"})})
    run.inputs([_input(path, "training") for path in (*tables.train, *tables.background)])
    run.inputs([_input(path, "validation") for path in tables.valid])
    for contender, note in notes.items():
        for epoch in note.get("history", ()):
            figures = {key: value for key, value in epoch.items() if key != "epoch" and value is not None}
            run.figures({f"{contender}.{key}": value for key, value in figures.items()}, epoch["epoch"])
        run.figures({f"{contender}.valid.{key}": value for key, value in _numbers(note["validation"])})
        run.figures(
            {f"{contender}.background.{key}": value for key, value in known_numbers(note.get("background", {}))}
        )
    run.plain(notes, TRAINING_FILE)


def _log_unknown(run: TrackedRun, detector: Path) -> None:
    """Log what reporting unknown attacks does on the validation flows, where they are looked for."""
    cut = read_card(detector).unknown
    figures = asdict(cut) if cut else {}
    run.figures({f"detector.valid.unknown.{name}": value for name, value in figures.items() if value is not None})


def _log_reliability(run: TrackedRun, detector: Path) -> None:
    """Log how far scores and probabilities may be believed, on the validation flows, which both were fitted to."""
    curves, flows = read_card(detector).calibration, ScoredFlows.load(detector / VALIDATION_FILE)
    read = {"scores": flows.scores}
    if curves:
        read["probabilities"] = curves.probabilities(flows.scores)
    found = {name: reliability(flows.tags, values) for name, values in read.items()}
    run.plain({name: [asdict(one) for one in bins] for name, bins in found.items()}, "reliability.json")
    for name, values in read.items():
        error = calibration_error(flows.tags, values)
        run.figures({f"detector.valid.calibration_error.{name}": error} if error is not None else {})
    with tempfile.TemporaryDirectory(prefix="flowtag") as folder:
        draw_reliability(found, Path(folder) / "reliability.png")
        run.artifact(Path(folder) / "reliability.png")


def _numbers(evaluation: dict[str, Any]) -> list[tuple[str, float]]:
    """Return the known numbers of an evaluation, those of a tag as TAG.NAME."""
    tags = [
        pair for tag in evaluation["tags"] for pair in known_numbers({f"{tag['name']}.{key}": tag[key] for key in tag})
    ]
    return [*known_numbers(evaluation), *tags]


def known_numbers(plain: Mapping[str, object]) -> list[tuple[str, float]]:
    """Return the values that are numbers, by name."""
    return [(name, float(value)) for name, value in plain.items() if isinstance(value, int | float)]


def _input(path: Path, context: Any) -> InputNote:  # noqa: ANN401 (one of the literals)
    with open_table(path) as table:
        return InputNote(path.stem, digest(path), str(path), table.metadata.num_rows, context)


def _example(tables: Tables, view: View) -> Matrix:
    with open_table(tables.train[0]) as table:
        return feature_matrix(next(table.iter_batches(EXAMPLE_FLOWS)), view.columns)


def _lineage(trained: StageResult, settings: Settings) -> dict[str, str]:
    return {
        "flowtag.detector": trained.digest,
        "flowtag.schema": fingerprint(),
        "flowtag.vocabulary": read_vocabulary(settings.labels.vocabulary).fingerprint,
    }


def _receipt(path: Path) -> Registered:
    return Registered(**json.loads(path.read_text("utf-8")))


def _still_known(registered: Registered, settings: Settings) -> bool:
    """Return True while the registry holds the version of a receipt, from the same run."""
    try:
        found = resolve(store(settings), f"models:/{registered.name}/{registered.version}")
    except NoChampion:
        return False
    return found.run_id == registered.run_id
