"""The guard knows where the literal form collapses, and says so."""

import numpy as np
import pytest
from scipy.optimize import minimize, minimize_scalar

from features.errors import UnsafeLoss
from models.losses import LossSettings, critical_lambda, expected_silence, require_safe


def literal(lambda_: float, base: str = "bce", reduction: str = "mean") -> LossSettings:
    return LossSettings(base, "literal", lambda_, reduction)  # type: ignore[arg-type]


def test_critical_lambdas() -> None:
    """1/L averaged, 1 summed, 0 on focal, none for the well-posed forms."""
    assert critical_lambda(literal(1.0), 9) == pytest.approx(1 / 9)
    assert critical_lambda(literal(1.0, reduction="sum"), 9) == 1.0
    assert critical_lambda(literal(1.0, base="focal"), 9) == 0.0
    assert critical_lambda(LossSettings(lambda_=1e6), 9) == np.inf


@pytest.mark.parametrize(("lambda_", "n_tags"), [(1.0, 9), (0.1, 15), (0.5, 21)])
def test_expected_silence_is_the_optimum_of_a_benign_row(lambda_: float, n_tags: int) -> None:
    """P0* = eps / (u - 1) is what a minimiser finds on a benign row."""

    def benign_row(log_p0: float) -> float:
        return float(-log_p0 / n_tags + lambda_ * np.logaddexp(log_p0, np.log(1e-7)))

    best = minimize_scalar(benign_row, bounds=(-40, 0), method="bounded", options={"xatol": 1e-9})
    assert expected_silence(literal(lambda_), n_tags) == pytest.approx(np.exp(best.x), rel=1e-3)


def test_expected_silence_on_focal_is_the_optimum_of_equal_logits() -> None:
    """On focal the search finds what a minimiser finds."""

    def benign_row(logit: float) -> float:
        p = 1 / (1 + np.exp(-logit))
        return float(0.25 * p**2 * np.logaddexp(0, logit) + 0.01 * np.log((1 - p) ** 9 + 1e-7))

    best = minimize_scalar(benign_row, bounds=(-30, 5), method="bounded", options={"xatol": 1e-9})
    p0 = (1 / (1 + np.exp(best.x))) ** 9
    assert expected_silence(literal(0.01, base="focal"), 9) == pytest.approx(p0, rel=1e-2)
    assert p0 < 0.5


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_the_critical_lambda_of_zlpr_is_where_firing_breaks_even(reduction: str) -> None:
    """Just below it no benign row beats a silent one, of equal logits or not; just above it the best one fires."""
    n_tags = 9
    critical = critical_lambda(literal(1.0, "zlpr", reduction), n_tags)
    scale = 1 / n_tags if reduction == "mean" else 1.0
    assert critical < scale / 4

    def benign_row(logits: np.ndarray, lambda_: float) -> float:
        log_p0 = -np.logaddexp(0, logits).sum()
        return float(scale * np.log1p(np.exp(logits).sum()) + lambda_ * np.logaddexp(log_p0, np.log(1e-7)))

    starts = np.random.default_rng(0).uniform(-4, 4, (20, n_tags))
    best = [[minimize(benign_row, z, args=(f * critical,)).fun for z in starts] for f in (0.98, 1.02)]
    silent = [f * critical * np.log1p(1e-7) for f in (0.98, 1.02)]
    assert min(best[0]) >= silent[0] - 1e-5
    assert min(best[1]) < silent[1] - 1e-5
    assert expected_silence(literal(1.02 * critical, "zlpr", reduction), n_tags) < 0.01
    require_safe(literal(0.98 * critical, "zlpr", reduction), n_tags)


def test_safe_losses_expect_silence_on_benign_flows() -> None:
    """Below the critical lambda, and for well-posed forms, P0 on benign flows is 1."""
    assert expected_silence(literal(0.1), 9) == 1.0
    assert expected_silence(LossSettings(lambda_=100.0), 9) == 1.0


@pytest.mark.parametrize("lambda_", [1 / 9, 1.0])
def test_the_refusal_names_what_a_user_needs(lambda_: float) -> None:
    """The message names L, the critical lambda and the P0 to expect."""
    with pytest.raises(UnsafeLoss) as refused:
        require_safe(literal(lambda_), 9)
    assert "L = 9" in str(refused.value)
    assert "critical lambda 0.1111" in str(refused.value)
    assert f"P0 = {expected_silence(literal(lambda_), 9):.3g}" in str(refused.value)


@pytest.mark.parametrize("base", ["focal", "asymmetric"])
def test_bases_that_forgive_are_refused_at_any_lambda_but_0(base: str) -> None:
    """On focal and asymmetric bases no lambda above 0 is safe."""
    with pytest.raises(UnsafeLoss, match="no lambda is safe"):
        require_safe(literal(0.001, base), 9)
    assert expected_silence(literal(0.05, base), 9) < 0.5
    require_safe(literal(0.0, base), 9)


def test_safe_and_overridden_losses_pass() -> None:
    """Below the critical lambda, for well-posed forms at any lambda, and with the override, nothing is refused."""
    require_safe(literal(0.1), 9)
    require_safe(literal(0.99, reduction="sum"), 9)
    require_safe(LossSettings(lambda_=1e6), 9)
    require_safe(LossSettings("bce", "literal", 1.0, allow_unsafe=True), 9)
