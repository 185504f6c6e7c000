"""`flowtag tune` without its command: a study of networks that are really trained, killed and taken up again."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from features.errors import InputError
from features.labels.vocabulary import read_vocabulary
from features.schema import FEATURE_NAMES
from models.dataset import read_dataset
from models.metrics import evaluate, silence_at_budget
from models.prediction import network_scores
from models.thresholds import choose_thresholds
from models.training import train_network
from pipeline.config import load
from pipeline.fitting import threshold_settings, training_settings
from pipeline.manifest import StageResult
from pipeline.register import store
from pipeline.settings import Settings
from pipeline.tuning.choice import FoldChoice, TuneChoice
from pipeline.tuning.study import DATABASE
from pipeline.tuning.tune import BEST, FOUND, PICTURE, TEXT, found_in, tune
from tests.pipeline.tuning.labelled import capture

QUICK = (
    "training.epochs=8",
    "training.batch_size=32",
    "training.learning_rate=0.01",
    "network.members=1",
    "network.widths=16",
    "network.pace_jitter=0,0,0",
    "thresholds.false_alarm_budget=0.05",
)
CHOICE = TuneChoice(trials=3, folds=FoldChoice(3))
SCRIPT = """
import sys
from pathlib import Path
from pipeline.tuning.tune import tune
from tests.pipeline.tuning.test_tune import CHOICE, settings_in
tune([Path(table) for table in sys.argv[2:]], CHOICE, settings_in(Path(sys.argv[1])))
"""
FOLDS_KEPT = "SELECT value_json FROM trial_user_attributes WHERE key = 'folds'"


def settings_in(folder: Path) -> Settings:
    return load(overrides=[f"state.folder={folder}", *QUICK], environment={}).settings


@dataclass(frozen=True)
class Resumed:
    """A study that was killed in its second trial and then brought to its end."""

    tables: list[Path]
    settings: Settings
    kept: list[dict[str, Any]]
    orphans: list[psutil.Process]
    result: StageResult
    found: dict[str, Any]


@pytest.fixture(scope="module")
def resumed(tmp_path_factory: pytest.TempPathFactory) -> Resumed:
    folder = tmp_path_factory.mktemp("tune")
    tables = [capture(folder, f"day {number}", number) for number in range(3)]
    settings = settings_in(folder / "state")
    kept, orphans = _killed(settings, tables)
    result = tune(tables, CHOICE, settings)
    return Resumed(tables, settings, kept, orphans, result, found_in(result.path))


def _killed(settings: Settings, tables: list[Path]) -> tuple[list[dict[str, Any]], list[psutil.Process]]:
    """Kill a study's first process after the fourth of nine folds; return the folds kept, and which others live on."""
    command = [sys.executable, "-c", SCRIPT, str(settings.state.root), *map(str, tables)]
    with subprocess.Popen(command) as process:  # noqa: S603 (our own command)
        until = time.monotonic() + 200
        while len(list(_folds_kept(settings))) < 4:
            assert process.poll() is None
            assert time.monotonic() < until
            time.sleep(0.05)
        children = psutil.Process(process.pid).children(recursive=True)
        os.kill(process.pid, signal.SIGKILL)
    _, alive = psutil.wait_procs(children, timeout=20)
    return list(_folds_kept(settings)), alive


def _folds_kept(settings: Settings) -> Iterator[dict[str, Any]]:
    for database in (settings.state.root / "tuning").glob(f"*/{DATABASE}"):
        connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
        try:
            for (text,) in connection.execute(FOLDS_KEPT).fetchall():
                yield from json.loads(text)
        except sqlite3.OperationalError:
            continue
        finally:
            connection.close()


def test_a_kill_leaves_no_process(resumed: Resumed) -> None:
    """The processes that train end with the one that started them, though it had no chance to stop them."""
    assert resumed.orphans == []


def test_finished_folds_are_kept(resumed: Resumed) -> None:
    """What was finished before the kill is in the result to the last digit, and was not trained again."""
    folds = [one for trial in resumed.found["trials"] for one in trial["folds"]]
    assert len(resumed.kept) >= 4
    assert all(one in folds for one in resumed.kept)
    assert resumed.result.counts["trials.complete"] + resumed.result.counts["trials.pruned"] == 3
    assert [one["penalty"] for one in resumed.found["trials"] if one["state"] == "complete"][:2] == ["none", "bounded"]


