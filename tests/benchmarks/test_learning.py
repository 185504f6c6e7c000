"""The comparison of networks and trees, on tables made by hand."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.learning.across import parted, seen
from benchmarks.learning.cells import Cell, result
from benchmarks.learning.learners import Candidate, Scorer, families
from benchmarks.learning.losses import loss_families
from benchmarks.learning.picture import draw
from benchmarks.learning.report import markdown
from benchmarks.learning.tables import CICIDS, UNSW, Task, tasks
from features.schema import FEATURE_NAMES
from models.dataset import TagDataset

ROWS = 600


def written(path: Path, table: pd.DataFrame) -> None:
    path.parent.mkdir(parents=True)
    table.to_csv(path, index=False)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A table in the columns of UNSW-NB15 and one in those of corrected CICIDS2017."""
    number = np.arange(ROWS)
    attack = number % 3 == 0
    unsw = {"id": number, "dur": number // 2 / 10, "proto": np.where(attack, "udp", "tcp"), "attack_cat": "Normal"}
    table = pd.DataFrame({**unsw, "label": attack.astype(int)})
    table.loc[attack, "attack_cat"] = "Generic"
    written(tmp_path / UNSW, table)
    identity = dict.fromkeys(("id", "Flow ID", "Src IP", "Src Port", "Dst IP", "Dst Port", "Attempted Category"), 1)
    label = np.where(attack, "Portscan", "BENIGN")
    times = [f"2017-07-0{1 + day % 5} 00:00:00" for day in number[::-1]]
    written(tmp_path / CICIDS, pd.DataFrame({**identity, "Timestamp": times, "Label": label, "Duration": number}))
    return tmp_path


def loaded(data: Path, name: str) -> Task:
    return tasks(data, data / "none", data / "work")[name]()


def test_only_tables_that_are_there_are_tasks(data: Path) -> None:
    """Captures that are missing are no task; the two tables are."""
    assert list(tasks(data, data / "none", data / "work")) == ["unsw-nb15", "unsw-nb15-rare", "cicids2017"]
    assert not tasks(data / "none", data / "none", data / "work")


def test_unsw_keeps_equal_rows_on_one_side(data: Path) -> None:
    """No row of features stands in two parts, all rows are there, and a word is one 0/1 column."""
    task = loaded(data, "unsw-nb15")
    parts = [task.train, task.valid, task.tests["test"]]
    rows = [set(map(tuple, part.features.tolist())) for part in parts]
    assert sum(len(part) for part in parts) == ROWS
    assert not (rows[0] & rows[1] or rows[0] & rows[2] or rows[1] & rows[2])
    assert task.train.feature_names == ("dur", "proto_tcp", "proto_udp")
    assert task.train.tag_names == ("Generic",)
    assert np.array_equal(task.train.features[:, 2], task.train.tags[:, 0])


def test_rare_attacks_are_four_in_a_hundred(data: Path) -> None:
    """All benign flows stay, attack flows are thinned alike in every part."""
    whole, rare = loaded(data, "unsw-nb15"), loaded(data, "unsw-nb15-rare")
    for before, after in ((whole.train, rare.train), (whole.tests["test"], rare.tests["test"])):
        benign = int((~before.attack).sum())
        assert (int((~after.attack).sum()), int(after.attack.sum())) == (benign, int(benign * 0.04 / 0.96))
    assert rare.name == "unsw-nb15-rare"


def test_each_loss_is_a_family_of_one_candidate() -> None:
    """Only the loss differs between them, and no two are the same."""
    settings = [candidates[0].settings for candidates in loss_families().values()]
    losses = [json.dumps(one["loss"]) for one in settings]
    assert len(set(losses)) == len(losses) == 10
    assert len({json.dumps({**one, "loss": None}) for one in settings}) == 1


def test_cicids_judges_the_last_flows_of_each_label(data: Path) -> None:
    """Of each label the first 60 % are learned from and the last 20 % judged; addresses and labels are no columns."""
    task = loaded(data, "cicids2017")
    sizes = [(len(part), int(part.attack.sum())) for part in (task.train, task.valid, task.tests["test"])]
    assert sizes == [(360, 120), (120, 40), (120, 40)]
    assert task.train.feature_names == ("Duration",)
    assert set(task.train.features[:, 0] % 5 >= 2) == {True}  # the days up to the third
    assert set(task.tests["test"].features[:, 0] % 5 == 0) == {True}


def test_cell_is_computed_once_and_again_for_other_settings(data: Path) -> None:
    """What a finished cell's learner said is judged from its file; other settings compute it anew."""
    trainings = []

    def learn(train: TagDataset, valid: TagDataset, seed: int) -> Scorer:
        trainings.append((len(train), len(valid), seed))
        return lambda features: features[:, 2:] * np.float32(0.8) + np.float32(0.1)

    def computed(settings: dict[str, int]) -> dict[str, object]:
        folder = data / "cells"
        folder.mkdir(exist_ok=True)
        cell = Cell("unsw-nb15", "words", 0, 7)
        return result(cell, lambda: loaded(data, "unsw-nb15"), Candidate(settings, learn), folder)

    first = computed({"trees": 1})
    assert computed({"trees": 1}) == first
    assert len(trainings) == 1
    computed({"trees": 2})
    assert [seed for _, _, seed in trainings] == [7, 7]
    tested = first["tests"]["test"]  # type: ignore[index]
    assert tested["mean_average_precision"] == 1.0
    assert tested["budgets"]["0.01"] == {"silent_rate": 0.0, "false_alarm_rate": 0.0, "macro_f1": 1.0}
    assert tested["at_half"] == [0.0, 0.0]
    assert tested["calibration_error"] == pytest.approx(0.1, abs=1e-6)


def test_every_family_learns(data: Path) -> None:
    """Each kind of trees that is installed tells the two classes of a table that one column tells apart."""
    task = loaded(data, "unsw-nb15")
    for name, candidates in families().items():
        if not name.startswith("network"):
            scores = candidates[0].learn(task.train, task.valid, 1)(task.valid.features)
            assert np.array_equal(scores[:, 0] > 0.5, task.valid.attack), name


def cell(precision: float, family: str = "trees") -> dict[str, object]:
    """A result as a finished cell gives it."""
    budget = {"silent_rate": 0.25, "false_alarm_rate": 0.001, "macro_f1": None}
    test = {"flows": 2000, "attack_flows": 1500, "mean_average_precision": precision, "calibration_error": 0.0}
    whole = {**test, "tags": {"dos": [1500, precision]}, "at_half": [0.5, 0.002], "budgets": {"0.001": budget}}
    cost = {"training_cpu_s": 12.0, "flows_per_cpu_s": 1e6}
    return {"task": "t", "family": family, **cost, "tests": {"later": whole}}


def test_picture_has_a_line_a_family_and_a_panel_a_figure(tmp_path: Path) -> None:
    """Silence stands beside the false alarms that it was bought with, and the same results give the same file."""
    results = [cell(0.5), cell(0.7), cell(0.6, "network")]
    drawn = []
    for name in ("one.svg", "two.svg"):
        draw(results, tmp_path / name)
        drawn.append((tmp_path / name).read_text("utf-8"))
    assert drawn[0] == drawn[1]
    for words in ("t, later", "mean AP", "silent at 0.1%", "false alarms at 0.1%", "trees", "network"):
        assert drawn[0].count(f"<!-- {words} -->") == 1, words


def labelled_rows(path: Path, starts: list[int | None], tags: list[list[str]]) -> Path:
    """A labelled table of which only what parts it is filled."""
    features = {name: pa.array([float(at % 7) for at in range(len(tags))], pa.float32()) for name in FEATURE_NAMES}
    columns = {"start": pa.array(starts, pa.timestamp("ns", "UTC")), "tags": pa.array(tags, pa.list_(pa.string()))}
    pq.write_table(pa.table({**features, **columns}), path)
    return path


def test_another_source_is_parted_by_time_within_its_tags(tmp_path: Path) -> None:
    """Of ten flows of each kind the first six are learned from, the last two judged; nothing is in two parts."""
    times = [at * 1_000_000_000 for at in reversed(range(20))]
    path = labelled_rows(tmp_path / "t.parquet", times, [["dos"], []] * 10)
    parts = [pq.read_table(part) for part in parted(path, tmp_path)]
    seconds = [sorted(time.second for time in part["start"].to_pylist()) for part in parts]
    assert seconds == [list(range(12)), list(range(12, 16)), list(range(16, 20))]
    assert [part["tags"].to_pylist().count(["dos"]) for part in parts] == [6, 2, 2]


def test_another_source_without_times_keeps_equal_rows_together(tmp_path: Path) -> None:
    """Seven kinds of equal rows, one tag set: at most the two kinds at the cuts stand in two parts."""
    path = labelled_rows(tmp_path / "t.parquet", [None] * 70, [[]] * 70)
    kinds = [set(pq.read_table(part)[FEATURE_NAMES[0]].to_pylist()) for part in parted(path, tmp_path)]
    assert sum(map(len, kinds)) <= 7 + 2


def test_what_is_seen_of_another_source_has_few_attacks_and_few_labels(tmp_path: Path) -> None:
    """Every twentieth flow is seen with its labels, none of them without; 4 in 100 of the others are attacks."""
    times = [at * 1_000_000_000 for at in range(2000)]
    path = labelled_rows(tmp_path / "t.parquet", times, [["dos"], []] * 1000)
    source = seen("others", (path, path, path), tmp_path)
    local, few = (pq.read_table(part) for part in (source.local, source.few))
    starts = [{*part["start"].to_pylist()} for part in (local, few)]
    assert (len(few), len(starts[0] & starts[1])) == (100, 0)
    attacks = local["tags"].to_pylist().count(["dos"])
    assert attacks / len(local) == pytest.approx(0.04, abs=0.001)


def test_report_shows_the_mean_and_the_spread_over_seeds() -> None:
    """0.5 and 0.7 are shown as 0.600 (0.500-0.700); a tag stands with its number of flows."""
    text = markdown([cell(0.5), cell(0.7)])
    assert "**t, later**: 1,500 attack flows of 2,000" in text
    row = next(line for line in text.splitlines() if line.startswith("| trees"))
    assert row == "| trees | 0.600 (0.500-0.700) | 0.500 | 0.0020 | 0.250 | 0.0010 | - | 0.0000 | 12.0 | 1,000,000 |"
    assert "| dos (1,500) | 0.600 (0.500-0.700) |" in text
