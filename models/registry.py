"""Detectors in MLflow's model registry: versions, and which of them is challenger and champion."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import mlflow
import mlflow.artifacts
import mlflow.pyfunc
import pandas as pd
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.types import ColSpec, Schema

from features.errors import ModelError, NoChampion
from models.card import CARD_FILE
from models.detector import Detector, Matrix
from models.tracking import TrackingStore, reachable

CHAMPION, CHALLENGER = "champion", "challenger"

_CODE = Path(__file__).with_name("served_detector.py")
_ARTIFACT = "detector"
_URI = re.compile(r"models:/(?P<name>[^/@]+)(?:@(?P<alias>[^/@]+)|/(?P<version>\d+))")
_ABSENT = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")
_REQUIRED = ("keras", "mlflow", "numpy", "pandas", "tensorflow", "tensorflow-cpu")


@dataclass(frozen=True)
class RegisteredDetector:
    """A version in the registry and the directory it was resolved to."""

    name: str
    version: int
    run_id: str
    directory: Path


def register(
    store: TrackingStore, run_id: str, name: str, directory: Path, example: Matrix, tags: Mapping[str, str]
) -> int:
    """Log a detector's directory as a model of the run and register it.

    The model is code (``models.served_detector``) beside the detector's own files; nothing is pickled.

    Args:
        store: Where the run is.
        run_id: The run that trained the detector.
        name: Of the registered model.
        directory: As ``Detector.save`` left it.
        example: Some flows, shape (n_flows, n_features), kept as the model's input example.
        tags: Of the version.

    Returns:
        The new version.

    Raises:
        ServiceError: The store does not answer.
    """
    detector = Detector.load(directory)
    client = store.client()
    with reachable(store.uri), _global(store):
        source = _logged(run_id, directory, detector, example)
        if not client.search_registered_models(f"name='{name}'"):
            client.create_registered_model(name, description="flowtag detectors: flows in, tags out")
        created = client.create_model_version(name, source, run_id, tags=dict(tags), model_id=source.rsplit("/")[-1])
    return int(created.version)


def promote(store: TrackingStore, name: str, number: int, alias: str) -> None:
    """Make a version the one that an alias stands for; the version that had it loses it.

    Raises:
        ServiceError: The store does not answer.
    """
    with reachable(store.uri):
        store.client().set_registered_model_alias(name, alias, str(number))


def resolve(store: TrackingStore, uri: str) -> RegisteredDetector:
    """Return the registered detector and a local directory with its files, downloaded if they lie elsewhere.

    Args:
        store: Where the registry is.
        uri: ``models:/NAME@ALIAS`` or ``models:/NAME/VERSION``.

    Raises:
        NoChampion: The registry holds no such model, alias or version.
        ModelError: The URI is malformed, or the version is not a flowtag detector.
        ServiceError: The store does not answer.
    """
    found = _found(store, uri)
    try:
        with reachable(store.uri), _global(store):
            files = Path(_downloaded(found))
    except (OSError, MlflowException) as error:
        raise ModelError(
            "the detector's files are gone",
            f"{uri} in {store.uri}",
            f"the files that the registry knows as {found.source}, where they were when it was registered",
            str(error),
            "move the state folder back to where it was, or move its mlflow.db away and train again",
        ) from error
    flavor = Model.load(str(files)).flavors.get("python_function", {})
    path = flavor.get("artifacts", {}).get(_ARTIFACT, {}).get("path")
    if path is None or not (files / path / CARD_FILE).is_file():
        raise ModelError("the registered model is no flowtag detector", uri, f"an artifact '{_ARTIFACT}'", str(files))
    return RegisteredDetector(found.name, int(found.version), str(found.run_id), files / path)


def _logged(run_id: str, directory: Path, detector: Detector, example: Matrix) -> str:
    """Log the model and return its URI."""
    names, tags = detector.card.feature_names, detector.card.tag_names
    with mlflow.start_run(run_id=run_id):
        info = mlflow.pyfunc.log_model(
            name="detector",
            python_model=str(_CODE),
            artifacts={_ARTIFACT: str(directory)},
            signature=ModelSignature(_columns(names, nullable=True), _columns(tags)),
            input_example=pd.DataFrame(example.astype(float), columns=list(names)),
            pip_requirements=_requirements(),
        )
    return str(info.model_uri)


@contextmanager
def _global(store: TrackingStore) -> Iterator[None]:
    """Make a store MLflow's global one for a while: models are logged, and their files found, through no other."""
    was_set = mlflow.is_tracking_uri_set()  # type: ignore[no-untyped-call]
    before = mlflow.get_tracking_uri() if was_set else None
    mlflow.set_tracking_uri(store.uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(before)  # type: ignore[arg-type]  # None unsets it, here and for child processes


def _columns(names: tuple[str, ...], nullable: bool = False) -> Schema:
    return Schema([ColSpec("double", name, required=not nullable) for name in names])


def _requirements() -> list[str]:
    """Return what a server of the model needs, at the versions installed here."""
    pinned = []
    for package in _REQUIRED:
        try:
            pinned.append(f"{package}=={version(package)}")
        except PackageNotFoundError:
            continue
    return pinned


def _found(store: TrackingStore, uri: str) -> ModelVersion:
    parts = _URI.fullmatch(uri)
    if parts is None:
        raise ModelError("not a detector's address", uri, "models:/NAME@ALIAS or models:/NAME/VERSION", uri)
    client = store.client()
    try:
        with reachable(store.uri):
            if parts["alias"]:
                return client.get_model_version_by_alias(parts["name"], parts["alias"])
            return client.get_model_version(parts["name"], parts["version"])
    except MlflowException as error:
        if error.error_code not in _ABSENT:
            raise
        raise NoChampion("there is no such detector", uri, "", str(error), "flowtag train") from error


def _downloaded(found: ModelVersion) -> str:
    return str(mlflow.artifacts.download_artifacts(artifact_uri=found.source))
