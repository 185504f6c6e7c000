"""The network: start values, members, and a file that a fresh process can load."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from features.errors import ConfigError
from models.dataset import TagDataset
from models.hurdle import tag_log_odds
from models.network import NetworkSettings, NetworkViews, build_network
from models.normaliser import measure
from models.prediction import network_logits
from models.training import TrainedNetwork

LOADER = """
import sys
import keras, numpy as np
import models.network
network = keras.saving.load_model(sys.argv[1], safe_mode=True)
np.save(sys.argv[2] + "/again.npy", network.predict(np.load(sys.argv[2] + "/features.npy"), verbose=0))
"""


def built(train: TagDataset, settings: NetworkSettings) -> NetworkViews:
    normalisation = measure(train.features, settings.transform, settings.clip)
    return build_network(normalisation, None, train.feature_names, tag_log_odds(train.tags), settings)


def test_an_untrained_network_answers_near_the_tags_shares(train: TagDataset) -> None:
    """With its hidden layers silenced the network answers each tag's log-odds."""
    views = built(train, NetworkSettings(members=2, widths=(8,)))
    output = views.mean.get_layer("tags")
    output.kernel.assign(np.zeros(output.kernel.shape))
    logits = network_logits(views.mean, train.features[:10])
    np.testing.assert_allclose(logits, np.tile(tag_log_odds(train.tags), (10, 1)), rtol=1e-5)


def test_the_mean_network_averages_the_members_logits(train: TagDataset) -> None:
    """Both views share weights, and one is the mean of the other."""
    views = built(train, NetworkSettings(members=3))
    members = network_logits(views.members, train.features)
    assert members.shape == (len(train), 3, 3)
    assert np.ptp(members, axis=1).max() > 0
    np.testing.assert_allclose(network_logits(views.mean, train.features), members.mean(axis=1), atol=1e-5)


def test_a_saved_network_loads_where_only_this_module_was_imported(
    trained: TrainedNetwork, valid: TagDataset, tmp_path: Path
) -> None:
    """A fresh process that imported models.network alone loads the file, in safe mode, and answers the same logits."""
    trained.network.save(tmp_path / "network.keras")
    np.save(tmp_path / "features.npy", valid.features)
    command = [sys.executable, "-c", LOADER, str(tmp_path / "network.keras"), str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True)  # noqa: S603 (our own interpreter and code)
    again = np.load(tmp_path / "again.npy")
    np.testing.assert_allclose(again, network_logits(trained.network, valid.features), atol=1e-5)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("members", 0),
        ("widths", (0,)),
        ("member_width", 0),
        ("ramps", -1),
        ("activation", "step"),
        ("dropout", 1.0),
        ("input_noise", -1.0),
        ("clip", 0.0),
    ],
)
def test_impossible_shapes_are_refused_by_name(field: str, value: object) -> None:
    """A value out of range is a configuration error that names it."""
    with pytest.raises(ConfigError, match=f"network.{field}"):
        NetworkSettings(**{field: value})  # type: ignore[arg-type]  # wrong on purpose


def test_plain_values_rebuild_the_settings() -> None:
    """to_dict holds everything there is to know, as JSON would bring it back."""
    settings = NetworkSettings(widths=(9, 8), members=2)
    plain = settings.to_dict()
    assert isinstance(plain["widths"], list)
    rebuilt = {**plain, **{name: tuple(part) for name, part in plain.items() if isinstance(part, list)}}
    assert NetworkSettings(**rebuilt) == settings
