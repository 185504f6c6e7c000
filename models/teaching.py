"""Boosted trees as teachers: a network learns what they answer for the flows it learns from, beside what is true.

On tables whose test flows are like their training flows trees are ahead of networks, and a network comes nearer to them
when its targets are drawn towards their answers, which say how sure one may be of a flow (Hinton et al. 2015). On
captures of other hours and networks trees are the worse ones. So whoever trains asks them only where they were better
on the validation flows.
"""

from dataclasses import replace

import numpy as np

from models.boosting import BoostedTags
from models.dataset import TagDataset
from models.training import TrainingSettings

FASTER = 2.0
"""A network that trees beat on flows like its own has learned too little. Its targets vary less than tags between like
flows, so that its steps may be longer (Hinton et al. 2015)."""

WORTH = 0.01
"""By so much more mean average precision trees must be better: less may be chance, and networks travel better."""


def teach(theirs: float | None, alone: float | None) -> bool:
    """Tell whether a network should learn from trees.

    Args:
        theirs: The trees' mean average precision on the validation flows; None where no tag has flows there.
        alone: That of a network that learned from what is true alone.
    """
    return theirs is not None and theirs >= (alone or 0.0) + WORTH


def taught(flows: TagDataset, trees: BoostedTags, settings: TrainingSettings) -> tuple[TagDataset, TrainingSettings]:
    """Return flows whose targets are drawn towards the answers of trees, and how to train on them.

    Args:
        flows: To learn from.
        trees: Grown on them.
        settings: How far targets are drawn; what is true stays on its side of 1/2, where penalties look for it.
    """
    answers = trees.score(flows.features)
    soft = (1 - settings.taught) * flows.tags.astype(np.float32) + settings.taught * answers
    return replace(flows, soft=soft), replace(settings, learning_rate=FASTER * settings.learning_rate)
