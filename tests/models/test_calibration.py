"""Scores as probabilities."""

import json
from dataclasses import asdict

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from models.calibration import Calibration, ReliabilityBin, fit_calibration, reliability, tag_calibration_errors
from models.metrics import calibration_error


def world(flows: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return tags, over-confident scores of them, and their true probabilities: three common tags and a rare one."""
    random = np.random.default_rng(seed)
    logits = random.normal([-2, -2, -2, -7], 2, (flows, 4))
    truth = 1 / (1 + np.exp(-logits))
    tags = (random.random(logits.shape) < truth).astype(np.uint8)
    shown = 1 / (1 + np.exp(-(logits * [3, 2, 0.5, 1] + [1, -1, 0, 0])))
    return tags, shown.astype(np.float32), truth


def test_probabilities_are_the_true_ones() -> None:
    """Scores that are three times too sure, or too timid, become the probabilities by which the tags were drawn."""
    tags, scores, _ = world(40_000, 1)
    fitted = fit_calibration(tags, scores, 20)
    tags, scores, truth = world(40_000, 2)
    probabilities = fitted.probabilities(scores)
    assert np.abs(probabilities - truth)[:, :3].max() < 0.03
    assert (calibration_error(tags, probabilities) or 1) < 0.25 * (calibration_error(tags, scores) or 0)


def test_it_is_the_logistic_regression_of_the_logit() -> None:
    """Slope and offset are those of scikit-learn's unpenalised regression, Platt's targets aside."""
    tags, scores, _ = world(20_000, 3)
    fitted = fit_calibration(tags, scores, 20)
    logits = np.log(scores[:, 2].astype(float)) - np.log1p(-scores[:, 2].astype(float))
    known = LogisticRegression(C=1e9, tol=1e-8).fit(logits[:, None], tags[:, 2])
    assert fitted.slopes[2] == pytest.approx(known.coef_[0, 0], rel=0.02)
    assert fitted.offsets[2] == pytest.approx(known.intercept_[0], abs=0.02)


def test_the_order_of_scores_stays() -> None:
    """Of any two scores of a tag the higher one has no lower a probability, to the ends of what float32 can tell."""
    tags, scores, _ = world(5_000, 4)
    fitted = fit_calibration(tags, scores, 20)
    ladder = np.concatenate([[0.0], np.logspace(-38, -1, 100), np.linspace(0.1, 1.0, 100)]).astype(np.float32)
    rising = fitted.probabilities(np.repeat(ladder[:, None], 4, axis=1))
    assert (np.diff(rising, axis=0) >= 0).all()
    assert np.isfinite(rising).all()


def test_a_rare_tag_takes_the_curve_of_all() -> None:
    """A tag with fewer flows than asked has the pooled curve, and the sources say so."""
    tags, scores, _ = world(3_000, 5)
    fitted = fit_calibration(tags, scores, 100)
    assert fitted.sources == ("own", "own", "own", "pooled")
    everywhere = fit_calibration(tags, scores, 10**9)
    assert (everywhere.slopes[0], everywhere.offsets[0]) == (fitted.slopes[3], fitted.offsets[3])


def test_tags_that_never_overlap_have_a_finite_curve() -> None:
    """Scores that part a tag perfectly, and tags on all flows or on none, do not run to infinity or turn the order."""
    scores = np.array([[0.9, 0.5, 0.5]] * 50 + [[0.1, 0.4, 0.4]] * 50, np.float32)
    tags = np.array([[1, 1, 0]] * 50 + [[0, 1, 0]] * 50, np.uint8)
    fitted = fit_calibration(tags, scores, 0)
    assert np.isfinite([*fitted.slopes, *fitted.offsets]).all()
    assert min(fitted.slopes) > 0
    found = fitted.probabilities(scores)
    assert found[0, 0] > 0.95
    assert found[-1, 0] < 0.05
    assert fit_calibration(tags, scores[::-1], 0).slopes[0] == 1.0


def test_the_reliability_curve() -> None:
    """Four pairs by hand: two near 0.95, one of them true, and two near 0.1, none true."""
    tags = np.array([[1, 0], [0, 0]], np.uint8)
    curve = reliability(tags, np.array([[0.95, 0.12], [0.97, 0.14]]))
    assert curve == (ReliabilityBin(pytest.approx(0.13), 0.0, 2), ReliabilityBin(pytest.approx(0.96), 0.5, 2))


def test_the_error_of_each_tag() -> None:
    """A tag at 0.75 that is true on three flows of four is right; one at 0.9 that is never true says nothing."""
    tags = np.array([[1, 0], [1, 0], [1, 0], [0, 0]], np.uint8)
    errors = tag_calibration_errors(tags, np.array([[0.75, 0.9]] * 4))
    assert errors == [pytest.approx(0.0), None]


def test_it_survives_json() -> None:
    """Plain values and back give the same curves."""
    one = Calibration((0.5, 2.0), (0.0, -1.0), ("own", "pooled"))
    assert Calibration.from_dict(json.loads(json.dumps(asdict(one)))) == one
