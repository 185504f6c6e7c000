"""The surroundings of a run."""

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import features
from flows.environment import prepare
from flows.local_api import names_a_server
from pipeline.config import load
from pipeline.settings import Settings


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """An environment without settings, put back afterwards."""
    empty: dict[str, str] = {}
    monkeypatch.setattr(os, "environ", empty)
    level = logging.getLogger("tensorflow").level
    yield empty
    logging.getLogger("tensorflow").setLevel(level)


def settings(tmp_path: Path, *overrides: str) -> Settings:
    return load(overrides=[f"state.folder={tmp_path}", *overrides], environment={}).settings


def test_everything_lies_in_the_state_folder(tmp_path: Path, environment: dict[str, str]) -> None:
    """Each tool's own folder, and MLflow's database, are below the state folder, and nothing is made yet."""
    prepare(settings(tmp_path / "state"))
    for name in ("PREFECT_HOME", "KERAS_HOME", "MPLCONFIGDIR", "NUMBA_CACHE_DIR"):
        assert Path(environment[name]).is_relative_to(tmp_path / "state")
    assert environment["MLFLOW_TRACKING_URI"] == f"sqlite:///{tmp_path}/state/mlflow.db"
    assert not (tmp_path / "state").exists()


def test_kernels_of_another_installation_are_not_met(
    tmp_path: Path, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a file of the package has changed, compiled kernels lie in another folder; where none has, in the same."""
    package = tmp_path / "features"
    package.mkdir()
    (package / "types.py").write_text("one = 1\n", "utf-8")
    monkeypatch.setattr(features, "__path__", [str(package)])
    seen = []
    for text in (None, None, "another = 1\n"):
        if text:
            (package / "types.py").write_text(text, "utf-8")
        environment.clear()
        prepare(settings(tmp_path / "state"))
        seen.append(environment["NUMBA_CACHE_DIR"])
    assert seen[0] == seen[1] != seen[2]


def test_nobody_is_told(tmp_path: Path, environment: dict[str, str]) -> None:
    """Telemetry and version checks are off, talkative or not."""
    for verbose in (False, True):
        environment.clear()
        prepare(settings(tmp_path), verbose)
        assert environment["DO_NOT_TRACK"] == "1"
        assert environment["MLFLOW_DISABLE_TELEMETRY"] == "true"
        assert environment["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"
        assert environment["PREFECT_CLIENT_SERVER_VERSION_CHECK_ENABLED"] == "false"
        assert ("TF_CPP_MIN_LOG_LEVEL" in environment) != verbose


def test_what_the_user_set_stays(tmp_path: Path, environment: dict[str, str]) -> None:
    """A variable that is set is not touched."""
    theirs = {"PREFECT_HOME": "/theirs", "NUMBA_CACHE_DIR": "/cache", "KERAS_BACKEND": "jax", "DO_NOT_TRACK": "0"}
    environment.update(theirs)
    prepare(settings(tmp_path))
    assert {name: environment[name] for name in theirs} == theirs


def test_whose_prefect(tmp_path: Path, environment: dict[str, str]) -> None:
    """A server of ours is started unless the user names one, by our setting or by Prefect's home or profile."""
    prepare(settings(tmp_path))
    assert not names_a_server(settings(tmp_path))
    named = settings(tmp_path, "prefect.api_url=http://prefect:4200/api")
    prepare(named)
    assert environment["PREFECT_API_URL"] == "http://prefect:4200/api"
    assert names_a_server(named)
    for name in ("PREFECT_PROFILE", "PREFECT_HOME"):
        environment.clear()
        environment[name] = "theirs"
        prepare(settings(tmp_path))
        assert names_a_server(settings(tmp_path))
