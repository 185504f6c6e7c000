"""A study that a kill does not harm: Optuna keeps trials in SQLite, each fold's outcome with its trial.

What was running when a process died is tried again with the folds it had finished; what was finished stays. One process
asks and tells, others train, so that no two write at once.
"""

import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import DatabaseError

from features.errors import InputError, ModelError, ServiceError
from pipeline.progress import Step, advance, say
from pipeline.settings import Settings
from pipeline.tuning.space import Space
from pipeline.tuning.trial import FoldOutcome, Trial, cost

DATABASE = "study.db"
FOLDS, FAILURE, START, RESUMES = "folds", "failure", "start", "resumes"
STARTUP_TRIALS = 8
STATES = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}

Judge = Callable[[Settings, int], FoldOutcome]
"""Tries a fold; must be picklable."""


@dataclass(frozen=True)
class Plan:
    """What a study does.

    Attributes:
        key: Of everything its outcomes depend on.
        space: Which settings are searched.
        folds: How many are held out, in turn.
        most_alarms: Share of benign flows that may fire.
        judge: Tries one fold.
    """

    key: str
    space: Space
    folds: int
    most_alarms: float
    judge: Judge


@dataclass(eq=False)
class _Running:
    trial: optuna.Trial
    settings: Settings
    outcomes: list[FoldOutcome]
    failure: str = ""


class Study:
    """Trials in a folder."""

    def __init__(self, folder: Path, plan: Plan) -> None:
        """Open the study that lies in a folder, or begin one.

        Raises:
            InputError: What lies there is no study of Optuna.
        """
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._plan = plan
        self._study = _opened(folder / DATABASE, plan)
        _take_up(self._study)
        begun = sum(START in one.user_attrs for one in self._study.get_trials(deepcopy=False))
        for answers in plan.space.starts()[begun:]:
            self._study.enqueue_trial(answers, {START: True})

    def trials(self) -> list[Trial]:
        """Return what is finished, in order; what a kill broke off is not among them."""
        return [self._told(one) for one in self._study.get_trials(deepcopy=False) if _finished(one)]

    def run(self, trials: int, workers: int, pool: Executor, on_trial: Callable[[Trial], None]) -> None:
        """Try until so many trials are finished, those of earlier runs among them.

        Raises:
            ServiceError: A process that trained was killed.
        """
        try:
            self._run(trials, workers, pool, on_trial)
        except BrokenProcessPool as error:
            raise ServiceError(
                "a process that trained was killed",
                f"one of {workers}",
                "enough memory for all of them",
                str(error),
                "the same command goes on where it was; with fewer --workers it needs less memory",
            ) from error

    def _run(self, trials: int, workers: int, pool: Executor, on_trial: Callable[[Trial], None]) -> None:
        running: dict[Future[FoldOutcome], _Running] = {}
        ready: list[_Running] = []
        done = len(self.trials())
        while True:
            ready += [self._begun() for _ in range(min(workers, trials - done) - len(running) - len(ready))]
            over = [one for one in ready if self._over(one)]
            running |= {self._next_fold(one, pool): one for one in ready if one not in over}
            for one in over:
                on_trial(self._told(self._study.get_trials(deepcopy=False)[one.trial.number]))
            done += len(over)
            ready = []
            if over:
                continue  # their places are free
            if not running:
                return
            ready = [self._judged(running.pop(one), one) for one in wait(running, return_when=FIRST_COMPLETED).done]
            advance(self._step(done, trials, [*ready, *running.values()]))

    def _begun(self) -> _Running:
        trial = self._study.ask()
        outcomes = [FoldOutcome.from_dict(one) for one in trial.user_attrs.get(FOLDS, ())]
        one = _Running(trial, self._plan.space.settings(trial), outcomes)
        for count in range(1, len(outcomes)):
            trial.report(self._cost(outcomes[:count]), count)
        return one

    def _next_fold(self, one: _Running, pool: Executor) -> Future[FoldOutcome]:
        return pool.submit(self._plan.judge, one.settings, len(one.outcomes))

    def _judged(self, one: _Running, future: Future[FoldOutcome]) -> _Running:
        """Take a fold's outcome, or why there is none."""
        try:
            one.outcomes.append(future.result())
            one.trial.set_user_attr(FOLDS, [outcome.to_dict() for outcome in one.outcomes])
        except ModelError as error:
            one.failure = str(error).partition("\n")[0]
            one.trial.set_user_attr(FAILURE, one.failure)
        return one

    def _over(self, one: _Running) -> bool:
        """Tell Optuna how a trial stands; return True when there is nothing left to try of it."""
        if one.failure:
            self._study.tell(one.trial, state=TrialState.FAIL)
            return True
        if not one.outcomes:
            return False
        one.trial.report(self._cost(one.outcomes), len(one.outcomes))
        if len(one.outcomes) == self._plan.folds:
            self._study.tell(one.trial, self._cost(one.outcomes))
            return True
        if START not in one.trial.user_attrs and one.trial.should_prune():
            self._study.tell(one.trial, state=TrialState.PRUNED)
            return True
        return False

    def _cost(self, outcomes: Sequence[FoldOutcome]) -> float:
        return cost(outcomes, self._plan.most_alarms)

    def _told(self, one: FrozenTrial) -> Trial:
        settings = self._plan.space.settings(optuna.trial.FixedTrial(one.params))
        outcomes = tuple(FoldOutcome.from_dict(plain) for plain in one.user_attrs.get(FOLDS, ()))
        return Trial(
            one.number, STATES[one.state], settings, outcomes, START in one.user_attrs, one.user_attrs.get(FAILURE, "")
        )

    def _step(self, done: int, trials: int, running: list[_Running]) -> Step:
        folds = self._plan.folds
        finished = done * folds + sum(len(one.outcomes) for one in running)
        return Step("tuning", finished, trials * folds, "folds", f"{done} of {trials} trials")


def _opened(database: Path, plan: Plan) -> optuna.Study:
    seed = plan.space.base.training.seed
    try:
        storage = optuna.storages.RDBStorage(f"sqlite:///{database}")
        study = optuna.create_study(storage=storage, study_name=plan.key, load_if_exists=True)
        known = len(study.get_trials(deepcopy=False))
    except (DatabaseError, sqlite3.DatabaseError, RuntimeError) as error:
        raise InputError(
            "the study cannot be read", str(database), "a database of Optuna", str(error), "another --study folder"
        ) from error
    # a sampler that starts anew with the same seed would ask again what it asked before the kill
    study.sampler = optuna.samplers.TPESampler(seed=seed + known, n_startup_trials=STARTUP_TRIALS)
    study.pruner = optuna.pruners.MedianPruner()
    return study


def _take_up(study: optuna.Study) -> None:
    """Queue what a kill broke off once more, with the folds it had finished."""
    queued = {one.user_attrs.get(RESUMES) for one in study.get_trials(deepcopy=False)}
    broken = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    for one in broken:
        # queued first: a kill in between must not lose it
        if one.number not in queued and FAILURE not in one.user_attrs:
            study.enqueue_trial(one.params, {**one.user_attrs, RESUMES: one.number})
        study.tell(one.number, state=TrialState.FAIL)
    if broken:
        say(f"tuning goes on: {len(broken)} trials that were broken off are taken up again")


def _finished(one: FrozenTrial) -> bool:
    failed = one.state is TrialState.FAIL and FAILURE in one.user_attrs
    return failed or one.state in (TrialState.COMPLETE, TrialState.PRUNED)
