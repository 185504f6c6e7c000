"""What fired, as rows: who, when, which tags, by how much, and why. The one place that knows a detection's columns."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features.labels.vocabulary import UNKNOWN
from features.schema import COLUMNS, arrow_schema, fingerprint
from features.table import columns_given, open_table
from models.dataset import feature_matrix
from models.detector import Answers, Detector
from models.firing import deciding, evidence
from models.occlusion import Reason
from models.thresholds import NEVER_FIRES, Thresholds
from pipeline.progress import counted

IDENTITY = tuple(column.name for column in COLUMNS if column.role == "identity")
PARQUET, LINES, HIGHEST, LIMIT = "detections.parquet", "detections.ndjson", "highest.json", "applicability.json"
BATCH_ROWS = 65_536
DIGITS = 6

REASON = pa.struct([("feature", pa.string()), ("value", pa.float32()), ("drop", pa.float32())])
ADDED = {
    "tags": pa.list_(pa.string()),  # those that fired; UNKNOWN alone where none did
    "scores": pa.list_(pa.float32()),
    "thresholds": pa.list_(pa.float32()),  # of the scores; the most probable tag fires by evidence, whatever its score
    "probabilities": pa.list_(pa.float32()),  # the scores, calibrated on the validation flows; null for UNKNOWN
    "explained_tag": pa.string(),  # the tag that exceeds its threshold most
    "reasons": pa.list_(REASON),
}
ANY_ATTACK = pa.field("any_attack", pa.float32())
"""Probability of any attack; null from a detector that answers no such question (loss.penalty hurdle does)."""
ANOMALY = pa.field("anomaly", pa.float32())
"""How unlike benign flows the flow is, in [0, 1); null from a detector that looks for nothing unknown."""
EVIDENCE, ENOUGH = (pa.field(name, pa.float64()) for name in ("evidence", "evidence_threshold"))
"""Of any attack, and how much makes the flow a detection; null from a detector that fires by scores alone."""
Matrix = npt.NDArray[np.float32]


def detections_schema() -> pa.Schema:
    """Return the columns of a table of detections: the flow's identity, then what fired and why."""
    identity = [arrow_schema().field(name) for name in IDENTITY]
    added = [pa.field(name, kind, nullable=False) for name, kind in ADDED.items()]
    return pa.schema([*identity, *added, ANY_ATTACK, ANOMALY, EVIDENCE, ENOUGH])


class DetectionWriter:
    """Scores batches of flows and writes those on which a tag fired, or that are unknown, as Parquet and JSON lines.

    Attributes:
        counts: flows, detections, quiet, far, unknown, and tag.NAME each; flows == detections + quiet, unknown are the
            detections on which no tag fired, and far those flows that are unlike all that the detector learned from.
        highest: What came nearest to making a flow a detection by each tag so far, as `models.firing.deciding` says; 0
            without flows.
    """

    def __init__(self, detector: Detector, table: pq.ParquetWriter, lines: TextIO) -> None:
        self._detector = detector
        self._table = table
        self._lines = lines
        self.counts: Counter[str] = Counter(flows=0, detections=0, quiet=0, far=0, unknown=0)
        self.highest = np.zeros(len(detector.card.tag_names))

    def score(self, batch: pa.RecordBatch) -> None:
        """Score one batch of a feature table and write its detections."""
        features = feature_matrix(batch, self._detector.card.feature_names)
        answers = self._detector.answers(features)
        fired = self._detector.fired(answers.scores)
        compared, _ = deciding(answers.scores, self._detector.card.thresholds.cuts)
        self.highest = np.maximum(self.highest, compared.max(axis=0, initial=0.0))
        unknown = self._detector.unknown(answers)
        chosen = np.flatnonzero(fired.any(axis=1) | unknown)
        self.counts.update(flows=len(fired), detections=len(chosen), quiet=len(fired) - len(chosen))
        self.counts.update(far=int(answers.far.sum()), unknown=int(unknown.sum()))
        for tag, flows in zip(self._detector.card.tag_names, fired.sum(axis=0).tolist(), strict=True):
            self.counts[f"tag.{tag}"] += flows
        if len(chosen):
            identity = batch.select(list(IDENTITY)).take(pa.array(chosen))
            found = _fired_columns(self._detector, features[chosen], answers.rows(chosen))
            detections = pa.RecordBatch.from_arrays([*identity.columns, *found], schema=detections_schema())
            self._table.write_batch(detections)
            self._lines.writelines(f"{json.dumps(line)}\n" for line in as_lines(detections))


