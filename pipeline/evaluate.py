"""Stage: a labelled table and a detector to figures, side by side with its contenders where they are known."""

import json
from pathlib import Path
from typing import Any

from features.table import open_table
from features.views import VIEW_NAMES
from pipeline.manifest import Built, Plan, StageResult, digest, run_once
from pipeline.progress import say
from pipeline.settings import Settings
from pipeline.traffic import table_name
from pipeline.train import DETECTOR, detector_folder

VERSION = 2


def evaluate(labelled: Path, detector: Path, settings: Settings) -> StageResult:
    """Score flows whose truth is known; the artifact is a JSON object of evaluations by contender.

    The contenders are those trained beside this very detector; another detector stands alone.

    Raises:
        InputError: The table has no labels or another schema.
        ModelMismatch: The detector was trained for another schema.
    """
    open_table(labelled, labelled=True).close()
    beside = trained_beside(detector, settings)
    inputs = {"labelled": digest(labelled), "detector": digest(detector)}
    if beside:
        inputs["contenders"] = digest(beside)
    artifact = settings.state.root / "reports" / f"{table_name(labelled)}.evaluation.json"
    return run_once(
        Plan("evaluate", VERSION, artifact, inputs), lambda artifact: _evaluated(labelled, detector, beside, artifact)
    )


def trained_beside(detector: Path, settings: Settings) -> Path | None:
    """Return the folder of the contenders that were trained beside a detector's network; None where none is known."""
    asked = _training(detector)
    folders = [detector_folder(settings, view) for view in VIEW_NAMES] if asked else []
    return next((folder for folder in folders if _training(folder / DETECTOR) == asked), None)


def _training(detector: Path) -> tuple[str, Any] | None:
    """Return what a detector has in common with itself under other thresholds: its weights, and how they came about."""
    card = detector / "detector.json"
    if not card.is_file():
        return None
    plain = json.loads(card.read_text("utf-8"))
    return plain["weights"], plain["settings"].get("training")


def _evaluated(labelled: Path, detector: Path, beside: Path | None, artifact: Path) -> Built:
    from pipeline.contenders import judge  # noqa: PLC0415 (brings Keras, which a finished stage needs not)

    flows, figures = judge(labelled, detector, beside)
    artifact.write_text(json.dumps(figures, indent=1) + "\n", "utf-8")
    say(f"{labelled.stem}: compared {', '.join(figures)} on {flows:,} flows")
    return Built(flows, {"contenders": len(figures)})
