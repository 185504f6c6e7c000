"""When the published penalty makes firing on every flow the best answer, and the refusal to train with it.

With the base averaged over L tags, the coefficient of log(1 - p_i) on a benign row is lambda - 1/L: from lambda = 1/L
on, the loss pays for firing, and its optimum on benign rows is P0 = eps / (u - 1) with u = lambda * L. With the base
summed over tags the critical lambda is 1 and u = lambda. On a focal base no lambda above 0 is safe, because the
base's gradient on benign rows vanishes faster than the penalty's.
"""

import numpy as np

from features.errors import UnsafeLoss
from models.losses.settings import LossSettings


def relative_weight(settings: LossSettings, n_tags: int) -> float:
    """Return u, the literal penalty's weight against the base's term of one tag: lambda * L averaged, lambda summed."""
    return settings.lambda_ * n_tags if settings.reduction == "mean" else settings.lambda_


def critical_lambda(settings: LossSettings, n_tags: int) -> float:
    """Return the least lambda at which the loss pays for firing on benign rows; infinity for the well-posed forms."""
    if settings.penalty != "literal":
        return float("inf")
    if settings.base == "focal":
        return 0.0
    return 1.0 / n_tags if settings.reduction == "mean" else 1.0


def expected_silence(settings: LossSettings, n_tags: int) -> float:
    """Return P0 on benign rows at the literal loss's optimum: 1 where it is safe, towards 0 where it has collapsed.

    With 9 averaged tags, lambda 1 and eps 1e-7: 1e-7 / (9 - 1) = 1.25e-8.
    """
    if settings.penalty != "literal" or settings.lambda_ == 0:
        return 1.0
    if settings.base == "focal":
        return _focal_optimum(settings, n_tags)
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


def _focal_optimum(settings: LossSettings, n_tags: int) -> float:
    """Return the optimal P0 on a benign row of equal logits, by search: focal has no closed form."""
    logit = np.linspace(-60.0, 60.0, 24_001)
    softplus = np.logaddexp(0.0, logit)
    tag_cost = settings.focal_alpha * np.exp(settings.focal_gamma * (logit - softplus)) * softplus
    log_p0 = -n_tags * softplus
    tags_counted = 1 if settings.reduction == "mean" else n_tags
    cost = tags_counted * tag_cost + settings.lambda_ * np.logaddexp(log_p0, np.log(settings.literal_eps))
    return float(np.exp(log_p0[int(np.argmin(cost))]))
