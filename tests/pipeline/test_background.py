"""Tables of other networks to flows that join a training."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from mlflow import MlflowClient

from features.errors import InputError
from features.schema import arrow_schema
from features.table import write_table
from models.background import BackgroundSettings
from models.dataset import TagDataset
from models.detector import Detector
from pipeline.background import read_background
from pipeline.examine import TEXT, examine
from pipeline.register import register
from pipeline.registered import Champion
from pipeline.settings import Settings
from pipeline.train import DETECTOR, Tables, train
from tests.pipeline.conftest import World
from tests.pipeline.small_captures import NAMES as NAMES_OF_CAPTURES

NAMES = ("fwd_packets", "duration_s")


def labelled(flows: int) -> TagDataset:
    return TagDataset(np.ones((flows, 2), np.float32), np.zeros((flows, 1), np.uint8), NAMES, ("scan",))


def table(folder: Path, name: str, flows: int, first: int = 0, tags: Sequence[list[str]] | None = None) -> Path:
    """Write a table whose flows are numbered by their forward packets, in the order of their start."""
    schema = arrow_schema()
    numbers = list(range(first, first + flows))
    known = {
        "capture": pa.array([f"{name}.pcap"] * flows),
        "src_ip": pa.array([f"10.0.0.{number % 3}" for number in numbers]),
        "start": pa.array([number * 1_000_000_000 for number in numbers], pa.int64()),
        "fwd_packets": pa.array(numbers),
        "duration_s": pa.array([1.0] * flows),
    }
    columns = [known.get(field.name, pa.nulls(flows)).cast(field.type) for field in schema]
    if tags is not None:
        for field, values in (
            (pa.field("tags", pa.list_(pa.string())), tags),
            (pa.field("rules", pa.list_(pa.string())), tags),
        ):
            schema, columns = schema.append(field), [*columns, pa.array(values, field.type)]
    path = folder / f"{name}.parquet"
    write_table([pa.RecordBatch.from_arrays(columns, schema=schema)], path, schema)
    return path


def packets(flows: TagDataset) -> list[float]:
    return flows.features[:, 0].tolist()


def test_one_source_is_parted_by_time(tmp_path: Path) -> None:
    """Of 100 flows of one capture the last 20 are held out, and every flow is counted."""
    found, counts = read_background([table(tmp_path, "one", 100)], labelled(1_000), BackgroundSettings())
    assert packets(found.learned) == list(range(80))
    assert packets(found.held_out) == list(range(80, 100))
    assert counts == {"sources": 1, "learned": 80, "held_out": 20, "tagged": 0, "over_share": 0}
    assert found.senders.names[found.senders.of_flow[4]] == "one.pcap, 10.0.0.1"


def test_whole_sources_are_held_out(tmp_path: Path) -> None:
    """Of five sources the third largest is held out, whole, whatever the order in which they are named."""
    sizes = {"a": 20, "b": 50, "c": 30, "d": 40, "e": 60}
    tables = [table(tmp_path, name, size, 1_000 * at) for at, (name, size) in enumerate(sizes.items())]
    found, counts = read_background(tables, labelled(1_000), BackgroundSettings())
    assert packets(found.held_out) == list(range(3_000, 3_040))
    assert (counts["learned"], counts["held_out"], counts["sources"]) == (160, 40, 5)
    again, _ = read_background(tables[::-1], labelled(1_000), BackgroundSettings())
    assert packets(again.held_out) == packets(found.held_out)


def test_no_source_drowns_the_others(tmp_path: Path) -> None:
    """With 100 labelled flows and a share of a half 100 are learned: all of the small source, 76 of the big one."""
    tables = [table(tmp_path, "big", 10_000), table(tmp_path, "small", 30, 20_000)]
    found, counts = read_background(tables, labelled(100), BackgroundSettings(share=0.5))
    learned = np.array(packets(found.learned))
    assert (learned >= 20_000).sum() == 24
    big = learned[learned < 20_000]
    assert len(big) == 76
    assert np.ptp(np.diff(big)) <= 1
    assert counts["learned"] + counts["held_out"] + counts["over_share"] == 10_030


def test_flows_with_tags_are_left_out(tmp_path: Path) -> None:
    """A labelled table may be named; what carries a tag is no background, and counted."""
    tags = [["scan"] if number % 10 == 0 else [] for number in range(100)]
    found, counts = read_background([table(tmp_path, "one", 100, tags=tags)], labelled(1_000), BackgroundSettings())
    assert counts["tagged"] == 10
    assert not any(number % 10 == 0 for number in packets(found.learned) + packets(found.held_out))
    assert not found.learned.attack.any()


@pytest.mark.parametrize("flows", [0, 12])
def test_too_little_of_it(tmp_path: Path, flows: int) -> None:
    """A handful of flows, or none, is refused with their number."""
    with pytest.raises(InputError, match="too little background"):
        read_background([table(tmp_path, "one", flows)], labelled(1_000), BackgroundSettings())


def test_a_training_with_background(world: World, settings: Settings) -> None:
    """It is counted, kept to the budget, and shown in the card and the run; the guard knows both kinds of traffic."""
    tables = Tables(*([world.labelled[name].path] for name in ("demo-train", "demo-valid", "demo-score")))
    trained = train(tables, settings)
    score = world.labelled["demo-score"].counts
    counts = {name: trained.counts[f"background.{name}"] for name in ("learned", "held_out", "tagged", "over_share")}
    assert counts["tagged"] == score["attack"]
    assert counts["learned"] + counts["held_out"] + counts["over_share"] == score["benign"]
    detector = Detector.load(trained.path / DETECTOR)
    assert detector.card.background["learned"] == counts["learned"]
    assert detector.card.background["false_alarm_rate"] <= max(0.01, 1 / counts["held_out"])
    assert detector.card.thresholds.false_alarm_rate <= 0.01
    assert detector.card.settings["background"] == BackgroundSettings().to_dict()
    assert detector.validation is not None
    assert detector.validation.background is not None
    assert len(detector.validation.background) == counts["held_out"]
    assert detector.familiarity is not None
    assert (len(detector.familiarity.known), detector.familiarity.trained) == (2, 2)
    registered = register(trained, tables, settings)
    run = MlflowClient(settings.tracking_uri).get_run(registered.run_id)
    rate = detector.card.background["false_alarm_rate"]
    assert run.data.metrics["detector.background.false_alarm_rate"] == pytest.approx(rate)
    assert run.data.params["background.share"] == "0.5"
    assert {one.dataset.name for one in run.inputs.dataset_inputs} == set(NAMES_OF_CAPTURES)
    examined = examine(world.labelled["demo-score"].path, Champion(trained.path / DETECTOR, "flowtag", 1), settings)
    line = f"on {counts['held_out']:,} held-out flows of other networks: {rate:.2%}"
    assert line in (examined.path / TEXT).read_text()


def test_the_same_flows_in_two_roles(world: World) -> None:
    """Labelled traffic cannot be its own background."""
    one, other = (world.labelled[name].path for name in ("demo-train", "demo-valid"))
    with pytest.raises(InputError, match="as background"):
        train(Tables([one], [other], [other]), world.settings)
