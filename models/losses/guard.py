"""When the published penalty makes firing on every flow the best answer, and the refusal to train with it.

With the base averaged over L tags, the coefficient of log(1 - p_i) on a benign row is lambda - 1/L: from lambda = 1/L
on, the loss pays for firing, and its optimum on benign rows is P0 = eps / (u - 1) with u = lambda * L. With the base
summed over tags the critical lambda is 1 and u = lambda. On a focal or asymmetric base no lambda above 0 is safe,
because the base's gradient on benign rows vanishes faster than the penalty's. ZLPR charges the logarithm of a sum where
cross-entropy charges a sum of logarithms, so that firing on all tags at once is cheap: its critical lambda is found by
search, a quarter of cross-entropy's at 9 tags.
"""

import numpy as np
import numpy.typing as npt

from features.errors import UnsafeLoss
from models.losses.settings import LossSettings

Values = npt.NDArray[np.float64]


def relative_weight(settings: LossSettings, n_tags: int) -> float:
    """Return u, the literal penalty's weight against the base's term of one tag: lambda * L averaged, lambda summed."""
    return settings.lambda_ * n_tags if settings.reduction == "mean" else settings.lambda_


def critical_lambda(settings: LossSettings, n_tags: int) -> float:
    """Return the least lambda at which the loss pays for firing on benign rows; infinity for the well-posed forms."""
    if settings.penalty != "literal":
        return float("inf")
    if settings.base in ("focal", "asymmetric"):
        return 0.0
    if settings.base == "zlpr":
        return _break_even(settings, n_tags)
    return 1.0 / n_tags if settings.reduction == "mean" else 1.0


def expected_silence(settings: LossSettings, n_tags: int) -> float:
    """Return P0 on benign rows at the literal loss's optimum: 1 where it is safe, towards 0 where it has collapsed.

    With 9 averaged tags, lambda 1 and eps 1e-7: 1e-7 / (9 - 1) = 1.25e-8.
    """
    if settings.penalty != "literal" or settings.lambda_ == 0:
        return 1.0
    if settings.base != "bce":
        return _optimum(settings, n_tags)
    excess = relative_weight(settings, n_tags) - 1.0
    return min(1.0, settings.literal_eps / excess) if excess > 0 else 1.0


def require_safe(settings: LossSettings, n_tags: int) -> None:
    """Refuse a loss whose optimum is to fire on every flow, unless the settings allow it.

    Raises:
        UnsafeLoss: Names the number of tags, the critical lambda and the P0 to expect on benign flows.
    """
    critical = critical_lambda(settings, n_tags)
    if settings.allow_unsafe or settings.lambda_ == 0 or settings.lambda_ < critical:
        return
    raise UnsafeLoss(
        f"the literal penalty with lambda {settings.lambda_:g} is minimised by firing on every flow: on benign flows "
        f"expect P0 = {expected_silence(settings, n_tags):.3g}, the probability of no tag at the loss's optimum",
        f"loss {settings.base} ({settings.reduction} over tags) + literal, L = {n_tags} tags",
        f"lambda below the critical lambda {critical:.4g}"
        if critical > 0
        else "critical lambda 0: no lambda is safe here",
        f"lambda {settings.lambda_:g}",
        "use penalty 'bounded' (safe at any lambda), or set allow_unsafe to reproduce the collapse",
    )


def _optimum(settings: LossSettings, n_tags: int) -> float:
    """Return the optimal P0 on a benign row of equal logits, by search: other bases have no closed form."""
    base, log_p0 = _benign_rows(settings, n_tags)
    cost = base + settings.lambda_ * np.logaddexp(log_p0, np.log(settings.literal_eps))
    return float(np.exp(log_p0[int(np.argmin(cost))]))


def _break_even(settings: LossSettings, n_tags: int) -> float:
    """Return the least lambda at which some benign row of equal logits costs no more than a silent one.

    Equal logits are the cheapest way to any P0, because the sum in ZLPR is least where its terms are equal.
    """
    base, log_p0 = _benign_rows(settings, n_tags)
    gain = np.log1p(settings.literal_eps) - np.logaddexp(log_p0, np.log(settings.literal_eps))
    return float((base / gain).min())


def _benign_rows(settings: LossSettings, n_tags: int) -> tuple[Values, Values]:
    """Return what the base charges benign rows of equal logits from -15 to 60, and their log P0."""
    logit = np.linspace(-15.0, 60.0, 30_001)
    softplus = np.logaddexp(0.0, logit)
    log_p = logit - softplus
    if settings.base == "zlpr":
        row = np.logaddexp(0.0, np.log(n_tags) + logit)
    elif settings.base == "focal":
        row = n_tags * settings.focal_alpha * np.exp(settings.focal_gamma * log_p) * softplus
    else:
        beyond = np.maximum(np.exp(log_p) - settings.margin, 0.0)
        # 1 - p + margin, without the cancellation that makes 1 - p vanish
        row = n_tags * beyond**settings.negative_gamma * -np.log(np.minimum(np.exp(-softplus) + settings.margin, 1.0))
    return row / (n_tags if settings.reduction == "mean" else 1), -n_tags * softplus
