"""The losses are written once: TensorFlow, JAX, PyTorch and NumPy agree on values and gradients."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[3]
NEEDS = {"tensorflow": "tensorflow", "numpy": "numpy", "jax": "jax", "torch": "torch"}
CLOSE = {"rtol": 1e-5, "atol": 1e-5}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, np.ndarray]]:
    """What each backend that is installed made of the same rows, each in a process of its own, side by side."""
    folder = tmp_path_factory.mktemp("backends")
    present = [backend for backend, package in NEEDS.items() if importlib.util.find_spec(package)]
    running = {
        backend: subprocess.Popen(  # noqa: S603 (our own interpreter and module)
            [sys.executable, "-m", "tests.models.losses.backend_run", str(folder / f"{backend}.npz")],
            cwd=ROOT,
            env={**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"},
        )
        for backend in present
    }
    assert {backend: process.wait(240) for backend, process in running.items()} == dict.fromkeys(present, 0)
    return {backend: dict(np.load(folder / f"{backend}.npz")) for backend in present}


@pytest.mark.parametrize("backend", ["numpy", "jax", "torch"])
def test_every_loss_is_that_of_tensorflow(backend: str, results: dict[str, dict[str, np.ndarray]]) -> None:
    """Values of all bases and penalties agree to 1e-5, unknown and smoothed labels among them, and gradients too."""
    if backend not in results:
        pytest.skip(f"{backend} is not installed: pip install -c constraints.txt -e '.[backends]'")
    ours, reference = results[backend], results["tensorflow"]
    with_gradients = backend != "numpy"
    assert set(ours) == {name for name in reference if with_gradients or name.endswith("value")}
    for name, values in ours.items():
        np.testing.assert_allclose(values, reference[name], **CLOSE, err_msg=name)
