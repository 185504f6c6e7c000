"""The decision threshold a penalty implies: what it buys at a fixed cut of 0.5, in closed form."""

import math

from models.losses.guard import relative_weight
from models.losses.settings import LossSettings


def implied_threshold(settings: LossSettings, n_tags: int) -> float:
    """Return the true probability of a tag at which the trained model answers exactly 0.5, other tags being silent.

    A penalty on silence mostly moves the decision threshold: a flow fires at 0.5 as soon as its tag is this likely. The
    table it reproduces for cross-entropy: none, event_nll and hurdle 1/2, bounded 2 / (4 + lambda), hit and event
    1 / (2 + lambda), literal (1 - u) / 2 with u = lambda * L (averaged) or lambda (summed). The asymmetric base moves
    it without any penalty: to 0.15 at its defaults.

    Args:
        settings: The loss; bounded with lambda 3 gives 2/7 = 0.2857.
        n_tags: Number of tags, which matters to ``literal`` alone.

    Returns:
        Probability in [0, 1]; 0 where the loss fires on everything.
    """
    absent, present = _slopes(settings)
    lambda_ = settings.lambda_
    if settings.penalty == "bounded":
        return absent / (absent + present + lambda_ / 4)
    if settings.penalty in ("hit", "event"):
        return absent / (absent + present + lambda_ / 2)
    if settings.penalty == "event_nll":
        return (absent + lambda_ / 2) / (absent + present + lambda_)
    if settings.penalty == "literal":
        return max(0.0, (absent - relative_weight(settings, n_tags) / 2) / (absent + present))
    return absent / (absent + present)


def _slopes(settings: LossSettings) -> tuple[float, float]:
    """Return how steeply the cost of an absent tag rises, and that of a true one falls, at logit 0."""
    if settings.base == "focal":
        slope = settings.focal_alpha * _slope(0.5, settings.focal_gamma)
        return slope, slope
    if settings.base == "asymmetric":
        beyond = max(0.5 - settings.margin, 0.0)
        return _slope(beyond, settings.negative_gamma), _slope(0.5, settings.positive_gamma)
    return 0.5, 0.5


def _slope(q: float, gamma: float) -> float:
    """Return d/dz of q^gamma * -log(1 - q), q moving with p, at p = 0.5 where dp/dz is 1/4; 0 at q = 0."""
    if q == 0:
        return 0.0
    return (gamma * q ** (gamma - 1) * -math.log1p(-q) + q**gamma / (1 - q)) / 4
