"""Pace jitter: columns follow the factors by what they measure, in training alone."""

import keras
import numpy as np
import pytest

from features.schema import COLUMNS
from models.pace import COMPANY, VOLUME, WITHIN, PaceJitter, pace_exponents

EXPONENTS = [[1.0, -1.0, 0.0], [0.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
FLOWS = np.array([[2.0, 8.0, 5.0], [np.nan, 4.0, 5.0]], np.float32)


def test_columns_follow_by_what_they_measure() -> None:
    """Durations follow the time factor, rates oppose it and follow volume, volumes follow volume, strangers nothing."""
    by_unit = {(column.group, column.unit): column.name for column in COLUMNS if column.role == "feature"}
    duration = next(name for (group, unit), name in by_unit.items() if unit == "s" and group != "context")
    rate = next(name for (group, unit), name in by_unit.items() if unit.endswith("/s") and group != "context")
    volume = next(name for (group, unit), name in by_unit.items() if group == "volume" and unit == "bytes")
    exponents = pace_exponents([duration, rate, volume, "stranger"])
    assert exponents[:, 0].tolist() == [1, 0, 0]
    assert (exponents[WITHIN, 1], exponents[VOLUME, 1]) == (-1, 1)
    assert (exponents[VOLUME, 2], exponents[COMPANY, 2]) == (1, 0)
    assert exponents[:, 3].tolist() == [0, 0, 0]


def test_scoring_changes_nothing() -> None:
    """Outside training the columns pass as they are."""
    np.testing.assert_array_equal(PaceJitter(EXPONENTS, (0.7, 1.5, 0.3))(FLOWS, training=False), FLOWS)


def test_training_scales_whole_flows_consistently() -> None:
    """A slower flow has longer times and lower rates by one factor; what follows nothing stays, and so does null."""
    keras.utils.set_random_seed(3)
    jitter = PaceJitter(EXPONENTS, (0.7, 1.5, 0.0))
    paced = np.asarray(jitter(np.tile(FLOWS[:1], (500, 1)), training=True))
    assert np.ptp(paced[:, 0]) > 0
    np.testing.assert_allclose(paced[:, 0] * paced[:, 1], 16.0, rtol=1e-5)
    np.testing.assert_array_equal(paced[:, 2], 5.0)
    assert np.log(paced[:, 0] / 2).std() == pytest.approx(0.7, rel=0.15)
    assert np.isnan(np.asarray(jitter(FLOWS, training=True))[1, 0])


def test_a_saved_layer_is_the_same_layer() -> None:
    """Its configuration rebuilds it under its registered name."""
    jitter = PaceJitter(EXPONENTS, (0.7, 1.5, 0.3), name="pace")
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(jitter))
    assert (again.exponents, again.spreads, again.name) == (EXPONENTS, [0.7, 1.5, 0.3], "pace")
