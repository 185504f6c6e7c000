"""Feature tables and a detector to detections."""

import json
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.errors import ModelMismatch, SchemaError
from features.labels.vocabulary import UNKNOWN
from features.schema import FEATURE_NAMES, arrow_schema
from features.table import write_table
from models.dataset import feature_matrix
from models.detector import Detector
from models.network import NetworkSettings, build_network
from models.normaliser import measure
from pipeline.detections import IDENTITY, as_lines, detections_schema, write_detections
from pipeline.manifest import StageResult
from pipeline.register import champion
from pipeline.score import detections_folder, modules_needed, score
from pipeline.settings import Settings
from tests.pipeline.conftest import World


@pytest.fixture(scope="module")
def scored(world: World) -> StageResult:
    return score(world.flows["demo-score"].path, champion(world.settings).folder, world.settings)


@pytest.fixture(scope="module")
def lines(scored: StageResult) -> list[dict[str, object]]:
    return [json.loads(line) for line in (scored.path / "detections.ndjson").read_text().splitlines()]


def test_flows_are_conserved(world: World, scored: StageResult) -> None:
    """Every flow is a detection or quiet, and rows are detections."""
    counts = scored.counts
    assert counts["flows"] == world.flows["demo-score"].rows == counts["detections"] + counts["quiet"]
    assert scored.rows == counts["detections"] > 100


def test_detections_are_the_flows_that_fire(world: World, scored: StageResult) -> None:
    """Flows, tags, scores and thresholds are those of the detector applied to the whole table at once."""
    detector = Detector.load(champion(world.settings).folder)
    table = pq.read_table(world.flows["demo-score"].path)
    scores = detector.score(feature_matrix(table.combine_chunks().to_batches()[0], FEATURE_NAMES))
    assert detector.card.thresholds.detecting
    enough = np.asarray(detector.card.thresholds.detecting)[scores.argmax(axis=1)]
    evidence = 1 - np.prod(1 - scores.astype(np.float64), axis=1)
    fired = scores >= np.asarray(detector.card.thresholds.values)
    fired[np.arange(len(scores)), scores.argmax(axis=1)] = True
    fired[evidence < enough] = False
    detections = pq.read_table(scored.path / "detections.parquet")
    assert detections.schema.equals(detections_schema())
    detections = detections.filter(pa.compute.not_equal(detections["explained_tag"], UNKNOWN))
    assert len(detections) == scored.counts["detections"] - scored.counts["unknown"]
    chosen = np.flatnonzero(fired.any(axis=1))
    assert detections.select(list(IDENTITY)).equals(table.select(list(IDENTITY)).take(pa.array(chosen)))
    names = np.array(detector.card.tag_names)
    assert detections["tags"].to_pylist() == [names[row].tolist() for row in fired[chosen]]
    flat = np.concatenate([np.asarray(row) for row in detections["scores"].to_pylist()])
    np.testing.assert_allclose(flat, scores[fired], rtol=1e-5)
    cuts = np.broadcast_to(np.asarray(detector.card.thresholds.values, np.float32), scores.shape)
    assert np.concatenate(detections["thresholds"].to_pylist()).astype(np.float32).tolist() == cuts[fired].tolist()
    assert detector.card.calibration
    probabilities = detector.card.calibration.probabilities(scores)
    flat = np.concatenate([np.asarray(row) for row in detections["probabilities"].to_pylist()])
    np.testing.assert_allclose(flat, probabilities[fired], rtol=1e-4, atol=1e-6)
    assert detections["any_attack"].null_count == len(detections)
    np.testing.assert_allclose(detections["evidence"].to_numpy(), evidence[chosen], rtol=1e-5)
    assert (detections["evidence"].to_numpy() >= detections["evidence_threshold"].to_numpy()).all()


