"""What `flowtag evaluate` says."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.errors import SchemaError
from pipeline.evaluate import evaluate
from pipeline.examine import EXAMINED, TEXT, examine
from pipeline.register import champion
from pipeline.settings import Settings
from tests.pipeline.conftest import World


def test_all_figures_of_all_contenders(world: World) -> None:
    """Figures are those of the evaluation stage; intervals hold them; more alarms never mean more silence."""
    labelled, detector = world.labelled["demo-score"], champion(world.settings)
    result = examine(labelled.path, detector, world.settings)
    found = json.loads((result.path / EXAMINED).read_text())
    plain = json.loads(evaluate(labelled.path, detector.folder, world.settings).path.read_text())
    assert list(found["contenders"]) == list(plain) == ["detector", "plain_bce", "boosting"]
    for name, figures in found["contenders"].items():
        assert {key: figures[key] for key in plain[name]} == plain[name]
        low, high = figures["intervals"]["silent_rate"]
        assert low <= figures["silent_rate"] <= high
        silent = [one["silent_rate"] for one in figures["at_budgets"]]
        assert silent == sorted(silent, reverse=True)
    first = found["contenders"]["detector"]
    for kind in ("scores", "probabilities"):
        read = first["calibration"][kind]
        assert sum(one["pairs"] for one in read["reliability"]) == first["flows"] * len(first["tags"])
        assert {tag["name"] for tag in first["tags"] if tag["positives"]} == {
            name for name, error in read["tags"].items() if error is not None
        }
    assert first["calibration"]["scores"]["error"] == first["calibration_error"]
    assert list(found["contenders"]["plain_bce"]["calibration"]) == ["scores"]
    alarms = first["false_alarms_per_hour"] * found["hours"]
    assert math.isclose(alarms, first["false_alarm_rate"] * first["benign_flows"], abs_tol=1e-6)
    assert [one["budget"] for one in found["rechosen"]] == [0.0005, 0.001, 0.005, 0.01, 0.05]
    assert examine(labelled.path, detector, world.settings) == replace(result, reused=True)


def test_the_text_says_the_same(world: World) -> None:
    """The text names flows, contenders, tags with positives, budgets and hours."""
    labelled, detector = world.labelled["demo-score"], champion(world.settings)
    text = (examine(labelled.path, detector, world.settings).path / TEXT).read_text()
    told = (f"{labelled.counts['attack']:,} attack flows", "boosted trees", "port_scan", "0.10%", "per hour")
    for words in (*told, "Reliability", "all pairs"):
        assert words in text
    assert max(map(len, text.splitlines())) <= 160


def test_flows_without_times(world: World, settings: Settings, tmp_path: Path) -> None:
    """Flow records that name no times are examined without intervals, and that is said rather than 0 hours."""
    flows = pq.read_table(world.labelled["demo-score"].path)
    for name in ("start", "end"):
        at = flows.schema.get_field_index(name)
        flows = flows.set_column(at, flows.schema.field(at), pa.nulls(len(flows), flows.schema.field(at).type))
    pq.write_table(flows, tmp_path / "timeless.parquet")
    made = examine(tmp_path / "timeless.parquet", champion(world.settings), settings)
    assert (made.path / TEXT).read_text().splitlines()[1] == "flows without times, scored with flowtag version 1"


def test_without_labels(world: World, settings: Settings) -> None:
    """A table without labels has no truth to compare with."""
    with pytest.raises(SchemaError, match="no labels"):
        examine(world.flows["demo-score"].path, champion(world.settings), settings)
