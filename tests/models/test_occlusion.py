"""Reasons: what makes a flow benign when it is put back to normal."""

import keras
import numpy as np
import pytest

from models.occlusion import Reason, occlusion_drops, top_reasons


@pytest.fixture(scope="module")
def linear() -> keras.Model:
    """Answer tag 0 with 2 * a - b and tag 1 with c, of columns a, b, c."""
    network = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, use_bias=False)])
    network.layers[0].set_weights([np.array([[2, 0], [-1, 0], [0, 1]], np.float32)])
    return network


def test_drops_are_what_the_formula_says(linear: keras.Model) -> None:
    """On a linear network a column's drop is its weight times its distance from the benign median."""
    features = np.array([[5, 1, 9], [0, 4, 7]], np.float32)
    drops = occlusion_drops(linear, features, np.array([0, 1]), np.array([1, 2, 3], np.float32))
    np.testing.assert_allclose(drops, [[8, 1, 0], [0, 0, 4]], atol=1e-5)


def test_the_greatest_drops_come_first_and_rises_are_left_out(linear: keras.Model) -> None:
    """Reasons are sorted by drop, cut to the number asked for, and never hold a column that speaks against the tag."""
    features = np.array([[5, 1, 9], [0, 4, 7]], np.float32)
    medians = np.array([1, 2, 3], np.float32)
    first, second = top_reasons(linear, features, np.array([0, 0]), medians, ("a", "b", "c"), 3)
    assert [reason.feature for reason in first] == ["a", "b"]
    assert first[0] == Reason("a", 5.0, pytest.approx(8.0))
    assert second == ()
    assert [len(reasons) for reasons in top_reasons(linear, features, np.array([0, 0]), medians, "abc", 1)] == [1, 0]


def test_null_is_reported_as_none() -> None:
    """A flow's null, replaced by a number, is a reason with the value None."""
    raw = keras.Input((1,))
    network = keras.Model(raw, keras.ops.where(keras.ops.isnan(raw), 3.0, 1.0))
    ((reason,),) = top_reasons(
        network, np.array([[np.nan]], np.float32), np.array([0]), np.array([0], np.float32), ("a",), 3
    )
    assert (reason.value, reason.drop) == (None, pytest.approx(2.0))


def test_many_flows_are_explained_as_one_by_one(linear: keras.Model) -> None:
    """Chunks change nothing: 9,000 flows get the drops that the formula gives each."""
    features = np.random.default_rng(0).normal(size=(9_000, 3)).astype(np.float32)
    drops = occlusion_drops(linear, features, np.zeros(9_000, np.intp), np.zeros(3, np.float32))
    np.testing.assert_allclose(drops, features * np.array([2, -1, 0], np.float32), atol=1e-5)