def test_unknown_flows_lie_beside_those_with_tags(world: World, scored: StageResult, tmp_path: Path) -> None:
    """With a low cut quiet flows become detections of nothing but `unknown`; those with tags stay what they were."""
    known = Detector.load(champion(world.settings).folder)
    assert known.card.unknown
    low = replace(known.card, unknown=replace(known.card.unknown, threshold=0.4))
    replace(known, card=low).save(tmp_path / "detector")
    counts = write_detections(world.flows["demo-score"].path, tmp_path / "detector", tmp_path / "found")
    found = pq.read_table(tmp_path / "found" / "detections.parquet")
    is_unknown = pa.compute.equal(found["explained_tag"], UNKNOWN)
    unknown, named = found.filter(is_unknown), found.filter(pa.compute.invert(is_unknown))
    assert len(unknown) == counts["unknown"] > scored.counts["unknown"]
    assert counts["flows"] == counts["detections"] + counts["quiet"]
    assert counts["detections"] - counts["unknown"] == scored.counts["detections"] - scored.counts["unknown"]
    assert set(map(tuple, unknown["tags"].to_pylist())) == {(UNKNOWN,)}
    assert unknown["scores"].to_pylist() == [[one] for one in unknown["anomaly"].to_pylist()]
    assert min(unknown["anomaly"].to_pylist()) >= 0.4
    assert set(map(tuple, unknown["probabilities"].to_pylist())) == {(None,)}
    before = pq.read_table(scored.path / "detections.parquet")
    before = before.filter(pa.compute.not_equal(before["explained_tag"], UNKNOWN))
    assert named["tags"].to_pylist() == before["tags"].to_pylist()
    assert named["reasons"].to_pylist() == before["reasons"].to_pylist()
    lines = [json.loads(line) for line in (tmp_path / "found" / "detections.ndjson").read_text("utf-8").splitlines()]
    (tag,) = next(line for line in lines if line["explained_tag"] == UNKNOWN)["tags"]
    assert (tag["tag"], tag["threshold"], tag["probability"]) == (UNKNOWN, 0.4, None)


def test_a_hurdle_says_how_likely_any_attack_is(world: World, tmp_path: Path) -> None:
    """A detector with the hurdle head fills the column, with no less than any tag's score; JSON lines say it too."""
    known = Detector.load(champion(world.settings).folder)
    tags = len(known.card.tag_names)
    features = feature_matrix(next(pq.ParquetFile(world.flows["demo-score"].path).iter_batches(500)), FEATURE_NAMES)
    odds = np.linspace(0, 1, tags + 1, dtype=np.float32)
    views = build_network(
        measure(features, "log", 6.0), None, FEATURE_NAMES, odds, NetworkSettings(members=1), hurdle=True
    )
    cuts = replace(known.card.thresholds, values=(0.3,) * tags)
    Detector(views.mean, replace(known.card, thresholds=cuts)).save(tmp_path / "detector")
    counts = write_detections(world.flows["demo-score"].path, tmp_path / "detector", tmp_path / "found")
    detections = pq.read_table(tmp_path / "found" / "detections.parquet")
    assert len(detections) == counts["detections"] > 0
    found = detections["any_attack"].to_pylist()
    assert all(one >= max(scores) - 1e-6 for one, scores in zip(found, detections["scores"].to_pylist(), strict=True))
    first = json.loads((tmp_path / "found" / "detections.ndjson").read_text("utf-8").splitlines()[0])
    assert first["any_attack"] == pytest.approx(found[0], abs=1e-6)


def test_tags_are_counted(scored: StageResult, lines: list[dict[str, object]]) -> None:
    """The counts per tag are those of the JSON lines."""
    counted = Counter(one["tag"] for line in lines for one in line["tags"])  # type: ignore[attr-defined]  # JSON
    assert counted.pop(UNKNOWN, 0) == scored.counts["unknown"]
    assert {key[4:]: n for key, n in scored.counts.items() if key.startswith("tag.") and n} == counted


