"""Which tags are taken for which others."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.firing import Fired
from models.metrics import Tags


@dataclass(frozen=True)
class Confusion:
    """A tag that fired where it is not true, on flows that carry another.

    Attributes:
        true: The tag the flows carry.
        fired: The tag that fired and is not true.
        flows: How many flows.
        share: Of the flows that carry ``true``, in (0, 1].
    """

    true: str
    fired: str
    flows: int
    share: float


def confusions(tags: Tags, fired: Fired, tag_names: Sequence[str]) -> tuple[Confusion, ...]:
    """Return every pair that occurs, most flows first; arguments of shape (n_flows, n_tags)."""
    truth = tags.astype(np.int64)
    flows = truth.T @ (fired & (truth == 0))
    positives = truth.sum(axis=0)
    ordered = sorted(zip(*np.nonzero(flows), strict=True), key=lambda pair: -int(flows[pair]))
    return tuple(
        Confusion(
            tag_names[true], tag_names[wrong], int(flows[true, wrong]), float(flows[true, wrong] / positives[true])
        )
        for true, wrong in ordered
    )
