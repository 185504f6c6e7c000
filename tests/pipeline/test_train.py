"""Labelled tables to a detector and its contenders."""

import json
import logging
import operator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from features.errors import InputError, LabelError, SchemaError
from models.detector import Detector
from pipeline.progress import PROGRESS, Step
from pipeline.settings import Settings
from pipeline.train import DETECTOR, TRAINING_FILE, Tables, detector_folder, modules_needed, plan, train
from tests.pipeline.conftest import World


def tables(world: World) -> Tables:
    return Tables([world.labelled["demo-train"].path], [world.labelled["demo-valid"].path])


def test_flows_are_counted_by_role(world: World) -> None:
    """Rows are the flows learned from, and each set is counted as attack and benign."""
    counts = world.trained.counts
    for role in ("train", "valid"):
        made = world.labelled[f"demo-{role}"]
        assert (counts[f"{role}.attack"], counts[f"{role}.benign"]) == (made.counts["attack"], made.counts["benign"])
    assert world.trained.rows == world.labelled["demo-train"].rows


def test_second_time_it_is_used_again(world: World) -> None:
    """The same tables and settings give the finished contenders, in no time."""
    assert train(tables(world), world.settings) == replace(world.trained, reused=True)


def test_what_is_written(world: World) -> None:
    """The folder holds the detector, plain cross-entropy cut at 0.5, trees, and how each came about."""
    folder = world.trained.path
    assert folder == detector_folder(world.settings)
    detector, plain = (Detector.load(folder / name) for name in (DETECTOR, "plain_bce"))
    assert detector.card.settings["training"]["loss"]["penalty"] == "bounded"
    assert plain.card.settings["training"]["loss"]["penalty"] == "none"
    assert set(plain.card.thresholds.values) == {0.5}
    told = pq.read_schema(world.labelled["demo-train"].path).metadata[b"flowtag.vocabulary"].decode()
    assert detector.card.vocabulary == plain.card.vocabulary == told
    notes = json.loads((folder / TRAINING_FILE).read_text())
    assert list(notes) == ["detector", "plain_bce", "boosting"]
    assert [len(notes[name]["history"]) for name in ("detector", "plain_bce")] == [6, 6]
    assert notes["detector"]["validation"]["flows"] == world.labelled["demo-valid"].rows
    assert notes["detector"]["validation"] == json.loads(json.dumps(detector.card.validation))


def test_thresholds_keep_the_budget(world: World) -> None:
    """On the validation flows no more than one benign flow in a hundred fires."""
    notes = json.loads((world.trained.path / TRAINING_FILE).read_text())
    assert notes["detector"]["validation"]["false_alarm_rate"] <= 0.01


@pytest.mark.parametrize(
    ("section", "values"),
    [
        ("training", {"seed": 2}),
        ("thresholds", {"least_positives": 9}),
        ("loss", {"lambda_": 1.0}),
        ("network", {"clip": 5.0}),
    ],
)
def test_each_section_counts(world: World, section: str, values: dict[str, float]) -> None:
    """Another setting of any section that training reads asks for another detector."""
    changed = getattr(world.settings, section).model_copy(update=values)
    other = world.settings.model_copy(update={section: changed})
    assert plan(tables(world), other).key != plan(tables(world), world.settings).key


def test_the_same_flows_twice(world: World, settings: Settings) -> None:
    """Thresholds cannot be chosen on the flows that were learned from."""
    one = world.labelled["demo-train"].path
    with pytest.raises(InputError, match="same flows"):
        train(Tables([one], [one]), settings)


class _Killer(logging.Handler):
    """Ends the process, as it were, when a training has come so far."""

    def emit(self, record: logging.LogRecord) -> None:
        step: Step = record.__dict__["step"]
        if step.work.startswith("training with") and step.done == 2:
            raise KeyboardInterrupt


def test_a_killed_training_goes_on(world: World, settings: Settings) -> None:
    """Killed in the second network, the next call goes on there, and ends in the weights it would have had."""
    progress, killer = logging.getLogger(PROGRESS), _Killer(logging.INFO)
    progress.setLevel(logging.INFO)
    progress.addHandler(killer)
    try:
        with pytest.raises(KeyboardInterrupt):
            train(tables(world), settings)
    finally:
        progress.removeHandler(killer)
    folder = detector_folder(settings)
    assert not folder.exists()
    ((kept,),) = ([*one.iterdir()] for one in folder.parent.glob(".*.training"))
    assert sorted(path.name for path in kept.iterdir()) == ["detector", "plain_bce"]
    resumed = train(tables(world), settings)
    for name in ("detector", "plain_bce"):
        ours, theirs = (Detector.load(path / name).network.get_weights() for path in (resumed.path, world.trained.path))
        for one, other in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    assert not list(folder.parent.glob(".*.training"))


def test_tables_without_labels(world: World, settings: Settings) -> None:
    """A feature table without labels is refused, and the command that labels is named."""
    with pytest.raises(SchemaError, match="flowtag label"):
        train(Tables([world.flows["demo-train"].path], [world.labelled["demo-valid"].path]), settings)


def test_slow_modules_are_announced(world: World, settings: Settings) -> None:
    """What training needs is announced before there is a detector, and no more than the registry after."""
    assert "pipeline.fitting" in modules_needed(settings)
    assert "pipeline.fitting" not in modules_needed(world.settings)


def test_one_kind_of_flows_is_refused_before_training(world: World, tmp_path: Path, settings: Settings) -> None:
    """Flows without an attack, or of attacks alone, teach nothing: said by role, with what was found."""
    train_on, valid_on = (world.labelled[name].path for name in ("demo-train", "demo-valid"))
    whole = pq.read_table(train_on)
    parts = {}
    for kind, compare in (("benign", operator.eq), ("attack", operator.gt)):
        parts[kind] = tmp_path / f"{kind}.parquet"
        pq.write_table(whole.filter(compare(pc.list_value_length(whole["tags"]).to_numpy(), 0)), parts[kind])
    with pytest.raises(LabelError, match=r"(?s)--train.* 0 attack flows, "):
        train(Tables([parts["benign"]], [valid_on]), settings)
    with pytest.raises(LabelError, match=r"(?s)--valid.* attack flows, 0 benign flows"):
        train(Tables([valid_on], [parts["attack"]]), settings)
