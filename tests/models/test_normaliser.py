"""The normaliser: bounded, without NaN, robust, and the same after saving."""

import keras
import numpy as np
import pytest
from sklearn.preprocessing import QuantileTransformer

from features.errors import ConfigError
from models.normaliser import TRANSFORMS, FlowNormaliser, measure, normaliser_layer


def heavy_tails(rows: int = 3_000) -> np.ndarray:
    """Return columns: log-normal over nine decades, mostly 0, constant, with nulls, never known, of both signs."""
    random = np.random.default_rng(0)
    spread = np.exp(random.normal(8, 4, rows))
    mostly_zero = np.where(random.random(rows) < 0.9, 0, random.integers(1, 1_000, rows))
    nulls = np.where(random.random(rows) < 0.3, np.nan, random.normal(5, 2, rows))
    columns = [spread, mostly_zero, np.full(rows, 7.0), nulls, np.full(rows, np.nan), random.normal(0, 1e4, rows)]
    return np.stack(columns, axis=1).astype(np.float32)


def normalised(features: np.ndarray, transform: str, clip: float = 6.0) -> np.ndarray:
    layer = normaliser_layer(measure(features, transform, clip), features.shape[1])
    return np.asarray(layer(features))


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_inputs_are_bounded_and_never_nan(transform: str) -> None:
    """Whatever comes, null, infinity or a value never seen in training, every input lies within the clip."""
    features = heavy_tails()
    layer = normaliser_layer(measure(features, transform, 4.0), 6)
    strange = np.array([[np.nan] * 6, [np.inf] * 6, [-np.inf] * 6, [3.4e38] * 6, [-3.4e38] * 6], np.float32)
    inputs = np.asarray(layer(np.concatenate([features, strange])))
    assert np.isfinite(inputs).all()
    assert np.abs(inputs).max() <= 4.0


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_columns_that_were_ever_null_get_an_indicator(transform: str) -> None:
    """Null becomes 0, the centre, and is told apart from it by one extra input a column that had nulls in training."""
    features = heavy_tails()
    inputs = normalised(features, transform)
    assert inputs.shape == (len(features), 6 + 2)
    np.testing.assert_array_equal(inputs[:, 6], np.isnan(features[:, 3]))
    np.testing.assert_array_equal(inputs[:, 7], 1.0)
    assert (inputs[np.isnan(features[:, 3]), 3] == 0).all()


def test_columns_that_are_null_on_the_same_flows_share_an_indicator() -> None:
    """A second column with the nulls of the first adds none; one with other nulls does."""
    features = heavy_tails()
    copied = np.concatenate([features, features[:, 3:4] * 2], axis=1)
    assert measure(copied, "log", 6.0).null_columns == (3, 4)
    copied[0, 6] = np.nan if np.isfinite(copied[0, 6]) else 1.0
    assert measure(copied, "log", 6.0).null_columns == (3, 4, 6)


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_order_within_a_column_is_kept(transform: str) -> None:
    """Larger values never become smaller inputs."""
    features = heavy_tails()
    inputs = normalised(features, transform, clip=50.0)
    for column in (0, 1, 5):
        ordered = inputs[np.argsort(features[:, column], kind="stable"), column]
        assert (np.diff(ordered) >= -1e-6).all()
        assert ordered[-1] > ordered[0]


def test_log_is_standardised_signed_log1p() -> None:
    """The log transform equals its formula."""
    features = heavy_tails()[:, :1]
    logged = np.log1p(features.astype(np.float64))
    expected = (logged - logged.mean()) / logged.std()
    np.testing.assert_allclose(normalised(features, "log"), np.clip(expected, -6, 6), atol=1e-5)


def test_robust_is_asinh_of_distance_from_the_median() -> None:
    """The robust transform equals its formula: asinh((x - median) / (IQR / 1.349))."""
    features = heavy_tails()[:, 5:]
    q1, median, q3 = np.quantile(features.astype(np.float64), (0.25, 0.5, 0.75))
    expected = np.arcsinh((features - median) / ((q3 - q1) / 1.349))
    np.testing.assert_allclose(normalised(features, "robust"), expected, atol=1e-5)


def test_quantile_is_the_rank_as_scikit_learn_has_it() -> None:
    """The quantile transform is scikit-learn's on 17 quantiles of the logarithm, stretched to variance 1."""
    features = heavy_tails()[:, [0, 1]]
    reference = QuantileTransformer(n_quantiles=17, subsample=None).fit_transform(np.log1p(features))
    expected = (reference - 0.5) * 2 * np.sqrt(3)
    ours = normalised(features, "quantile")
    np.testing.assert_allclose(ours[:, 0], expected[:, 0], atol=1e-3)
    np.testing.assert_allclose(ours[[features[:, 1].argmax()], 1], np.sqrt(3), atol=1e-5)


def test_a_shared_value_takes_the_middle_of_its_ranks() -> None:
    """Where 11 to 12 sixteenths of the flows are 0, all of them stand in the middle of that range of ranks."""
    features = np.concatenate([np.zeros(700), np.arange(1, 301)]).astype(np.float32)[:, None]
    assert normalised(features, "quantile")[0, 0] == pytest.approx((11 / 32 - 0.5) * 2 * np.sqrt(3), abs=1e-5)


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_a_saved_layer_is_the_same_layer(transform: str, tmp_path: object) -> None:
    """Saved within a network and loaded, the layer maps every flow as before."""
    features = heavy_tails()
    raw = keras.Input((6,))
    network = keras.Model(raw, normaliser_layer(measure(features, transform, 6.0), 6)(raw))
    path = f"{tmp_path}/network.keras"
    network.save(path)
    again = keras.saving.load_model(path)
    np.testing.assert_array_equal(again.predict(features, verbose=0), network.predict(features, verbose=0))
    assert keras.saving.get_registered_name(FlowNormaliser) == "flowtag>FlowNormaliser"


def test_an_unknown_transform_is_refused() -> None:
    """A transform that does not exist is a configuration error that lists those that do."""
    with pytest.raises(ConfigError, match="robust, quantile, log"):
        measure(heavy_tails(), "sqrt", 6.0)
