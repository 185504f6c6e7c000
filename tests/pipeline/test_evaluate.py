"""Detections against the truth, side by side."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from features.errors import SchemaError
from features.labels.vocabulary import UNKNOWN
from models.detector import Detector
from pipeline.evaluate import evaluate
from pipeline.register import champion
from pipeline.score import score
from pipeline.settings import Settings
from tests.pipeline.conftest import World


def test_three_contenders_on_the_same_flows(world: World) -> None:
    """Detector, plain cross-entropy and trees are judged on the same flows, and the detector as it scores them."""
    labelled, detector = world.labelled["demo-score"], champion(world.settings).folder
    result = evaluate(labelled.path, detector, world.settings)
    figures = json.loads(result.path.read_text())
    assert list(figures) == ["detector", "plain_bce", "boosting"]
    assert {one["attack_flows"] for one in figures.values()} == {labelled.counts["attack"]}
    detections = pq.read_table(
        score(world.flows["demo-score"].path, detector, world.settings).path / "detections.parquet"
    )
    truth = pq.read_table(labelled.path)
    attack = np.array([bool(tags) for tags in truth["tags"].to_pylist()])
    is_unknown = np.array([tags == [UNKNOWN] for tags in detections["tags"].to_pylist()])
    flow_ids, reported = truth["flow_id"].to_numpy(), detections["flow_id"].to_numpy()
    fired, unknown = (np.isin(flow_ids, reported[of]) for of in (~is_unknown, is_unknown))
    assert figures["detector"]["silent_rate"] == pytest.approx(1 - fired[attack].mean())
    assert figures["detector"]["false_alarm_rate"] == pytest.approx(fired[~attack].mean())
    assert figures["detector"]["unknown"] == {
        "flows": unknown.sum(),
        "silent_rate": pytest.approx(1 - (fired | unknown)[attack].mean()),
        "false_alarm_rate": pytest.approx(unknown[~attack].mean()),
    }
    assert figures["plain_bce"]["unknown"] is figures["boosting"]["unknown"] is None
    assert evaluate(labelled.path, detector, world.settings) == replace(result, reused=True)


def test_another_detector_stands_alone(world: World, tmp_path: Path) -> None:
    """A detector that was not trained beside the contenders is not compared with them."""
    trained = Detector.load(champion(world.settings).folder)
    other = Detector(trained.network, replace(trained.card, settings={})).save(tmp_path / "other")
    alone = world.settings.model_copy(update={"state": world.settings.state.model_copy(update={"folder": tmp_path})})
    shutil.copytree(world.trained.path, tmp_path / "detectors" / "flowtag")
    result = evaluate(world.labelled["demo-score"].path, other, alone)
    assert list(json.loads(result.path.read_text())) == ["detector"]


def test_without_labels(world: World, settings: Settings) -> None:
    """A table without labels has no truth to compare with."""
    with pytest.raises(SchemaError, match="no labels"):
        evaluate(world.flows["demo-score"].path, world.trained.path / "detector", settings)
