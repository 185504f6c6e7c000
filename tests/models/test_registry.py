"""Detectors in a real MLflow registry on SQLite, and as MLflow itself serves them."""

import subprocess
import sys
from pathlib import Path

import mlflow
import numpy as np
import pytest

from features.errors import ModelError, NoChampion
from models.dataset import TagDataset
from models.detector import Detector
from models.registry import CHALLENGER, CHAMPION, promote, register, resolve
from models.tracking import TrackingStore, tracked_run

SERVED = """
import sys
import mlflow, numpy as np, pandas as pd
mlflow.set_tracking_uri(sys.argv[1])
served = mlflow.pyfunc.load_model("models:/tagger@champion")
features = np.load(sys.argv[2] + "/features.npy")
frame = pd.DataFrame(features.astype(float), columns=[f"column_{i}" for i in range(8)])
scores = served.predict(frame[frame.columns[::-1]])
assert list(scores.columns) == ["scan", "flood", "beacon"]
np.save(sys.argv[2] + "/scores.npy", scores.to_numpy())
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> TrackingStore:
    folder = tmp_path_factory.mktemp("mlflow")
    return TrackingStore(f"sqlite:///{folder}/mlflow.db", str(folder / "mlartifacts"))


@pytest.fixture(scope="module")
def registered(
    store: TrackingStore, detector: Detector, valid: TagDataset, tmp_path_factory: pytest.TempPathFactory
) -> str:
    """Register the detector twice as ``tagger``, make version 1 champion and version 2 challenger; return the run."""
    directory = detector.save(tmp_path_factory.mktemp("detectors") / "saved")
    with tracked_run(store, "train") as run:
        versions = [
            register(store, run.run_id, "tagger", directory, valid.features[:5], {"flows": "2000"}) for _ in "ab"
        ]
    assert versions == [1, 2]
    promote(store, "tagger", 1, CHAMPION)
    promote(store, "tagger", 2, CHALLENGER)
    return run.run_id


def test_files_that_were_moved_away(store: TrackingStore, registered: str) -> None:
    """A registry whose files are gone, as in a state folder that was moved, says so and what to do."""
    assert registered
    here, away = Path(store.artifacts), Path(store.artifacts).with_name("away")
    here.rename(away)
    try:
        with pytest.raises(ModelError, match=r"(?s)files are gone.*move the state folder back"):
            resolve(store, "models:/tagger@champion")
    finally:
        away.rename(here)


def test_an_alias_resolves_to_the_detector(
    store: TrackingStore, registered: str, detector: Detector, valid: TagDataset
) -> None:
    """The champion's directory loads and scores as the detector that was registered."""
    found = resolve(store, "models:/tagger@champion")
    assert (found.name, found.version, found.run_id) == ("tagger", 1, registered)
    np.testing.assert_array_equal(Detector.load(found.directory).score(valid.features), detector.score(valid.features))
    assert resolve(store, "models:/tagger@challenger").version == 2
    assert resolve(store, "models:/tagger/2").version == 2


def test_promoting_moves_the_alias(store: TrackingStore, registered: str) -> None:
    """An alias stands for one version at a time."""
    promote(store, "tagger", 2, CHAMPION)
    assert resolve(store, "models:/tagger@champion").version == 2
    promote(store, "tagger", 1, CHAMPION)
    assert resolve(store, "models:/tagger@champion").run_id == registered


def test_the_model_says_what_it_takes_and_gives(store: TrackingStore, registered: str) -> None:
    """The version carries its tags, run, signature and input example."""
    version = store.client().get_model_version("tagger", "1")
    assert (version.tags, version.run_id) == ({"flows": "2000"}, registered)
    files = resolve(store, "models:/tagger/1").directory.parents[1]
    model = mlflow.models.Model.load(str(files))
    assert model.signature.inputs.input_names() == [f"column_{i}" for i in range(8)]
    assert model.signature.outputs.input_names() == ["scan", "flood", "beacon"]
    assert (files / "input_example.json").is_file()


def test_nothing_in_the_model_is_a_pickle(store: TrackingStore, registered: str) -> None:
    """The model's files are code, configuration, a network and a card."""
    assert registered
    files = resolve(store, "models:/tagger/1").directory.parents[1]
    assert not [path for path in files.rglob("*") if path.suffix in (".pkl", ".pickle", ".joblib")]


def test_mlflow_serves_the_same_scores(
    store: TrackingStore, registered: str, detector: Detector, valid: TagDataset, tmp_path: Path
) -> None:
    """A fresh process that knows only the registry's address scores like the detector, whatever the columns' order."""
    assert registered
    np.save(tmp_path / "features.npy", valid.features)
    command = [sys.executable, "-c", SERVED, store.uri, str(tmp_path)]
    subprocess.run(command, check=True)  # noqa: S603 (our own interpreter and code)
    np.testing.assert_allclose(np.load(tmp_path / "scores.npy"), detector.score(valid.features), atol=1e-6)


@pytest.mark.parametrize("uri", ["models:/tagger@nobody", "models:/stranger@champion", "models:/tagger/99"])
def test_what_is_not_there_is_named_with_the_next_command(store: TrackingStore, registered: str, uri: str) -> None:
    """No such alias, model or version: the error names the address and what to run."""
    assert registered
    with pytest.raises(NoChampion, match=f"{uri}(.|\n)*flowtag train"):
        resolve(store, uri)


@pytest.mark.parametrize("uri", ["tagger@champion", "models:/tagger", "models:/tagger@a/b", "runs:/1/detector"])
def test_a_malformed_address_is_refused(store: TrackingStore, uri: str) -> None:
    """The error shows how an address looks."""
    with pytest.raises(ModelError, match="models:/NAME@ALIAS"):
        resolve(store, uri)


def test_the_process_keeps_its_own_settings(
    store: TrackingStore, registered: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A registry that the environment names is neither asked nor replaced, and the tracking URI is as before."""
    assert registered
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", "http://127.0.0.1:9")
    before = mlflow.get_tracking_uri()
    assert resolve(store, "models:/tagger@champion").version == 1
    assert mlflow.get_tracking_uri() == before != store.uri
    assert mlflow.get_registry_uri() == "http://127.0.0.1:9"
