"""Local flows: split by time, table by table, and an even share where there are very many."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from features.errors import InputError
from models.detector import Detector
from pipeline.adapting import local_flows
from pipeline.adapting.local_flows import read_labelled, read_local, require_enough
from pipeline.train import DETECTOR
from tests.pipeline.conftest import World


@pytest.fixture(scope="module")
def detector(world: World) -> Detector:
    return Detector.load(world.trained.path / DETECTOR)


def test_each_table_gives_its_last_part(world: World, detector: Detector) -> None:
    """Of two tables each gives its last fifth by start; sources have one number in both, and their address."""
    tables = [world.flows[name].path for name in ("demo-train", "demo-score")]
    split = read_local(tables, detector, 0.2, 0.01)
    rows = [pq.read_metadata(table).num_rows for table in tables]
    assert len(split.held_out) == sum(int(0.2 * count) for count in rows)
    assert len(split.used) + len(split.held_out) == sum(rows)
    first = pq.read_table(tables[0], columns=["start", "src_ip", "duration_s"]).sort_by("start")
    kept = rows[0] - int(0.2 * rows[0])
    addresses = [split.used.names[at] for at in split.used.sources[:kept]]
    assert sorted(addresses) == sorted(first["src_ip"].to_pylist()[:kept])
    lasted = split.used.features[:kept, detector.card.feature_names.index("duration_s")]
    np.testing.assert_allclose(np.sort(lasted), np.sort(first["duration_s"].to_numpy()[:kept]), rtol=1e-6)


def test_of_very_many_an_even_share(world: World, detector: Detector, monkeypatch: pytest.MonkeyPatch) -> None:
    """With room for 300 flows every n-th is read, across the whole table."""
    table = world.flows["demo-score"].path
    monkeypatch.setattr(local_flows, "MOST_FLOWS", 300)
    rows = pq.read_metadata(table).num_rows
    split = read_local([table], detector, 0.2, 0.01)
    step = -(-rows // 300)
    assert len(split.used) + len(split.held_out) == -(-rows // step)


def test_labelled_flows_are_split_likewise(world: World, detector: Detector) -> None:
    """The last fifth by start judges, with its tags."""
    path = world.labelled["demo-score"].path
    learn, judge = read_labelled([path], detector, 0.2)
    whole = pq.read_table(path, columns=["start", "tags"]).sort_by("start")
    attack = np.array([bool(tags) for tags in whole["tags"].to_pylist()])
    assert len(judge) == int(0.2 * len(attack))
    assert int(learn.attack.sum()) + int(judge.attack.sum()) == int(attack.sum())
    assert int(judge.attack.sum()) == pytest.approx(int(attack[len(learn) :].sum()), abs=2)
    assert len(read_labelled([], detector, 0.2)[0]) == 0


@pytest.mark.parametrize(("used", "budget", "needed"), [(999, 0.001, "1,250"), (0, 0.0, "2")])
def test_too_few(used: int, budget: float, needed: str) -> None:
    """A budget of one in a thousand needs a thousand flows to adapt by, which is 1,250 with those held out."""
    with pytest.raises(InputError, match=needed):
        require_enough(used, 0.2, budget)
    require_enough(1_000, 0.2, budget)
