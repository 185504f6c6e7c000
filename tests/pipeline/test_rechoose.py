"""Another budget without another training."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient

from features.errors import ConfigError, ModelError, NoChampion
from models.detector import VALIDATION_FILE, Detector
from models.registry import resolve
from pipeline.config import load
from pipeline.manifest import StageResult
from pipeline.rechoose import rechoose
from pipeline.register import champion, register, store
from pipeline.registered import Budget
from pipeline.settings import Settings
from pipeline.train import Tables
from tests.pipeline.conftest import World

CHAMPION = "models:/flowtag@champion"


@pytest.fixture
def own(world: World, tmp_path: Path) -> Settings:
    """Settings with a registry of its own that holds the world's detector as version 1."""
    chosen = [f"state.folder={tmp_path / 'state'}", "verdict.silent_rate=0.9"]
    settings = load(overrides=chosen, environment={}).settings
    copy = shutil.copytree(world.trained.path, tmp_path / "state" / "detectors" / "flowtag")
    trained = StageResult(copy, world.trained.rows, world.trained.counts, world.trained.digest, reused=True)
    register(trained, Tables([world.labelled["demo-train"].path], [world.labelled["demo-valid"].path]), settings)
    return settings


def test_another_budget_is_a_new_version_of_the_same_network(own: Settings) -> None:
    """Version 2 is in use, has other thresholds within the budget, the same weights, and knows where it comes from."""
    before = Detector.load(champion(own).folder)
    found = rechoose(Budget(share=0.02), CHAMPION, own)
    after = Detector.load(champion(own).folder)
    assert (found.registered.version, found.registered.in_use, found.parent) == (2, True, "flowtag version 1")
    assert (found.evaluation.false_alarm_rate or 0) <= 0.02
    assert after.card.thresholds != before.card.thresholds
    assert after.card.settings["thresholds"]["false_alarm_budget"] == 0.02
    for ours, theirs in zip(before.network.get_weights(), after.network.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    version = MlflowClient(own.tracking_uri, own.tracking_uri).get_model_version("flowtag", "2")
    assert version.tags["flowtag.parent"] == "flowtag version 1"
    assert version.tags["flowtag.parent_run"] == resolve(store(own), "models:/flowtag/1").run_id


def test_the_one_in_use_may_be_of_another_view(own: Settings) -> None:
    """Where only a detector for flow records is in use, it is the one whose thresholds are chosen."""
    registry = MlflowClient(own.tracking_uri, own.tracking_uri)
    registry.delete_registered_model_alias("flowtag", "champion")
    registry.set_registered_model_alias("flowtag", "champion-biflow", "1")
    assert rechoose(Budget(share=0.02), None, own).parent == "flowtag version 1"


def test_the_same_budget_gives_the_same_thresholds(own: Settings) -> None:
    """What is kept of the validation flows is enough to choose as training chose."""
    before = Detector.load(champion(own).folder).card.thresholds
    rechoose(Budget(share=own.thresholds.false_alarm_budget), CHAMPION, own)
    after = Detector.load(champion(own).folder).card.thresholds
    np.testing.assert_allclose(after.values, before.values, rtol=1e-6)
    assert after.sources == before.sources


def test_a_budget_per_hour_is_kept(own: Settings) -> None:
    """So many false alarms in the hours of the validation traffic, no more; and it starts from any version."""
    found = rechoose(Budget(per_hour=600.0), "models:/flowtag/1", own)
    flows = Detector.load(resolve(store(own), "models:/flowtag/2").directory).validation
    assert flows
    assert flows.blocks
    alarms = (found.evaluation.false_alarm_rate or 0) * found.evaluation.benign_flows
    assert alarms <= 600 * flows.blocks.hours
    assert found.budget == pytest.approx(600 * flows.blocks.hours / found.evaluation.benign_flows)


def test_another_budget_for_unknown_leaves_the_tags(own: Settings) -> None:
    """Version 2 reports more flows as unknown within its budget under the same thresholds; version 3 looks for none."""
    before = Detector.load(champion(own).folder).card
    rechoose(Budget(unknown=0.05), CHAMPION, own)
    after = Detector.load(champion(own).folder)
    assert before.unknown
    assert after.card.unknown
    assert after.card.unknown.threshold < before.unknown.threshold
    assert before.unknown.false_alarm_rate < after.card.unknown.false_alarm_rate <= 0.05
    assert after.card.settings["unknown"] == {"false_alarm_budget": 0.05}
    np.testing.assert_allclose(after.card.thresholds.values, before.thresholds.values, rtol=1e-6)
    assert rechoose(Budget(unknown=0.0), CHAMPION, own).unknown is None
    assert Detector.load(champion(own).folder).card.unknown is None


def test_what_cannot_be_chosen_from(own: Settings) -> None:
    """No such version; a detector that kept no scores; a budget that is none, or two."""
    with pytest.raises(NoChampion):
        rechoose(Budget(share=0.01), "models:/flowtag/9", own)
    (champion(own).folder / VALIDATION_FILE).unlink()
    with pytest.raises(ModelError, match="keeps no scores"):
        rechoose(Budget(share=0.01), CHAMPION, own)
    for wrong in ({}, {"share": 0.1, "per_hour": 3.0}, {"per_hour": -1.0}, {"share": float("nan")}):
        with pytest.raises(ConfigError, match="--per-hour"):
            Budget(**wrong)
