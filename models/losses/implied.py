"""The decision threshold a penalty implies: what it buys at a fixed cut of 0.5, in closed form."""

import math

from models.losses.guard import relative_weight
from models.losses.settings import LossSettings


def implied_threshold(settings: LossSettings, n_tags: int) -> float:
    """Return the true probability of a tag at which the trained model answers exactly 0.5, other tags being silent.

    A penalty on silence mostly moves the decision threshold: a flow fires at 0.5 as soon as its tag is this likely. The
    table it reproduces for cross-entropy: none and event_nll 1/2, bounded 2 / (4 + lambda), hit and event
    1 / (2 + lambda), literal (1 - u) / 2 with u = lambda * L (averaged) or lambda (summed).

    Args:
        settings: The loss; bounded with lambda 3 gives 2/7 = 0.2857.
        n_tags: Number of tags, which matters to ``literal`` alone.

    Returns:
        Probability in [0, 0.5]; 0 where the loss fires on everything.
    """
    slope = _base_slope(settings)
    lambda_ = settings.lambda_
    if settings.penalty == "bounded":
        return slope / (2 * slope + lambda_ / 4)
    if settings.penalty in ("hit", "event"):
        return slope / (2 * slope + lambda_ / 2)
    if settings.penalty == "literal":
        return max(0.0, 0.5 - relative_weight(settings, n_tags) / (4 * slope))
    return 0.5


def _base_slope(settings: LossSettings) -> float:
    """Return the base's gradient at logit 0 for an absent tag; a present tag has its negative."""
    if settings.base == "bce":
        return 0.5
    gamma = settings.focal_gamma
    return settings.focal_alpha * 0.5**gamma * (1 + gamma * math.log(2)) / 2
