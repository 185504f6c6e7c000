"""What a training leaves in MLflow: parameters, figures by epoch, lineage of its inputs, artifacts. Logged by hand."""

import json
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import DBAPIError

from features.errors import ServiceError

_UNREACHABLE = ("TEMPORARILY_UNAVAILABLE", "INTERNAL_ERROR", "REQUEST_LIMIT_EXCEEDED", "DEADLINE_EXCEEDED")
_PARAMETERS_A_CALL = 100
_LONGEST_PARAMETER = 6_000
_LONGEST_DIGEST = 36
_MOST_RUNS = 10_000
PARENT = "mlflow.parentRunId"
"""The tag by which MLflow nests runs."""


@dataclass(frozen=True)
class TrackingStore:
    """Where runs and models are kept.

    Attributes:
        uri: Of the tracking server or database, such as ``sqlite:////folder/mlflow.db``.
        artifacts: Root of artifacts, a folder or URI; a new experiment gets a folder of its own below it.
        experiment: Name under which runs are listed.
    """

    uri: str
    artifacts: str
    experiment: str = "flowtag"

    def client(self) -> MlflowClient:
        """Return a client of this store and of no other, whatever the process's global settings are.

        Raises:
            ServiceError: Its database cannot be opened.
        """
        # the first use of a database says twice per table that it is being created
        logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)
        logging.getLogger("alembic").setLevel(logging.WARNING)
        with reachable(self.uri):
            return MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)


@dataclass(frozen=True)
class InputNote:
    """One table a run has read.

    Attributes:
        name: What people call it.
        digest: Of its content, hexadecimal; MLflow keeps the first 36 digits.
        source: Where it lay.
        rows: Flows in it.
        context: What it was for.
    """

    name: str
    digest: str
    source: str
    rows: int
    context: Literal["training", "validation", "evaluation"]


@dataclass(frozen=True)
class TrackedRun:
    """One run that is being written."""

    client: MlflowClient
    run_id: str

    def parameters(self, settings: Mapping[str, Any]) -> None:
        """Log settings once; nested ones get dotted names, such as ``loss.lambda_``."""
        flat = [Param(name, str(value)[:_LONGEST_PARAMETER]) for name, value in flattened(settings).items()]
        with reachable(self.run_id):
            for start in range(0, len(flat), _PARAMETERS_A_CALL):
                self.client.log_batch(self.run_id, params=flat[start : start + _PARAMETERS_A_CALL])

    def figures(self, figures: Mapping[str, float], epoch: int = 0) -> None:
        """Log figures, all in one call; ``epoch`` counts from 1 and is 0 for those of the whole run."""
        now_ms = int(time.time() * 1000)
        with reachable(self.run_id):
            self.client.log_batch(
                self.run_id, metrics=[Metric(name, value, now_ms, epoch) for name, value in figures.items()]
            )

    def inputs(self, notes: Sequence[InputNote]) -> None:
        """Log which tables were read, so that MLflow shows the run's lineage."""
        with reachable(self.run_id):
            self.client.log_inputs(self.run_id, [_dataset_input(note) for note in notes])

    def tags(self, tags: Mapping[str, str]) -> None:
        """Set tags by which runs are searched."""
        with reachable(self.run_id):
            self.client.log_batch(self.run_id, tags=[RunTag(name, value) for name, value in tags.items()])

    def artifact(self, path: Path, folder: str = "") -> None:
        """Log a file, or a folder with all it holds."""
        log = self.client.log_artifacts if path.is_dir() else self.client.log_artifact
        with reachable(self.run_id):
            log(self.run_id, str(path), folder or None)

    def within(self, tag: str) -> "dict[str, NestedRun]":
        """Return the runs nested in this one that carry a tag, by its value."""
        asked = f"tags.`{PARENT}` = '{self.run_id}'"
        with reachable(self.run_id):
            experiment = self.client.get_run(self.run_id).info.experiment_id
            found = self.client.search_runs([experiment], asked, max_results=_MOST_RUNS)
        runs = (NestedRun(one.info.run_id, one.info.status == "FINISHED", one.data.tags) for one in found)
        return {one.tags[tag]: one for one in runs if tag in one.tags}

    def discard(self, nested: "NestedRun") -> None:
        """Delete a run nested in this one; MLflow keeps it among the deleted ones."""
        with reachable(self.run_id):
            self.client.delete_run(nested.run_id)

    def plain(self, values: Mapping[str, Any], file: str) -> None:
        """Log plain values as a JSON file."""
        with reachable(self.run_id):
            self.client.log_dict(self.run_id, dict(values), file)


