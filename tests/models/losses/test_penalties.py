"""Penalties: values, gradient signs, closed-form optima, and stability where naive forms break."""

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf
from scipy.optimize import minimize

from models.losses import LossSettings, row_loss
from models.losses.settings import Penalty
from tests.models.losses import loss_oracle

Array = npt.NDArray[np.float64]
PENALTIES: tuple[Penalty, ...] = ("none", "bounded", "hit", "event", "event_nll", "literal")
WELL_POSED: tuple[Penalty, ...] = ("none", "bounded", "hit", "event", "event_nll")


def value_and_gradient(tags: npt.ArrayLike, logits: npt.ArrayLike, settings: LossSettings) -> tuple[Array, Array]:
    y, z = tf.constant(tags), tf.Variable(logits)
    with tf.GradientTape() as tape:
        value = row_loss(y, z, settings)
    return value.numpy(), tape.gradient(value, z).numpy()


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("base", ["bce", "focal", "asymmetric", "zlpr"])
@pytest.mark.parametrize("penalty", PENALTIES)
def test_values_equal_the_formulas(penalty: Penalty, base: str, reduction: str) -> None:
    """Every form equals its naive formula in float64."""
    settings = LossSettings(base, penalty, 1.3, reduction)  # type: ignore[arg-type]
    tags, logits = loss_oracle.some_rows(60, 6)
    value, _ = value_and_gradient(tags, logits, settings)
    np.testing.assert_allclose(value, loss_oracle.row_loss(tags, logits, settings), rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("penalty", WELL_POSED)
def test_benign_rows_are_always_pushed_down(penalty: Penalty) -> None:
    """On a benign row every well-posed form lowers every logit, wherever it stands."""
    _, logits = loss_oracle.some_rows(200, 5, spread=6.0)
    _, gradient = value_and_gradient(np.zeros_like(logits), logits, LossSettings(penalty=penalty, lambda_=10.0))
    assert (gradient > 0).all()


@pytest.mark.parametrize(("u", "sign"), [(0.99, 1.0), (1.01, -1.0)])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_literal_starts_to_pay_for_firing_at_the_critical_lambda(reduction: str, u: float, sign: float) -> None:
    """Just below u = 1 a benign row's logits fall, just above they rise."""
    n_tags = 9
    lambda_ = u / n_tags if reduction == "mean" else u
    settings = LossSettings("bce", "literal", lambda_, reduction, literal_eps=1e-12)  # type: ignore[arg-type]
    logits = np.random.default_rng(0).uniform(-3, 0.5, (50, n_tags))
    _, gradient = value_and_gradient(np.zeros_like(logits), logits, settings)
    assert (np.sign(gradient) == sign).all()


@pytest.mark.parametrize("lambda_", [0.3, 1.0, 3.0, 10.0])
def test_bounded_optimum_is_the_closed_form(lambda_: float) -> None:
    """At the optimum p = c * pi with 1 - 1/c = lambda * a * P0, for dependent tags too."""
    patterns = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 0, 1]], np.float64)
    share = np.array([0.7, 0.15, 0.1, 0.05])
    settings = LossSettings(penalty="bounded", lambda_=lambda_, reduction="sum")

    def expected(logits: Array) -> tuple[float, Array]:
        value, gradient = value_and_gradient(patterns, np.tile(logits, (4, 1)), settings)
        return float(share @ value), share @ gradient

    best = minimize(expected, np.zeros(3), jac=True, tol=1e-12)
    p = loss_oracle.sigmoid(best.x)
    pi, attack, p0 = share @ patterns, 0.3, (1 - p).prod()
    np.testing.assert_allclose(p, pi / (1 - lambda_ * attack * p0), rtol=1e-4)


def test_hit_keeps_its_gradient_where_the_model_is_confidently_silent() -> None:
    """With every logit at -50 hit still raises the true tag, by 1/L, where bounded's and literal's gradients vanish."""
    tags, logits = np.array([[1.0, 0.0]]), np.full((1, 2), -50.0)

    def of_penalty(penalty: Penalty) -> Array:
        with_penalty = value_and_gradient(tags, logits, LossSettings(penalty=penalty, lambda_=1.0))[1]
        without = value_and_gradient(tags, logits, LossSettings(penalty="none"))[1]
        return with_penalty - without

    np.testing.assert_allclose(of_penalty("hit"), [[-0.5, 0.0]], atol=1e-12)
    np.testing.assert_allclose(of_penalty("bounded"), [[0.0, 0.0]], atol=1e-12)
    assert abs(of_penalty("literal")).max() < 1e-6


def test_hit_never_raises_a_wrong_tag_and_event_does() -> None:
    """The penalty's gradient on absent tags is 0 for hit and negative for event."""
    tags, logits = np.array([[1.0, 0.0, 0.0]]), np.array([[-3.0, -1.0, 0.0]])
    without = value_and_gradient(tags, logits, LossSettings(penalty="none"))[1]
    hit = value_and_gradient(tags, logits, LossSettings(penalty="hit"))[1] - without
    event = value_and_gradient(tags, logits, LossSettings(penalty="event"))[1] - without
    np.testing.assert_allclose(hit[0, 1:], 0.0, atol=1e-15)
    assert (event[0, 1:] < 0).all()


def test_with_one_tag_hit_and_event_are_the_same() -> None:
    """L = 1 leaves no wrong tag to raise."""
    tags, logits = loss_oracle.some_rows(40, 1)
    hit, event = (value_and_gradient(tags, logits, LossSettings(penalty=name)) for name in ("hit", "event"))
    np.testing.assert_allclose(hit[0], event[0])
    np.testing.assert_allclose(hit[1], event[1])


