"""Bases against their formulas in float64."""

from dataclasses import replace

import numpy as np
import pytest
from keras import ops

from models.losses import LossSettings
from models.losses.bases import (
    asymmetric,
    base_loss,
    binary_cross_entropy,
    focal,
    published_cross_entropy,
    row_base,
    zlpr,
)
from tests.models.losses import loss_oracle


def test_a_true_tag_at_logit_0_costs_log_2() -> None:
    """The docstrings' numbers are right."""
    one, zero = ops.convert_to_tensor([[1.0]]), ops.convert_to_tensor([[0.0]])
    assert float(binary_cross_entropy(one, zero)[0, 0]) == pytest.approx(0.693147, abs=1e-6)
    assert float(focal(one, zero, 2.0, 0.25)[0, 0]) == pytest.approx(0.043322, abs=1e-6)
    assert float(asymmetric(one, zero, LossSettings("asymmetric"))[0, 0]) == pytest.approx(0.346574, abs=1e-6)
    assert float(asymmetric(zero, zero, LossSettings("asymmetric"))[0, 0]) == pytest.approx(0.024515, abs=1e-6)
    two = ops.convert_to_tensor([[1.0, 0.0]])
    assert float(zlpr(two, ops.zeros_like(two), ops.ones_like(two))[0]) == pytest.approx(1.386294, abs=1e-6)


@pytest.mark.parametrize("base", ["bce", "focal", "asymmetric"])
def test_bases_equal_their_formulas(base: str) -> None:
    """Each base equals the naive formula in float64."""
    settings = LossSettings(base=base, focal_gamma=1.7)  # type: ignore[arg-type]
    tags, logits = loss_oracle.some_rows(50, 7)
    ours = base_loss(ops.convert_to_tensor(tags), ops.convert_to_tensor(logits), settings)
    np.testing.assert_allclose(ours, loss_oracle.base(tags, logits, settings), rtol=1e-10)


def test_focal_without_gamma_is_cross_entropy() -> None:
    """Gamma 0 and alpha 1 leave cross-entropy."""
    tags, logits = (ops.convert_to_tensor(part) for part in loss_oracle.some_rows(20, 5))
    np.testing.assert_allclose(focal(tags, logits, 0.0, 1.0), binary_cross_entropy(tags, logits), rtol=1e-12)


def test_asymmetric_without_gammas_and_margin_is_cross_entropy() -> None:
    """Exponents and margin of 0 leave cross-entropy."""
    tags, logits = (ops.convert_to_tensor(part) for part in loss_oracle.some_rows(20, 5))
    plain = LossSettings("asymmetric", positive_gamma=0.0, negative_gamma=0.0, margin=0.0)
    np.testing.assert_allclose(asymmetric(tags, logits, plain), binary_cross_entropy(tags, logits), rtol=1e-12)


def test_asymmetric_lets_easy_absent_tags_go() -> None:
    """An absent tag that scores below the margin costs nothing at all."""
    below = ops.convert_to_tensor([[-3.0, -10.0]])  # p = 0.047 and less
    assert np.asarray(asymmetric(ops.zeros_like(below), below, LossSettings("asymmetric"))).tolist() == [[0.0, 0.0]]


def test_zlpr_of_one_tag_is_cross_entropy() -> None:
    """With one tag the ranking is against 0 alone."""
    tags, logits = (ops.convert_to_tensor(part) for part in loss_oracle.some_rows(20, 1))
    np.testing.assert_allclose(
        zlpr(tags, logits, ops.ones_like(logits)), binary_cross_entropy(tags, logits)[:, 0], rtol=1e-10
    )


@pytest.mark.parametrize("base", ["bce", "focal", "asymmetric", "zlpr"])
def test_label_smoothing_draws_targets_towards_one_half(base: str) -> None:
    """Smoothing by 0.2 is the base at targets 0.9 and 0.1."""
    tags, logits = loss_oracle.some_rows(20, 5)
    settings = LossSettings(base, label_smoothing=0.2)  # type: ignore[arg-type]
    smoothed = 0.9 * tags + 0.1 * (1 - tags)
    z, known = ops.convert_to_tensor(logits), ops.ones_like(ops.convert_to_tensor(logits))
    ours = row_base(ops.convert_to_tensor(tags), z, known, settings)
    sharp = row_base(ops.convert_to_tensor(smoothed), z, known, replace(settings, label_smoothing=0.0))
    np.testing.assert_allclose(ours, sharp, rtol=1e-12)
    if base == "bce":
        p = loss_oracle.sigmoid(logits)
        expected = -(smoothed * np.log(p) + (1 - smoothed) * np.log(1 - p)).sum(axis=1)
        np.testing.assert_allclose(ours, expected, rtol=1e-10)


def test_focal_is_per_element() -> None:
    """An easy element beside a hard one costs what it costs alone, unlike in the published example."""
    both = focal(ops.convert_to_tensor([[1.0, 1.0]]), ops.convert_to_tensor([[4.0, -4.0]]), 2.0, 0.25)
    alone = focal(ops.convert_to_tensor([[1.0]]), ops.convert_to_tensor([[4.0]]), 2.0, 0.25)
    assert float(both[0, 0]) == float(alone[0, 0])


def test_published_cross_entropy_saturates_at_its_epsilon() -> None:
    """A confidently missed tag costs -log(eps), however confident."""
    missed = published_cross_entropy(ops.convert_to_tensor([[1.0]]), ops.convert_to_tensor([[-1e4]]), 1e-7)
    assert float(missed[0, 0]) == pytest.approx(16.1181, abs=1e-4)
