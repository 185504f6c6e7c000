"""Training and scoring are written once: what one backend learns and saves, TensorFlow loads and scores alike."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from models.dataset import TagDataset
from models.detector import Detector
from models.metrics import mean_average_precision

ROOT = Path(__file__).parents[2]


@pytest.mark.slow  # JAX compiles for half a minute
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_a_detector_of_another_backend(backend: str, tmp_path: Path, valid: TagDataset) -> None:
    """It finds the tags, and its network answers under TensorFlow what it answered where it was trained."""
    if not importlib.util.find_spec(backend):
        pytest.skip(f"{backend} is not installed: pip install -c constraints.txt -e '.[backends]'")
    subprocess.run(  # noqa: S603 (our own interpreter and module)
        [sys.executable, "-m", "tests.models.backend_run", str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"},
        check=True,
        timeout=240,
    )
    theirs = np.load(tmp_path / "scores.npz")
    assert (mean_average_precision(valid.tags, theirs["scores"]) or 0) > 0.98
    assert theirs["history"][-1] < theirs["history"][0]
    ours = Detector.load(tmp_path / "detector").score(valid.features)
    np.testing.assert_allclose(ours, theirs["scores"], atol=1e-5)