@pytest.mark.parametrize("penalty", PENALTIES)
def test_lambda_0_is_the_base(penalty: Penalty) -> None:
    """Without weight no form changes anything."""
    tags, logits = loss_oracle.some_rows(40, 4)
    ours, _ = value_and_gradient(tags, logits, LossSettings(penalty=penalty, lambda_=0.0))
    base, _ = value_and_gradient(tags, logits, LossSettings(penalty="none"))
    np.testing.assert_array_equal(ours, base)


@pytest.mark.parametrize("size", [0.0, 30.0, 104.0, 1e4])
@pytest.mark.parametrize("n_tags", [1, 200])
@pytest.mark.parametrize("base", ["bce", "focal", "asymmetric", "zlpr"])
@pytest.mark.parametrize("penalty", PENALTIES)
def test_float32_values_and_gradients_are_finite(penalty: Penalty, base: str, n_tags: int, size: float) -> None:
    """No logit up to 1e4, no number of tags up to 200, no row, benign, attacked or mixed, makes NaN or infinity."""
    settings = LossSettings(base, penalty, focal_gamma=0.5)  # type: ignore[arg-type]
    mixed = (np.arange(n_tags) % 2 == 0).astype(np.float32)
    tags = np.repeat(np.stack([np.zeros(n_tags), np.ones(n_tags), mixed]).astype(np.float32), 3, axis=0)
    signs = np.where(np.arange(n_tags) % 3 == 0, -1.0, 1.0)
    logits = np.tile(size * np.stack([np.ones(n_tags), -np.ones(n_tags), signs]), (3, 1)).astype(np.float32)
    for rows in (slice(None), slice(0, 3), slice(3, 6), slice(4, 5)):
        value, gradient = value_and_gradient(tags[rows], logits[rows], settings)
        assert np.isfinite(value).all()
        assert np.isfinite(gradient).all()


def test_the_event_penalty_is_exact_where_one_minus_p0_rounds_to_zero() -> None:
    """At logits of -200, -log(1 - P0) is 200 - log(2) in float32, not infinity."""
    settings = LossSettings(penalty="event", lambda_=1.0, reduction="sum")
    tags, logits = np.array([[1.0, 0.0]], np.float32), np.full((1, 2), -200.0, np.float32)
    with_penalty = value_and_gradient(tags, logits, settings)[0]
    without = value_and_gradient(tags, logits, LossSettings(penalty="none", reduction="sum"))[0]
    assert float((with_penalty - without)[0]) == pytest.approx(200 - np.log(2), rel=1e-5)


@pytest.mark.parametrize("penalty", PENALTIES)
def test_one_row_changes_no_other_row(penalty: Penalty) -> None:
    """Rows are independent: changing one leaves the others' loss as it was, bit for bit."""
    tags, logits = loss_oracle.some_rows(12, 5)
    settings = LossSettings(penalty=penalty)
    before, _ = value_and_gradient(tags, logits, settings)
    logits[4], tags[4] = 9.0, 1.0
    after, _ = value_and_gradient(tags, logits, settings)
    assert (np.delete(before, 4) == np.delete(after, 4)).all()
    assert before[4] != after[4]


@pytest.mark.parametrize("penalty", PENALTIES)
def test_the_order_of_tags_is_irrelevant(penalty: Penalty) -> None:
    """Reversing the tags changes no row's loss."""
    tags, logits = loss_oracle.some_rows(30, 8)
    settings = LossSettings(penalty=penalty)
    forward, _ = value_and_gradient(tags, logits, settings)
    backward, _ = value_and_gradient(tags[:, ::-1].copy(), logits[:, ::-1].copy(), settings)
    np.testing.assert_allclose(forward, backward, rtol=1e-12)


def test_literal_sum_equals_the_published_loop() -> None:
    """Literal summed over tags is the published NumPy example to 1e-10."""
    tags, logits = loss_oracle.some_rows(40, 9)
    settings = LossSettings("bce", "literal", 0.5, "sum")
    value, _ = value_and_gradient(tags, logits, settings)
    published = loss_oracle.published_sum(tags, loss_oracle.sigmoid(logits), 0.5, 1e-7)
    assert value.mean() == pytest.approx(published, abs=1e-10)


def test_literal_mean_equals_the_published_keras_code() -> None:
    """Literal averaged over tags is Keras' binary cross-entropy plus lambda * log(prod(1 - p) + eps), to 1e-6."""
    tags, logits = loss_oracle.some_rows(40, 9)
    p = tf.sigmoid(tf.constant(logits))
    published = tf.keras.losses.binary_crossentropy(tf.constant(tags), p) + tf.math.log(
        tf.reduce_prod(1 - p, axis=-1) + 1e-7
    )
    value, _ = value_and_gradient(tags, logits, LossSettings("bce", "literal", 1.0))
    np.testing.assert_allclose(value, published.numpy(), atol=1e-6)


def test_literal_focal_equals_the_published_formula_per_element() -> None:
    """Literal on focal is alpha * (1 - pt)^gamma * BCE per element, averaged, plus the mean of the logarithms."""
    tags, logits = loss_oracle.some_rows(40, 9)
    p = loss_oracle.sigmoid(logits)
    cross_entropy = -(tags * np.log(p) + (1 - tags) * np.log(1 - p))
    focal = 0.25 * (1 - np.exp(-cross_entropy)) ** 2 * cross_entropy
    published = focal.mean() + np.log((1 - p).prod(axis=1) + 1e-7).mean()
    value, _ = value_and_gradient(tags, logits, LossSettings("focal", "literal", 1.0))
    assert value.mean() == pytest.approx(published, abs=1e-9)
