"""A study's bookkeeping, with a judge that answers at once instead of training."""

import os
import threading
from collections import Counter
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import pytest

from features.errors import Diverged, InputError, ServiceError
from pipeline.config import load
from pipeline.settings import Settings
from pipeline.tuning.space import SEARCHED, Space
from pipeline.tuning.study import DATABASE, Judge, Plan, Study
from pipeline.tuning.trial import FoldOutcome, Trial

FOLDS = 3


class Killed(BaseException):
    """Stands for the end of the process at any place."""


def outcome(fold: int, silent: float) -> FoldOutcome:
    return FoldOutcome(fold, 100, 20, silent, 0.0, silent, 0.9, ({"training_loss": 1.0},), 0.5)


def by_rate(settings: Settings, fold: int) -> FoldOutcome:
    """Answer less silence the nearer the learning rate is to 0.001."""
    return outcome(fold, min(1.0, abs(settings.training.learning_rate - 1e-3) * 50))


def study_in(folder: Path, judge: Judge, key: str = "key") -> Study:
    space = Space(load(environment={}).settings, SEARCHED, ("packets", "biflow"), 25)
    return Study(folder, Plan(key, space, FOLDS, 0.003, judge))


def run(study: Study, trials: int, workers: int = 1, pool: Executor | None = None) -> list[Trial]:
    seen: list[Trial] = []
    with pool or ThreadPoolExecutor(workers) as working:
        study.run(trials, workers, working, seen.append)
    return seen


def test_so_many_trials_are_finished(tmp_path: Path) -> None:
    """Ten trials: each told once, the first two as given, all folds of the complete ones, some pruned before."""
    study = study_in(tmp_path, by_rate)
    seen = run(study, 10)
    assert [one.number for one in seen] == list(range(10))
    assert study.trials() == seen
    assert [one.as_given for one in seen] == [True, True] + [False] * 8
    assert seen[0].settings.loss.penalty == "none"
    for one in seen:
        assert [outcome.fold for outcome in one.outcomes] == list(range(len(one.outcomes)))
        assert (len(one.outcomes) == FOLDS) == (one.state == "complete")


def test_a_bad_trial_is_pruned(tmp_path: Path) -> None:
    """A trial that is worse than the median of others at its first fold is not tried on the rest."""
    asked: Counter[float] = Counter()

    def judge(settings: Settings, fold: int) -> FoldOutcome:
        asked[settings.training.learning_rate] += 1
        return outcome(fold, 0.1 if len(asked) <= 6 else 0.9)

    (last,) = run(study_in(tmp_path, judge), 8)[-1:]
    assert (last.state, len(last.outcomes)) == ("pruned", 1)


def test_more_trials_go_on(tmp_path: Path) -> None:
    """A second call with more trials adds to the first and tries nothing again; with fewer it does nothing."""
    first = run(study_in(tmp_path, by_rate), 3)
    second = run(study_in(tmp_path, by_rate), 5)
    assert len(second) == 2
    assert study_in(tmp_path, by_rate).trials() == first + second
    assert run(study_in(tmp_path, by_rate), 4) == []


@pytest.mark.parametrize("killed_at", [1, 3, 4, 8])
def test_a_kill_loses_no_fold_and_doubles_none(tmp_path: Path, killed_at: int) -> None:
    """Wherever a process dies, the next one tries exactly the folds that were not finished, and no trial twice."""
    tried: list[tuple[float, str, int]] = []

    def judge(settings: Settings, fold: int) -> FoldOutcome:
        if len(tried) == killed_at - 1 and not (tmp_path / "killed").exists():
            (tmp_path / "killed").touch()
            raise Killed
        tried.append((settings.training.learning_rate, settings.loss.model_dump_json(), fold))
        return outcome(fold, 0.1)

    with pytest.raises(Killed):
        run(study_in(tmp_path, judge), 3)
    study = study_in(tmp_path, judge)
    run(study, 3)
    assert len(tried) == len(set(tried)) == 3 * FOLDS
    done = study.trials()
    assert [one.state for one in done] == ["complete"] * 3
    assert {one.settings.loss.penalty for one in done if one.as_given} == {"none", "bounded"}


def test_a_trial_that_diverges_has_failed(tmp_path: Path) -> None:
    """Its reason is kept, it counts as finished, and it is not tried again."""

    def judge(settings: Settings, fold: int) -> FoldOutcome:
        if settings.loss.penalty == "bounded":
            raise Diverged("the loss was nan", "epoch 2")
        return outcome(fold, 0.1)

    study = study_in(tmp_path, judge)
    first, second = run(study, 2)
    assert (first.state, second.state, second.failure, second.outcomes) == (
        "complete",
        "failed",
        "the loss was nan",
        (),
    )
    assert run(study_in(tmp_path, judge), 2) == []


def test_workers_try_side_by_side(tmp_path: Path) -> None:
    """Of three workers three are at work at once, and no more trials are finished than were asked for."""
    together = threading.Barrier(3)

    def judge(_settings: Settings, fold: int) -> FoldOutcome:
        together.wait(20)
        return outcome(fold, 0.1)

    assert len(run(study_in(tmp_path, judge), 3, workers=3)) == 3
    assert len(study_in(tmp_path, judge).trials()) == 3


def die(_settings: Settings, _fold: int) -> FoldOutcome:
    os._exit(9)


def test_a_worker_that_is_killed(tmp_path: Path) -> None:
    """The error says so, that fewer workers need less memory, and that trying again helps."""
    with pytest.raises(ServiceError, match="--workers") as caught:
        run(study_in(tmp_path, die), 2, pool=ProcessPoolExecutor(1))
    assert caught.value.retryable
    assert len(run(study_in(tmp_path, by_rate), 2)) == 2


def test_what_is_no_database(tmp_path: Path) -> None:
    """A file of another kind in the database's place is refused as input."""
    (tmp_path / DATABASE).write_text("not a database" * 100)
    with pytest.raises(InputError, match="cannot be read"):
        study_in(tmp_path, by_rate)
