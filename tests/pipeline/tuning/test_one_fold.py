"""One fold of one trial with background: it joins training and thresholds, and makes another study."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.labels.vocabulary import read_vocabulary
from features.schema import FEATURE_NAMES
from pipeline.settings import Settings
from pipeline.tuning.choice import FoldChoice, TuneChoice
from pipeline.tuning.folds import fold
from pipeline.tuning.one_fold import Flows, try_fold
from pipeline.tuning.tune import plan
from tests.pipeline.tuning.labelled import capture
from tests.pipeline.tuning.test_tune import settings_in


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_in(tmp_path / "state")


@pytest.fixture
def flows(tmp_path: Path) -> Flows:
    """Three captures, each a fold."""
    tables = tuple(capture(tmp_path, f"day-{number}", number) for number in range(3))
    fold(tables, FoldChoice(3)).save(tmp_path / "folds.npy")
    return Flows(tables, tmp_path / "folds.npy", FEATURE_NAMES, read_vocabulary(None).names)


def without_labels(table: Path, path: Path) -> Path:
    """Write the attack flows of a labelled table as flows that nobody labelled."""
    whole = pq.read_table(table)
    attack = np.asarray(pa.compute.list_value_length(whole["tags"])) > 0
    pq.write_table(whole.filter(pa.array(attack)).drop_columns(["tags", "rules"]), path)
    return path


def test_thresholds_keep_the_budget_on_the_background(flows: Flows, settings: Settings, tmp_path: Path) -> None:
    """With attack flows as background, the network learns that they are benign, and thresholds rise above them."""
    alone = try_fold(flows, settings, 0)
    background = without_labels(capture(tmp_path, "other", 9, 400), tmp_path / "unlabelled.parquet")
    beside = try_fold(replace(flows, background=(background,)), settings, 0)
    assert alone.silent_rate < 0.2
    assert beside.silent_rate > alone.silent_rate + 0.3
    assert beside.false_alarm_rate <= alone.false_alarm_rate
    assert (beside.flows, beside.attack_flows) == (alone.flows, alone.attack_flows)


def test_another_background_is_another_study(flows: Flows, settings: Settings) -> None:
    """What the background holds, and how much of it joins, is part of what a study depends on; none is as before."""
    choice = TuneChoice(trials=3)
    more = settings.model_copy(update={"background": settings.background.model_copy(update={"share": 0.3})})
    alone = plan(flows.tables[:2], choice, settings)
    beside = plan(flows.tables[:2], choice, settings, flows.tables[2:])
    assert plan(flows.tables[:2], choice, more).key == alone.key
    assert len({alone.key, beside.key, plan(flows.tables[:2], choice, more, flows.tables[2:]).key}) == 3
