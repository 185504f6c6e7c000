"""A first fit by halves: attacks among the background fire to a network that has not learned them."""

import numpy as np
import pytest

from models.background import Background, BackgroundSettings, Senders
from models.dataset import TagDataset
from models.network import NetworkSettings
from models.thresholds import ThresholdSettings
from models.training import TrainingSettings
from pipeline.first_fit import with_first_fit

QUICK = TrainingSettings(
    epochs=24,
    batch_size=32,
    learning_rate=0.01,
    network=NetworkSettings(members=1, widths=(16,), pace_jitter=(0.0, 0.0, 0.0)),
)
CUTS = ThresholdSettings(false_alarm_budget=0.01)


def drawn(seed: int, attack: list[bool]) -> TagDataset:
    """Return flows of three columns, those of attacks about 6 deviations away from the others."""
    random, far = np.random.default_rng(seed), np.array(attack)
    features = np.exp(random.normal(size=(len(attack), 3)) + 6.0 * far[:, None]).astype(np.float32)
    return TagDataset(features, far[:, None].astype(np.uint8), ("a", "b", "c"), ("scan",))


def labelled(seed: int) -> TagDataset:
    return drawn(seed, [number % 4 == 0 for number in range(400)])


def background(attacks_in_half: int, halves: int = 2) -> Background:
    """Return 40 learned flows of each of four senders, two in a half; those of one sender are attacks."""
    sender = np.repeat(np.arange(4), 40)
    half = sender // 2 if halves == 2 else np.zeros(160, np.int64)
    hidden = drawn(7, (sender == 2 * attacks_in_half).tolist())
    learned = TagDataset(hidden.features, np.zeros_like(hidden.tags), hidden.feature_names, hidden.tag_names)
    held_out = learned.rows(np.zeros(0, np.intp))
    return Background(learned, held_out, Senders(sender, tuple("wxyz")), half, BackgroundSettings())


@pytest.mark.parametrize("half", [0, 1])
def test_an_attack_among_the_background_is_named(half: int) -> None:
    """All flows of the attacker fire though they are to be learned as benign, and he alone is named."""
    tried = with_first_fit(background(half), (labelled(1), labelled(2)), QUICK, CUTS)
    assert tried.unlearned is not None
    told = tried.told(np.zeros(160, np.bool_))
    assert [one["sender"] for one in told["firing"]] == ["wy"[half]]
    assert told["firing"][0]["fired"] >= 38
    assert told["false_alarm_rate"] is None


def test_a_single_source_has_no_other_half() -> None:
    """Nothing is tried, because a network without any background fires on all that is strange to it."""
    whole = background(0, halves=1)
    assert with_first_fit(whole, (labelled(1), labelled(2)), QUICK, CUTS) is whole
