"""Stage: a feature table and a detector to detections, as Parquet and as JSON lines."""

from pathlib import Path

from features.schema import fingerprint
from features.table import open_table
from pipeline.manifest import Built, Plan, StageResult, digest, run_once
from pipeline.progress import say
from pipeline.settings import Settings
from pipeline.traffic import table_name

VERSION = 4


def score(table: Path, detector: Path, settings: Settings) -> StageResult:
    """Score every flow of a feature table; the artifact is a folder with detections.parquet and .ndjson.

    Args:
        table: A feature table, with or without labels.
        detector: A detector's directory, as the registry hands it out.
        settings: Where to write.

    Returns:
        Counts: flows, detections, quiet, far, unknown, and tag.NAME each; flows == detections + quiet.

    Raises:
        SchemaError: The table was made by another schema version.
        ModelMismatch: The detector was trained for another one; both before the first row.
    """
    open_table(table).close()
    plan = Plan(
        "score",
        VERSION,
        detections_folder(table, settings),
        {"table": digest(table), "detector": digest(detector)},
        {"schema": fingerprint()},
    )
    return run_once(plan, lambda artifact: _scored(table, detector, artifact))


def detections_folder(source: Path, settings: Settings) -> Path:
    """Return where the detections of a capture or table lie, whether or not they do yet."""
    return settings.state.root / "detections" / table_name(source)


def modules_needed(source: Path, settings: Settings) -> tuple[str, ...]:
    """Return the slow modules that scoring will ask for, fewer where it has finished: it is likely used again."""
    return ("pipeline.register", *(() if detections_folder(source, settings).exists() else ("pipeline.detections",)))


def _scored(table: Path, detector: Path, artifact: Path) -> Built:
    from pipeline.detections import write_detections  # noqa: PLC0415 (brings Keras, which a finished stage needs not)

    counts = write_detections(table, detector, artifact)
    say(f"{table.stem}: {counts['detections']:,} of {counts['flows']:,} flows are detections")
    return Built(counts["detections"], counts)
