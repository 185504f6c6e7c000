"""Small captures and places to run the command in."""

import os
from pathlib import Path

import pytest

from tests.flows.running import Place, new_place
from tests.pipeline.small_captures import write_small_captures


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_captures(tmp_path_factory.mktemp("captures"))


@pytest.fixture(scope="session")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where kernels are compiled once, for all processes that share the tests."""
    base = tmp_path_factory.getbasetemp()
    return (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "kernels"


@pytest.fixture
def place(tmp_path: Path, kernels: Path) -> Place:
    return new_place(tmp_path, kernels)
