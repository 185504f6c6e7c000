"""Detectors in a real registry: once each, challenger always, champion by verdict."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient

from features.errors import NoChampion
from models.registry import resolve
from pipeline.config import load
from pipeline.manifest import StageResult
from pipeline.register import champion, register, store
from pipeline.registered import Champion, require_registry
from pipeline.settings import Settings
from pipeline.train import Tables
from tests.pipeline.conftest import World


def tables(world: World) -> Tables:
    return Tables([world.labelled["demo-train"].path], [world.labelled["demo-valid"].path])


def elsewhere(world: World, folder: Path, *overrides: str) -> Settings:
    """Return settings with a registry of their own, over the same state."""
    mlflow = [f"mlflow.tracking_uri=sqlite:///{folder}/other.db", f"mlflow.artifact_root={folder}/artifacts"]
    chosen = [f"state.folder={world.settings.state.folder}", *mlflow, *overrides]
    return load(overrides=chosen, environment={}).settings


def copied(trained: StageResult, folder: Path) -> StageResult:
    """Return the same training as if it lay elsewhere, so that its receipt does, too."""
    (folder / "detectors").mkdir()
    (folder / "detectors" / "flowtag").symlink_to(trained.path)
    return StageResult(folder / "detectors" / "flowtag", trained.rows, trained.counts, trained.digest, reused=True)


def test_the_first_detector_comes_into_use(world: World) -> None:
    """The accepted detector is version 1, challenger and champion, and the champion's files are the trained ones."""
    assert (world.registered.name, world.registered.version, world.registered.in_use) == ("flowtag", 1, True)
    found = champion(world.settings)
    assert found == Champion(found.folder, "flowtag", 1)
    assert found.title == "flowtag version 1"
    for file in (world.trained.path / "detector").iterdir():
        assert (found.folder / file.name).read_bytes() == file.read_bytes()
    assert resolve(store(world.settings), "models:/flowtag@challenger").version == 1


def test_second_time_nothing_is_registered(world: World) -> None:
    """The same training is answered by its receipt."""
    assert register(world.trained, tables(world), world.settings) == world.registered
    client = MlflowClient(world.settings.tracking_uri, world.settings.tracking_uri)
    assert len(client.search_model_versions("name='flowtag'")) == 1


def test_a_choice_by_hand_is_told(world: World) -> None:
    """A training that is answered by its receipt does not claim to be in use where somebody has chosen otherwise."""
    client = MlflowClient(world.settings.tracking_uri, world.settings.tracking_uri)
    client.delete_registered_model_alias("flowtag", "champion")
    try:
        again = register(world.trained, tables(world), world.settings)
    finally:
        client.set_registered_model_alias("flowtag", "champion", "1")
    assert str(again).startswith("flowtag version 1 was put in use, but no version is by now: ")
    assert register(world.trained, tables(world), world.settings).since == ""


def test_what_the_run_shows(world: World) -> None:
    """The run has the settings, the inputs with their digests, each epoch, and the figures of all contenders."""
    client = MlflowClient(world.settings.tracking_uri)
    run = client.get_run(world.registered.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params["loss.penalty"] == "bounded"
    assert run.data.params["training.epochs"] == "6"
    notes = json.loads((world.trained.path / "training.json").read_text())
    for name, note in notes.items():
        assert run.data.metrics[f"{name}.valid.silent_rate"] == note["validation"]["silent_rate"]
    assert [one.step for one in client.get_metric_history(run.info.run_id, "detector.training_loss")] == [
        1,
        2,
        3,
        4,
        5,
        6,
    ]
    inputs = {one.dataset.name: one.dataset.digest for one in run.inputs.dataset_inputs}
    expected = {name: world.labelled[name].digest[:36] for name in ("demo-train", "demo-valid")}
    assert inputs == expected


def test_a_lost_model_is_registered_again(world: World, tmp_path: Path) -> None:
    """When the registry has forgotten the model, the receipt does not count, even though the version is the same."""
    settings, trained = elsewhere(world, tmp_path, "verdict.silent_rate=0.9"), copied(world.trained, tmp_path)
    first = register(trained, tables(world), settings)
    MlflowClient(settings.tracking_uri, settings.tracking_uri).delete_registered_model("flowtag")
    second = register(trained, tables(world), settings)
    assert (first.version, second.version) == (1, 1)
    assert first.run_id != second.run_id
    assert champion(settings).version == 1


def test_a_refused_detector_stays_challenger(world: World, tmp_path: Path) -> None:
    """A detector that is silent above its limit is registered, told why, and not put in use."""
    settings = elsewhere(world, tmp_path, "verdict.silent_rate=0")
    registered = register(copied(world.trained, tmp_path), tables(world), settings)
    assert not registered.in_use
    assert "silent rate" in registered.verdict
    assert "not in use" in str(registered)
    assert resolve(store(settings), "models:/flowtag@challenger").version == 1
    with pytest.raises(NoChampion, match="flowtag train"):
        champion(settings)


def test_the_verdict_goes_by_the_budget_that_thresholds_were_chosen_for(world: World, tmp_path: Path) -> None:
    """False alarms per hour became 2 % in the training: three times that is the limit, whatever the share in use."""
    settings = elsewhere(world, tmp_path, "thresholds.per_hour=5")
    trained = replace(world.trained, path=tmp_path / "flowtag")
    shutil.copytree(world.trained.path, trained.path)
    path = trained.path / "detector" / "detector.json"
    card = json.loads(path.read_text())
    card["settings"]["thresholds"]["false_alarm_budget"] = 0.02
    path.write_text(json.dumps(card))
    assert "is within its limit 6.0000%" in register(trained, tables(world), settings).verdict


def test_asking_for_a_registry_does_not_make_one(settings: Settings) -> None:
    """Without a registry there is no champion, and none is begun by asking."""
    with pytest.raises(NoChampion, match="flowtag demo"):
        require_registry(settings)
    assert not settings.state.root.exists()


def test_a_registry_elsewhere_is_for_mlflow_to_ask(world: World, tmp_path: Path) -> None:
    """A registry that the user names is not looked for on disk."""
    require_registry(elsewhere(world, tmp_path))


def test_nothing_lands_in_the_working_directory(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fetching the champion leaves MLflow's global address, and the working directory, as they were."""
    monkeypatch.chdir(tmp_path)
    before = mlflow.is_tracking_uri_set()
    champion(world.settings)
    assert mlflow.is_tracking_uri_set() == before
    assert not list(tmp_path.iterdir())
