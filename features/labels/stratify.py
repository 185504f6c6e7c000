"""Which part each item goes to: iterative stratification, so that rare tags are spread by share before common ones.

Source: Sechidis, Tsoumakas, Vlahavas, On the Stratification of Multi-Label Data, ECML PKDD 2011. Items are rows, or
groups of rows such as hosts that stay together; a group weighs as much as its rows.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]


def stratified(sizes: Ints, tags: Ints, shares: Sequence[float], seed: int) -> npt.NDArray[np.int8]:
    """Return the part of each item, shape (n_items,).

    Args:
        sizes: Rows of each item, shape (n_items,).
        tags: Rows of each item that carry each tag, shape (n_items, n_tags).
        shares: Of each part, summing to 1.
        seed: Of the order of equal items; the same seed gives the same parts.
    """
    parts = np.full(len(sizes), -1, np.int8)
    shuffled = np.random.default_rng(seed).permutation(len(sizes))
    wanted_rows = np.asarray(shares, float) * sizes.sum()
    wanted_tags = np.outer(shares, tags.sum(axis=0)).astype(float)
    remaining = tags.sum(axis=0)
    while remaining.any():
        rarest = int(np.argmin(np.where(remaining > 0, remaining, np.iinfo(np.int64).max)))
        holding = shuffled[(tags[shuffled, rarest] > 0) & (parts[shuffled] < 0)]
        for item in holding[np.argsort(-tags[holding, rarest], kind="stable")].tolist():
            neediest = np.flatnonzero(wanted_tags[:, rarest] == wanted_tags[:, rarest].max())
            part = int(neediest[np.argmax(wanted_rows[neediest])])
            parts[item] = part
            wanted_tags[part] -= tags[item]
            wanted_rows[part] -= sizes[item]
            remaining = remaining - tags[item]
    _fill(parts, sizes, shuffled[parts[shuffled] < 0], wanted_rows)
    return parts


def _fill(
    parts: npt.NDArray[np.int8], sizes: Ints, items: npt.NDArray[np.intp], wanted: npt.NDArray[np.float64]
) -> None:
    """Put items without tags where rows are wanting: single rows all at once, groups one by one, the largest first."""
    if len(items) and sizes[items].max() == 1:
        positive = np.maximum(wanted, 0)
        cuts = np.cumsum(positive) / max(positive.sum(), 1e-9) * len(items)
        parts[items] = np.searchsorted(cuts[:-1], np.arange(len(items)) + 0.5)
        return
    for item in items[np.argsort(-sizes[items], kind="stable")].tolist():
        part = int(np.argmax(wanted))
        parts[item] = part
        wanted[part] -= sizes[item]
