"""The losses of docs/silence.md as families of one candidate: the default network, trained by each."""

from dataclasses import replace

from benchmarks.learning.learners import Candidate, network_candidate
from models.losses import LossSettings
from models.training import TrainingSettings

LOSSES = {
    "cross-entropy": LossSettings(penalty="none"),
    "literal, lambda 0.05": LossSettings(penalty="literal", lambda_=0.05),
    "literal, lambda 1": LossSettings(penalty="literal", lambda_=1.0, allow_unsafe=True),
    "bounded, lambda 3": LossSettings(),
    "hit, lambda 3": LossSettings(penalty="hit"),
    "event, lambda 3": LossSettings(penalty="event"),
    "hurdle": LossSettings(penalty="hurdle"),
    "focal": LossSettings(base="focal", penalty="none"),
    "asymmetric": LossSettings(base="asymmetric", penalty="none"),
    "ZLPR": LossSettings(base="zlpr", penalty="none"),
}


def loss_families() -> dict[str, tuple[Candidate, ...]]:
    """Return one family for each loss, in the order of the report."""
    alone = TrainingSettings(taught=0.0)
    return {name: (network_candidate(replace(alone, loss=loss)),) for name, loss in LOSSES.items()}
