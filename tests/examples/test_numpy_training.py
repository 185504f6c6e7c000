"""The NumPy example: gradients right, the same as Keras step for step, and it shows what it claims."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import keras
import numpy as np
import pytest

from models.losses import LossSettings, TagLoss

ROOT = Path(__file__).parents[2]


def loaded(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


example = loaded(ROOT / "examples/numpy_training.py")
LOSSES = {
    "bce": (example.Loss(example.bounded, 0.0), LossSettings(penalty="none", reduction="sum")),
    "literal": (
        example.Loss(example.literal, 0.5, example.published_cross_entropy),
        LossSettings("bce", "literal", 0.5, "sum"),
    ),
    "bounded": (example.Loss(example.bounded, 3.0), LossSettings("bce", "bounded", 3.0, "sum")),
    "hit": (example.Loss(example.hit, 3.0), LossSettings("bce", "hit", 3.0, "sum")),
}


@pytest.mark.parametrize("name", list(LOSSES))
def test_analytic_gradients_are_those_of_differences(name: str) -> None:
    """Each gradient equals central differences of the loss."""
    loss = LOSSES[name][0]
    random = np.random.default_rng(0)
    tags, logits = (random.random((5, 4)) < 0.3).astype(float), random.normal(0, 2, (5, 4))
    nudges = 1e-6 * np.eye(logits.size).reshape(-1, *logits.shape)
    slopes = [(loss(tags, logits + nudge)[0] - loss(tags, logits - nudge)[0]) / 2e-6 for nudge in nudges]
    np.testing.assert_allclose(loss(tags, logits)[1].ravel(), slopes, atol=1e-8)


@pytest.mark.parametrize("name", list(LOSSES))
def test_the_loop_reproduces_keras(name: str) -> None:
    """From the same start, 30 steps of plain gradient descent under Keras end in the same weights."""
    ours, settings = LOSSES[name]
    features, tags = example.small_set(600)
    begun = example.start(12, 8, tags)
    network = keras.Sequential(
        [
            keras.Input((12,), dtype="float64"),
            keras.layers.Dense(8, "relu", dtype="float64"),
            keras.layers.Dense(9, dtype="float64"),
        ]
    )
    network.set_weights([begun.w1, begun.b1, begun.w2, begun.b2])
    network.compile(keras.optimizers.SGD(0.5), TagLoss(settings, 9), jit_compile=False)
    network.fit(features, tags, batch_size=600, epochs=30, shuffle=False, verbose=0)
    trained = example.fit(begun, features, tags, ours, steps=30)
    for by_keras, by_hand in zip(network.get_weights(), (trained.w1, trained.b1, trained.w2, trained.b2), strict=True):
        np.testing.assert_allclose(by_keras, by_hand, atol=1e-4)
    assert abs(trained.w1 - begun.w1).max() > 0.01


def test_what_it_prints() -> None:
    """As a script it shows the collapse at lambda 2, and two penalties without it that are less silent than none."""
    done = subprocess.run(
        [sys.executable, "examples/numpy_training.py"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    found = {
        line[:20].strip(): [float(number) for number in re.findall(r"\d\.\d+", line[20:])]
        for line in done.stdout.splitlines()
    }
    assert found["literal, lambda 2"] == [0.0, 1.0]
    for name in ("bounded, lambda 3", "hit, lambda 3"):
        assert found[name][1] < 0.005
        assert found[name][0] < found["cross-entropy"][0]


def test_the_picture_of_the_collapse_is_up_to_date() -> None:
    """docs/collapse.svg is what docs/make_collapse.py draws, to a tenth of a point."""
    kept = (ROOT / "docs/collapse.svg").read_text("utf-8")
    done = subprocess.run(
        [sys.executable, "docs/make_collapse.py"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    version = re.compile(r"Matplotlib v[\d.]+")
    if version.findall(kept) != version.findall(done.stdout):
        pytest.skip("drawn with another Matplotlib: pip install -c constraints.txt matplotlib")
    number = re.compile(r"-?\d+\.\d+")
    assert number.sub("#", kept) == number.sub("#", done.stdout)
    drawn, again = (np.array(number.findall(text), float) for text in (kept, done.stdout))
    np.testing.assert_allclose(drawn, again, atol=0.1)
