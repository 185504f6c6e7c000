"""A first fit by halves of the background: which of its flows fire to a network that learned the other half alone.

What was learned as benign does not fire any more, an attack no more than anything else. So before the training proper
two short ones each learn one half of the sources; what fires to the one that has not seen it may be an attack.
"""

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from models.background import Background
from models.dataset import TagDataset
from models.firing import any_fired
from models.prediction import network_scores
from models.scored_flows import ScoredFlows
from models.thresholds import ThresholdSettings
from models.training import TrainingSettings, train_network
from pipeline.progress import Step, advance

SHORTER = 3
WORK = "first fit by halves of the background"


def with_first_fit(
    background: Background, sets: tuple[TagDataset, TagDataset], training: TrainingSettings, cuts: ThresholdSettings
) -> Background:
    """Return the background with what fires unlearned noted; as it is where all of it is of one source.

    Args:
        background: Its learned flows are tried.
        sets: Labelled flows to learn from, and others to choose thresholds on.
        training: Loss, network and schedule; a third of the epochs are trained.
        cuts: How thresholds are chosen.

    Raises:
        ModelError: As `train_network` and `choose_thresholds` say.
    """
    if len(np.unique(background.half)) < 2:
        return background
    short = replace(training, epochs=max(1, training.epochs // SHORTER))
    unlearned = np.zeros(len(background.learned), np.bool_)
    for half in (0, 1):
        unlearned[background.half == half] = _fired_by_others(background, half, sets, short, cuts)
        advance(Step(WORK, half + 1, 2, "halves"))
    return replace(background, unlearned=unlearned)


def _fired_by_others(
    background: Background,
    half: int,
    sets: tuple[TagDataset, TagDataset],
    training: TrainingSettings,
    cuts: ThresholdSettings,
) -> npt.NDArray[np.bool_]:
    """Return on which flows of one half a network fires that learned the other."""
    train, valid = sets
    seen = train.followed_by(background.learned.rows(background.half != half))
    network = train_network(seen, valid, training).network
    scores = valid.judged(network_scores(network, valid.features))
    chosen = ScoredFlows(valid.tags, scores).thresholds(cuts).cuts
    strange = background.learned.rows(background.half == half)
    return any_fired(network_scores(network, strange.features), chosen)