def write_detections(table: Path, detector_folder: Path, folder: Path) -> Counter[str]:
    """Score a feature table into a new folder and return the counts.

    The folder holds PARQUET, LINES, HIGHEST: what came nearest by each tag and its threshold, and LIMIT: the share
    of far flows up to which the thresholds hold, null for a detector that does not know.

    Raises:
        ModelMismatch: The detector was trained for another schema; nothing has been written.
    """
    detector = Detector.load(detector_folder)
    with open_table(table) as source:
        detector.card.require_columns(columns_given(source), fingerprint())
    folder.mkdir()
    with (
        open_table(table) as source,
        pq.ParquetWriter(folder / PARQUET, detections_schema(), compression="zstd") as parquet,
        (folder / LINES).open("w", encoding="utf-8") as lines,
    ):
        writer = DetectionWriter(detector, parquet, lines)
        for batch in counted(source.iter_batches(BATCH_ROWS), f"scoring {table.stem}"):
            writer.score(batch)
    card = detector.card
    highest = dict(
        zip(card.tag_names, zip(writer.highest.tolist(), card.thresholds.deciding, strict=True), strict=True)
    )
    (folder / HIGHEST).write_text(json.dumps(highest, indent=1) + "\n", "utf-8")
    limit = detector.familiarity.limit if detector.familiarity else None
    (folder / LIMIT).write_text(json.dumps({"limit": limit}) + "\n", "utf-8")
    return writer.counts


def _fired_columns(detector: Detector, features: Matrix, answers: Answers) -> list[pa.Array]:
    """Return what is added to flows of which each has a fired tag or is unknown, never both."""
    card = detector.card
    fired = np.column_stack([detector.fired(answers.scores), detector.unknown(answers)])
    anomalies = np.zeros(len(fired), np.float32) if answers.anomalies is None else answers.anomalies
    scores = np.column_stack([answers.scores, anomalies])
    cuts = np.asarray([*card.thresholds.values, card.unknown.threshold if card.unknown else NEVER_FIRES], np.float32)
    probabilities = np.column_stack([answers.probabilities, np.full(len(fired), np.nan, np.float32)])
    offsets = pa.array(np.concatenate([[0], np.cumsum(fired.sum(axis=1))]).astype(np.int32))
    rows, tags = np.nonzero(fired)
    names = pa.array([*card.tag_names, UNKNOWN], pa.string())
    clearest = np.where(fired, scores - cuts, -np.inf).argmax(axis=1)
    reasons = [[_plain(reason) for reason in one] for one in detector.reasons(features, clearest.tolist())]
    numbers = (scores[rows, tags], cuts[tags], probabilities[rows, tags])
    return [
        pa.ListArray.from_arrays(offsets, names.take(pa.array(tags))),
        *(pa.ListArray.from_arrays(offsets, pa.array(values, pa.float32(), from_pandas=True)) for values in numbers),
        names.take(pa.array(clearest)),
        pa.array(reasons, ADDED["reasons"]),
        *(
            pa.nulls(len(features), pa.float32()) if values is None else pa.array(values)
            for values in (answers.any_attack, answers.anomalies)
        ),
        *_evidence(answers.scores, card.thresholds),
    ]


def _evidence(scores: Matrix, thresholds: Thresholds) -> list[pa.Array]:
    """Return the columns EVIDENCE and ENOUGH."""
    if not thresholds.detecting:
        return [pa.nulls(len(scores), pa.float64())] * 2
    found = evidence(scores)
    return [pa.array(found.max(axis=1)), pa.array(np.asarray(thresholds.detecting)[found.argmax(axis=1)])]


def as_lines(detections: pa.RecordBatch) -> Iterator[dict[str, Any]]:
    """Yield detections as JSON objects: times in ISO 8601 with nanoseconds, numbers rounded to DIGITS digits."""
    columns = {name: detections.column(name) for name in detections.schema.names}
    columns |= {name: pc.strftime(columns[name], "%Y-%m-%dT%H:%M:%SZ") for name in ("start", "end")}
    for row in pa.RecordBatch.from_pydict(columns).to_pylist():
        fired = zip(*(row.pop(name) for name in ("tags", "scores", "thresholds", "probabilities")), strict=True)
        explained, reasons = row.pop("explained_tag"), row.pop("reasons")
        more = {name: _short(row.pop(name)) for name in (ANY_ATTACK.name, ANOMALY.name, EVIDENCE.name, ENOUGH.name)}
        yield {
            **row,
            "tags": [
                {"tag": tag, "score": _short(score), "threshold": _short(cut), "probability": _short(probability)}
                for tag, score, cut, probability in fired
            ],
            **more,
            "explained_tag": explained,
            "reasons": [{**one, "value": _short(one["value"]), "drop": _short(one["drop"])} for one in reasons],
        }


def _plain(reason: Reason) -> dict[str, Any]:
    return {"feature": reason.feature, "value": reason.value, "drop": reason.drop}


def _short(value: float | None) -> float | None:
    return None if value is None else round(value, DIGITS)