def test_lines_say_what_the_table_says(scored: StageResult, lines: list[dict[str, object]]) -> None:
    """Each JSON line is a row of the Parquet file, with ISO times, and reasons of at most three columns."""
    table = pq.read_table(scored.path / "detections.parquet")
    assert len(lines) == table.num_rows
    assert [line["flow_id"] for line in lines] == table["flow_id"].to_pylist()
    for line in lines[::50]:
        reasons = line["reasons"]
        assert isinstance(reasons, list)
        assert len(reasons) <= 3
        assert all(one["feature"] in FEATURE_NAMES and one["drop"] > 0 for one in reasons)
        assert line["explained_tag"] in [one["tag"] for one in line["tags"]]  # type: ignore[attr-defined]  # JSON


def test_times_keep_their_nanoseconds() -> None:
    """2026-11-23T14:49:55.680402001Z is written as such, and absent ports as null."""
    moment = int(datetime(2026, 11, 23, 14, 49, 55, tzinfo=UTC).timestamp()) * 10**9 + 680_402_001
    fired = {"tags": ["dos"], "scores": [0.5], "thresholds": [0.25], "probabilities": [0.75]}
    who = {"capture": "c", "flow_id": 1, "community_id": "1:x", "src_ip": "10.0.0.1", "dst_ip": "10.0.0.2"}
    row: dict[str, object] = (
        dict.fromkeys(IDENTITY) | who | fired | {"start": moment, "end": moment, "protocol": 1, "end_reason": "idle"}
    )
    row["explained_tag"] = "dos"
    row["reasons"] = [{"feature": "is_tcp", "value": None, "drop": 1.5}]
    (line,) = as_lines(pa.RecordBatch.from_pylist([row], schema=detections_schema()))
    assert (line["start"], line["src_port"]) == ("2026-11-23T14:49:55.680402001Z", None)
    assert line["tags"] == [{"tag": "dos", "score": 0.5, "threshold": 0.25, "probability": 0.75}]
    assert line["any_attack"] is None
    assert line["reasons"] == [{"feature": "is_tcp", "value": None, "drop": 1.5}]


def test_what_came_nearest_is_kept_by_tag(scored: StageResult) -> None:
    """A tag whose threshold was reached fired; every tag that may decide is there."""
    highest = json.loads((scored.path / "highest.json").read_text())
    for tag, (score_of_tag, threshold) in highest.items():
        assert score_of_tag < threshold or scored.counts[f"tag.{tag}"]


def test_second_time_it_is_used_again(world: World, scored: StageResult) -> None:
    """The same table and detector give the finished detections."""
    table, detector = world.flows["demo-score"].path, champion(world.settings).folder
    assert score(table, detector, world.settings) == replace(scored, reused=True)
    assert modules_needed(table, world.settings) == ("pipeline.register",)


def test_an_empty_table(world: World, tmp_path: Path, settings: Settings) -> None:
    """A table without flows gives typed, empty detections."""
    table = tmp_path / "empty.parquet"
    write_table([], table, arrow_schema())
    result = score(table, champion(world.settings).folder, settings)
    assert (result.rows, result.counts["flows"], result.counts["detections"]) == (0, 0, 0)
    assert result.path == detections_folder(table, settings)
    assert pq.read_table(result.path / "detections.parquet").schema.equals(detections_schema())
    assert (result.path / "detections.ndjson").read_text() == ""


def test_a_table_of_another_schema(world: World, tmp_path: Path, settings: Settings) -> None:
    """A table without a column is refused before anything is made, with the difference shown."""
    other = tmp_path / "old.parquet"
    pq.write_table(pq.read_table(world.flows["demo-score"].path).drop_columns(["is_tcp"]), other)
    with pytest.raises(SchemaError, match="is_tcp"):
        score(other, champion(world.settings).folder, settings)
    assert not settings.state.root.exists()


def test_a_detector_of_another_schema(world: World, tmp_path: Path, settings: Settings) -> None:
    """A detector that was trained for another schema is refused before the first row, and leaves no detections."""
    trained = Detector.load(champion(world.settings).folder)
    other = Detector(trained.network, replace(trained.card, schema_fingerprint="0" * 16)).save(tmp_path / "other")
    with pytest.raises(ModelMismatch, match="another feature schema"):
        score(world.flows["demo-score"].path, other, settings)
    assert not detections_folder(world.flows["demo-score"].path, settings).exists()
