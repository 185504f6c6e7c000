"""Boosted trees as teachers: a network learns what they answer for the flows it learns from, beside what is true.

On tables whose test flows are like their training flows trees are ahead of networks, and a network comes nearer to them
when its targets are drawn towards their answers, which say how sure one may be of a flow (Hinton et al. 2015). On
captures of other hours and networks trees are the worse ones. So they are asked only where they were better on the
validation flows.
"""

from dataclasses import replace

import numpy as np

from models.boosting import BoostedTags
from models.dataset import TagDataset


def taught(flows: TagDataset, trees: BoostedTags, share: float) -> TagDataset:
    """Return flows whose targets are drawn towards the answers of trees.

    Args:
        flows: To learn from.
        trees: Grown on them.
        share: How far, in [0, 1/2): what is true stays on its side of 1/2, where penalties look for it.
    """
    answers = trees.score(flows.features)
    return replace(flows, soft=((1 - share) * flows.tags + share * answers).astype(np.float32))
