"""Ramps: a number once more, piece by piece between quantiles."""

import keras
import numpy as np
import pytest

from models.ramps import RampLayer, place_ramps, ramp_layer, worth

Matrix = np.ndarray


def columns(rows: int = 4_000) -> Matrix:
    """Return a normal column, one of two values, a constant, and one that is 0 but for one flow in ten."""
    random = np.random.default_rng(0)
    rare = np.where(random.random(rows) < 0.1, random.uniform(1, 3, rows), 0)
    parts = [random.normal(size=rows), random.integers(0, 2, rows), np.full(rows, 2.0), rare]
    return np.stack(parts, axis=1).astype(np.float32)


def test_ramps_of_a_column_add_up_to_where_its_value_lies_between_quantiles() -> None:
    """Their sum is NumPy's linear interpolation from quartiles to 0, 1, 2, 3, 4, and constant beyond them."""
    values = columns()[:, :1]
    layer = ramp_layer(place_ramps(values, 4), 1)
    shown = np.linspace(-9, 9, 1_001, dtype=np.float32)[:, None]
    expected = np.interp(shown[:, 0], np.quantile(values, [0, 0.25, 0.5, 0.75, 1]), np.arange(5))
    np.testing.assert_allclose(np.asarray(layer(shown)).sum(axis=1), expected, atol=2e-3)


def test_each_ramp_is_0_below_its_knot_and_1_above_the_next() -> None:
    """Of four ramps over 0 to 4 the value 2.25 has risen through two and a quarter of the third."""
    evenly = np.linspace(0, 4, 4_001, dtype=np.float32)[:, None]
    answered = np.asarray(ramp_layer(place_ramps(evenly, 4), 1)(np.array([[2.25], [-7], [7]], np.float32)))
    np.testing.assert_allclose(answered, [[1, 1, 0.25, 0], [0, 0, 0, 0], [1, 1, 1, 1]], atol=1e-5)


def test_columns_of_two_values_have_no_ramps_and_a_rare_value_has_its_own() -> None:
    """Flags and constants get none; where most flows share a value, the ramps lie among the others."""
    values = columns()
    placed = place_ramps(values, 8)
    assert placed.columns == (0, 3)
    answered = np.asarray(ramp_layer(placed, 4)(values))
    of_rare = answered.reshape(-1, 4, 2)[:, :, 1].sum(axis=1)
    assert (of_rare[values[:, 3] == 0] == 0).all()
    assert len(np.unique(of_rare[values[:, 3] > 0].round(3))) > 100


@pytest.mark.parametrize(("most", "each"), [(1, 2), (30, 3), (10_000, 48)])
def test_no_more_ramps_than_asked_for(most: int, each: int) -> None:
    """The number in all is shared out evenly, 2 to 48 a column."""
    placed = place_ramps(np.random.default_rng(1).normal(size=(500, 10)).astype(np.float32), most)
    assert placed.starts.size == (10 * each)
    assert len(placed.columns) == 10


def test_the_layer_is_rebuilt_from_its_configuration_and_weights() -> None:
    """What Keras saves of it answers the same."""
    values = columns()
    layer = ramp_layer(place_ramps(values, 8), 4)
    again = RampLayer.from_config(layer.get_config())
    again.build((None, 4))
    again.set_weights(layer.get_weights())
    np.testing.assert_array_equal(np.asarray(again(values)), np.asarray(layer(values)))
    assert keras.saving.get_registered_object("flowtag>RampLayer") is RampLayer


def test_few_values_have_a_ramp_between_each_two() -> None:
    """A column of 0, 1, 2, 3 of which nearly all are 0 is shown by three ramps: which value it is can be read off."""
    rare = np.repeat(np.arange(4, dtype=np.float32), (990, 5, 3, 2))[:, None]
    answered = np.asarray(ramp_layer(place_ramps(rare, 12), 1)(np.arange(4, dtype=np.float32)[:, None]))
    np.testing.assert_allclose(answered[:, :3], [[0, 0, 0], [1, 0, 0], [1, 1, 0], [1, 1, 1]], atol=1e-6)


def test_a_task_is_worth_as_many_ramps_as_a_tree_makes_cuts() -> None:
    """A tag beyond one threshold takes one cut, one in each second of eight stripes seven, chance all there are."""
    random = np.random.default_rng(5)
    inputs = random.uniform(0, 8, (4_000, 3)).astype(np.float32)
    beyond, striped = inputs[:, 1] > 5, inputs[:, 0].astype(int) % 2
    assert worth(inputs, beyond[:, None].astype(np.uint8), 100) == 1
    assert worth(inputs, striped[:, None].astype(np.uint8), 100) == 7
    assert worth(inputs, random.integers(0, 2, (4_000, 2)).astype(np.uint8), 100) == 100
    assert worth(inputs, np.zeros((4_000, 2), np.uint8), 100) == 0
