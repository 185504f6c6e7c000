"""Bases against their formulas in float64."""

import numpy as np
import pytest
from keras import ops

from models.losses import LossSettings
from models.losses.bases import base_loss, binary_cross_entropy, focal, published_cross_entropy
from tests.models.losses import loss_oracle


def test_a_true_tag_at_logit_0_costs_log_2() -> None:
    """The docstrings' numbers are right."""
    one, zero = ops.convert_to_tensor([[1.0]]), ops.convert_to_tensor([[0.0]])
    assert float(binary_cross_entropy(one, zero)[0, 0]) == pytest.approx(0.693147, abs=1e-6)
    assert float(focal(one, zero, 2.0, 0.25)[0, 0]) == pytest.approx(0.043322, abs=1e-6)


@pytest.mark.parametrize("base", ["bce", "focal"])
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


def test_focal_is_per_element() -> None:
    """An easy element beside a hard one costs what it costs alone, unlike in the published example."""
    both = focal(ops.convert_to_tensor([[1.0, 1.0]]), ops.convert_to_tensor([[4.0, -4.0]]), 2.0, 0.25)
    alone = focal(ops.convert_to_tensor([[1.0]]), ops.convert_to_tensor([[4.0]]), 2.0, 0.25)
    assert float(both[0, 0]) == float(alone[0, 0])


def test_published_cross_entropy_saturates_at_its_epsilon() -> None:
    """A confidently missed tag costs -log(eps), however confident."""
    missed = published_cross_entropy(ops.convert_to_tensor([[1.0]]), ops.convert_to_tensor([[-1e4]]), 1e-7)
    assert float(missed[0, 0]) == pytest.approx(16.1181, abs=1e-4)