@dataclass(frozen=True)
class NestedRun:
    """A run inside another: whether it came to its end, and its tags."""

    run_id: str
    finished: bool
    tags: Mapping[str, str]


@contextmanager
def tracked_run(
    store: TrackingStore, name: str, tags: Mapping[str, str] | None = None, parent: TrackedRun | None = None
) -> Iterator[TrackedRun]:
    """Open a run, nested in another if that is given, that ends as FINISHED, or as FAILED when the block raises.

    Raises:
        ServiceError: The store does not answer.
    """
    client = store.client()
    nested = {PARENT: parent.run_id} if parent else {}
    with reachable(store.uri):
        experiment = _experiment(client, store)
        run = client.create_run(experiment, tags={**(tags or {}), **nested}, run_name=name)
    with _ending(TrackedRun(client, run.info.run_id)) as tracked:
        yield tracked


@contextmanager
def continued_run(store: TrackingStore, name: str, tag: str, value: str) -> Iterator[TrackedRun]:
    """Open the run that carries a tag of this value and go on in it, or a new one; it ends as `tracked_run` does.

    Raises:
        ServiceError: The store does not answer.
    """
    client = store.client()
    with reachable(store.uri):
        found = client.search_runs([_experiment(client, store)], f"tags.`{tag}` = '{value}'", max_results=1)
        for known in found:
            client.update_run(known.info.run_id, "RUNNING")
    if not found:
        with tracked_run(store, name, {tag: value}) as tracked:
            yield tracked
        return
    with _ending(TrackedRun(client, found[0].info.run_id)) as tracked:
        yield tracked


@contextmanager
def _ending(run: TrackedRun) -> Iterator[TrackedRun]:
    status = "FAILED"
    try:
        yield run
        status = "FINISHED"
    finally:
        with reachable(run.run_id):
            run.client.set_terminated(run.run_id, status)


@contextmanager
def reachable(where: str) -> Iterator[None]:
    """Turn MLflow's ways of saying that a server or database does not answer into ServiceError."""
    try:
        yield
    except (MlflowException, DBAPIError) as error:
        if isinstance(error, MlflowException) and error.error_code not in _UNREACHABLE:
            raise
        raise ServiceError(
            "MLflow does not answer",
            where,
            "a tracking server, or a database that is whole",
            str(error)[:500],
            "try again; a database that is damaged has to come from a backup, or be moved away",
        ) from error


def flattened(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested mappings as one, names joined by dots: {"a": {"b": 1}} becomes {"a.b": 1}."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            flat |= flattened(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat


def _experiment(client: MlflowClient, store: TrackingStore) -> str:
    known = client.get_experiment_by_name(store.experiment)
    if known:
        return str(known.experiment_id)
    # without a location of its own, artifacts land in the working directory
    location = f"{store.artifacts.rstrip('/')}/{store.experiment}"
    return str(client.create_experiment(store.experiment, artifact_location=location))


def _dataset_input(note: InputNote) -> DatasetInput:
    dataset = Dataset(
        name=note.name,
        digest=note.digest[:_LONGEST_DIGEST],
        source_type="local",
        source=json.dumps({"uri": note.source}),
        profile=json.dumps({"num_rows": note.rows}),
    )
    return DatasetInput(dataset, [InputTag("mlflow.data.context", note.context)])