def test_each_fold_was_held_out(resumed: Resumed) -> None:
    """A fold's figures are those of a network of one capture, with thresholds of another, on the third."""
    parts = [part for (part,) in resumed.found["folds"]["parts"]]
    by_name = {table.stem: table for table in resumed.tables}
    baseline = resumed.found["baseline"]
    settings = resumed.settings.model_copy(
        update={"loss": resumed.settings.loss.model_copy(update={"penalty": "none"})}
    )
    held, valid, train = (
        read_dataset([by_name[parts[at]]], FEATURE_NAMES, read_vocabulary().names) for at in (0, 1, 2)
    )
    network = train_network(train, valid, training_settings(settings)).network
    cuts = choose_thresholds(valid.tags, network_scores(network, valid.features), threshold_settings(settings)).cuts
    scores = network_scores(network, held.features)
    figures = evaluate(held.tags, scores, cuts, held.tag_names)
    fold = baseline["folds"][0]
    for name in ("silent_rate", "false_alarm_rate", "mean_average_precision"):
        assert fold[name] == pytest.approx(getattr(figures, name), abs=1e-3)
    assert fold["silent_at_budget"] == pytest.approx(silence_at_budget(held.tags, scores, 0.05), abs=1e-3)
    assert (fold["flows"], fold["attack_flows"]) == (200, 40)


def test_the_best_settings_are_a_configuration(resumed: Resumed) -> None:
    """The file that is written loads as it is, and holds what the chosen trial had."""
    best = load(config_file=resumed.result.path / BEST, environment={}).settings
    chosen = resumed.found["chosen"]
    assert (best.loss.penalty, best.training.learning_rate) == (chosen["penalty"], chosen["learning_rate"])
    assert (list(best.network.widths), best.detector.view) == (chosen["widths"], chosen["view"])
    assert (best.training.epochs, best.network.members) == (8, 1)
    assert chosen["mean_average_precision"] >= resumed.found["baseline"]["mean_average_precision"]


def test_what_is_written(resumed: Resumed) -> None:
    """Account, text and picture lie in the folder; the text names each complete trial with its implied threshold."""
    folder = resumed.result.path
    assert (folder / PICTURE).read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    text = (folder / TEXT).read_text("utf-8")
    for words in ("600 flows in 3 folds by capture", "chosen: trial", "implied", "0.286", "without a penalty"):
        assert words in text
    assert max(map(len, text.splitlines())) <= 160


def test_mlflow_holds_trials_in_the_study_and_folds_in_the_trials(resumed: Resumed) -> None:
    """One run for the study, though two processes worked at it; in it one for each trial, in that one for each fold."""
    where = store(resumed.settings)
    client = where.client()
    experiment = client.get_experiment_by_name("flowtag")
    assert experiment
    runs = client.search_runs([experiment.experiment_id], max_results=1000)
    (parent,) = [one for one in runs if "flowtag.study" in one.data.tags]
    trials = [one for one in runs if one.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    assert sorted(int(one.data.tags["flowtag.trial"]) for one in trials) == [
        one["trial"] for one in resumed.found["trials"]
    ]
    for told in resumed.found["trials"]:
        (trial,) = [one for one in trials if one.data.tags["flowtag.trial"] == str(told["trial"])]
        folds = [one for one in runs if one.data.tags.get("mlflow.parentRunId") == trial.info.run_id]
        assert len(folds) == len(told["folds"])
        assert trial.data.params["loss.penalty"] == told["penalty"]
        assert trial.data.metrics["silent_rate"] == pytest.approx(told["silent_rate"])
        epochs = client.get_metric_history(folds[0].info.run_id, "training_loss")
        assert [one.step for one in epochs] == list(range(1, 9))
    assert {one.info.status for one in runs} == {"FINISHED"}
    assert len(runs) == 1 + len(trials) + sum(len(one["folds"]) for one in resumed.found["trials"])
    kept = {one.path for one in client.list_artifacts(parent.info.run_id)}
    assert {FOUND, TEXT, PICTURE, BEST} <= kept
    assert len(parent.inputs.dataset_inputs) == 3


def test_the_same_call_again_trains_nothing(resumed: Resumed) -> None:
    """A finished study answers at once, with the same account."""
    again = tune(resumed.tables, CHOICE, resumed.settings)
    assert (again.path, again.digest) == (resumed.result.path, resumed.result.digest)


def test_the_folder_of_another_study(resumed: Resumed, tmp_path: Path) -> None:
    """Other settings in the same folder are refused by name, and so is a folder of other things."""
    here = replace(CHOICE, folder=resumed.result.path)
    other = load(overrides=[f"state.folder={resumed.settings.state.root}", *QUICK, "training.seed=2"], environment={})
    with pytest.raises(InputError, match=r"another study(.|\n)*other training(.|\n)*--study"):
        tune(resumed.tables, here, other.settings)
    (tmp_path / "letter.txt").write_text("dear reader")
    with pytest.raises(InputError, match=r"letter\.txt"):
        tune(resumed.tables, replace(CHOICE, folder=tmp_path), resumed.settings)
