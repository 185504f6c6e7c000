"""Small captures, and what the stages make of them, shared by the tests of a run."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.config import load
from pipeline.ingest import ingest
from pipeline.label import label
from pipeline.manifest import StageResult
from pipeline.register import register
from pipeline.registered import Registered
from pipeline.settings import Settings
from pipeline.train import Tables, train
from tests.pipeline.small_captures import NAMES, write_small_captures

QUICK = (
    "training.epochs=6",
    "network.members=1",
    "network.widths=64",
    "thresholds.false_alarm_budget=0.01",
    "verdict.silent_rate=0.9",
)


def settings_in(folder: Path) -> Settings:
    """Return settings under which a training takes seconds."""
    return load(overrides=[f"state.folder={folder}", *QUICK], environment={}).settings


@dataclass(frozen=True)
class World:
    """A state folder in which everything up to a champion has been made of the small captures."""

    captures: Path
    settings: Settings
    flows: dict[str, StageResult]
    labelled: dict[str, StageResult]
    trained: StageResult
    registered: Registered


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_in(tmp_path / "state")


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_captures(tmp_path_factory.mktemp("captures"))


@pytest.fixture(scope="session")
def world(small: Path, tmp_path_factory: pytest.TempPathFactory) -> World:
    """Everything up to a champion; tests leave it as it is."""
    settings = settings_in(tmp_path_factory.mktemp("world") / "state")
    flows = {name: ingest(small / f"{name}.pcap", settings) for name in NAMES}
    labelled = {name: label(flows[name].path, small / f"{name}.rules.csv", settings) for name in NAMES}
    tables = Tables([labelled["demo-train"].path], [labelled["demo-valid"].path])
    trained = train(tables, settings)
    return World(small, settings, flows, labelled, trained, register(trained, tables, settings))
