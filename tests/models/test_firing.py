"""What makes a flow a detection, and which tags fire on it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.firing import any_fired, deciding, evidence, fired_tags


def test_a_score_equal_to_its_threshold_fires_and_nan_does_not() -> None:
    """With one threshold a tag, a tag fires when score >= threshold."""
    assert fired_tags(np.array([[0.5, 0.5, np.nan]]), (0.5, 0.6, 0.0)).tolist() == [[True, False, False]]


def test_evidence_stands_with_the_most_probable_tag() -> None:
    """1 - 0.5 x 0.4 = 0.8; what is not known adds nothing; scores of 1 are certain."""
    found = evidence(np.array([[0.5, 0.6], [np.nan, 0.25], [1.0, 1.0]]))
    np.testing.assert_allclose(found, [[0, 0.8], [0, 0.25], [1, 0]], rtol=1e-12)


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 1_000), tags=st.integers(1, 30))
def test_evidence_is_that_not_all_tags_are_absent(seed: int, tags: int) -> None:
    """It equals 1 - the product, in float64, is no less than the highest score, and stands nowhere else."""
    scores = np.random.default_rng(seed).beta(0.2, 2.0, (40, tags)).astype(np.float32)
    found = evidence(scores)
    np.testing.assert_allclose(found.max(axis=1), 1 - np.prod(1 - scores.astype(np.float64), axis=1), atol=1e-7)
    assert (found.argmax(axis=1) == scores.argmax(axis=1)).all()
    assert ((found > 0).sum(axis=1) <= 1).all()


@pytest.mark.parametrize(
    ("scores", "fired"),
    [
        (
            (0.5, 0.65),
            (False, True),
        ),  # evidence 0.825 is enough for the second, whose own threshold of 0.9 is not reached
        ((0.7, 0.75), (True, True)),  # the first reaches its own threshold beside it
        ((0.75, 0.7), (False, False)),  # evidence 0.925 is not enough for the first
        ((0.2, 0.3), (False, False)),
    ],
)
def test_the_most_probable_tag_fires_by_evidence_and_others_beside_it(
    scores: tuple[float, ...], fired: tuple[bool, ...]
) -> None:
    """Thresholds of the scores are 0.7 and 0.9, of the evidence 0.95 and 0.8."""
    assert fired_tags(np.array([scores]), ((0.7, 0.9), (0.95, 0.8))).tolist() == [list(fired)]


def test_what_decides_is_told_with_its_cuts() -> None:
    """One threshold a tag decides by scores, two by evidence and the second one."""
    scores = np.array([[0.5, 0.6]])
    assert deciding(scores, (0.1, 0.2))[0] is scores
    compared, cuts = deciding(scores, ((0.1, 0.2), (0.3, 0.4)))
    np.testing.assert_allclose(compared, [[0, 0.8]])
    assert cuts.tolist() == [0.3, 0.4]


def test_a_flow_is_a_detection_where_a_tag_fires() -> None:
    """With one threshold a tag and with two, and where a score is NaN."""
    scores = np.array([[0.4, 0.4, 0.4], [0.6, 0.0, 0.0], [0.0, np.nan, 0.9], [0.1, 0.1, 0.1]], np.float32)
    for cuts in ((0.5, 0.3, 0.8), ((0.3, 0.9, 0.9), (0.7, 0.5, 0.8))):
        np.testing.assert_array_equal(any_fired(scores, cuts), fired_tags(scores, cuts).any(axis=1))
    assert any_fired(scores, (0.5, 0.5, 0.5)).tolist() == [False, True, True, False]
