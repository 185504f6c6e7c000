"""Runs in a real MLflow on SQLite."""

import json
from pathlib import Path

import pytest

from features.errors import ServiceError
from models.tracking import InputNote, TrackingStore, flattened, tracked_run


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> TrackingStore:
    folder = tmp_path_factory.mktemp("mlflow")
    return TrackingStore(f"sqlite:///{folder}/mlflow.db", str(folder / "mlartifacts"))


def test_a_run_holds_what_was_logged(store: TrackingStore, tmp_path: Path) -> None:
    """Parameters, figures by epoch, inputs, tags and files come back from MLflow as they were logged."""
    (tmp_path / "note.txt").write_text("read me", "utf-8")
    with tracked_run(store, "first", {"stage": "train"}) as run:
        run.parameters(
            {"epochs": 3, "loss": {"penalty": "bounded", "lambda_": 3.0}, "many": {str(i): i for i in range(150)}}
        )
        run.figures({"validation_loss": 0.5}, epoch=1)
        run.figures({"validation_loss": 0.25, "silent_rate": 0.1}, epoch=2)
        run.inputs([InputNote("demo-train", "a" * 64, "features/demo-train.parquet", 14_000, "training")])
        run.tags({"schema": "0123"})
        run.artifact(tmp_path / "note.txt", "notes")
        run.artifact(tmp_path, "folder")
        run.plain({"budget": 0.001}, "thresholds.json")
    client = store.client()
    seen = client.get_run(run.run_id)
    assert seen.info.status == "FINISHED"
    assert (seen.data.params["loss.lambda_"], seen.data.params["many.149"]) == ("3.0", "149")
    assert seen.data.metrics == {"validation_loss": 0.25, "silent_rate": 0.1}
    assert [(m.step, m.value) for m in client.get_metric_history(run.run_id, "validation_loss")] == [
        (1, 0.5),
        (2, 0.25),
    ]
    assert (seen.data.tags["stage"], seen.data.tags["schema"]) == ("train", "0123")
    dataset = seen.inputs.dataset_inputs[0]
    assert (dataset.dataset.name, dataset.dataset.digest, dataset.tags[0].value) == ("demo-train", "a" * 36, "training")
    root = Path(seen.info.artifact_uri.removeprefix("file://"))
    assert (root / "notes" / "note.txt").read_text("utf-8") == "read me"
    assert (root / "folder" / "note.txt").is_file()
    assert json.loads((root / "thresholds.json").read_text("utf-8")) == {"budget": 0.001}


def test_artifacts_stay_below_the_stores_own_folder(store: TrackingStore) -> None:
    """The experiment is created once, with a location of its own and not in the working directory."""
    for name in ("one", "two"):
        with tracked_run(store, name):
            pass
    experiment = store.client().get_experiment_by_name("flowtag")
    assert experiment is not None
    assert experiment.artifact_location == f"{store.artifacts}/flowtag"


def test_a_run_whose_block_raises_has_failed(store: TrackingStore) -> None:
    """The error goes on, and the run says FAILED."""
    with pytest.raises(ZeroDivisionError), tracked_run(store, "broken") as run:
        _ = 1 / 0
    assert store.client().get_run(run.run_id).info.status == "FAILED"


def test_a_server_that_does_not_answer_is_a_service_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nobody listens on port 9: the error says that a retry may help."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with (
        pytest.raises(ServiceError, match="does not answer") as unreachable,
        tracked_run(TrackingStore("http://127.0.0.1:9", str(tmp_path)), "lost"),
    ):
        pass
    assert unreachable.value.retryable


def test_a_damaged_database_is_a_service_error(tmp_path: Path) -> None:
    """A file that is no database is named, with what to do."""
    database = tmp_path / "mlflow.db"
    database.write_bytes(b"no database " * 1000)
    with pytest.raises(ServiceError, match="not a database"):
        TrackingStore(f"sqlite:///{database}", str(tmp_path)).client()


def test_nested_settings_get_dotted_names() -> None:
    """Lists stay values, mappings become names."""
    assert flattened({"a": {"b": {"c": 1}, "d": [2, 3]}, "e": None}) == {"a.b.c": 1, "a.d": [2, 3], "e": None}
