"""A study in MLflow: one run that goes on from call to call, in it a run for each trial, in that one for each fold.

Only the process that asks and tells writes here, a trial when it is over; what a kill left half-written is written
anew.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.tracking import InputNote, TrackedRun, TrackingStore, continued_run, tracked_run
from pipeline.settings import Settings
from pipeline.tuning.trial import RATES, SECTIONS, FoldOutcome, Trial

STUDY, TRIAL, FOLD, STATE = "flowtag.study", "flowtag.trial", "flowtag.fold", "flowtag.state"


@dataclass(frozen=True)
class StudyRun:
    """The run of a study that is being written."""

    store: TrackingStore
    run: TrackedRun

    def log(self, trials: Sequence[Trial]) -> None:
        """Log the trials that are not there yet."""
        known = self.run.within(TRIAL)
        for trial in trials:
            earlier = known.get(str(trial.number))
            if earlier and earlier.finished:
                continue
            if earlier:
                self.run.discard(earlier)
            self.trial(trial)

    def trial(self, trial: Trial) -> None:
        """Log one trial that is over."""
        tags = {TRIAL: str(trial.number), STATE: trial.state}
        with tracked_run(self.store, f"trial {trial.number}", tags, self.run) as run:
            run.parameters(sections_of(trial.settings))
            for outcome in trial.outcomes:
                self._fold(run, outcome)
            if trial.outcomes:
                run.figures({name: trial.mean(name) for name in RATES})
            if trial.failure:
                run.tags({"flowtag.failure": trial.failure})

    def finish(self, found: Mapping[str, Any], files: Sequence[Path]) -> None:
        """Log what came of the study: the figures of the settings chosen and of those without a penalty, and files."""
        for role in ("chosen", "baseline"):
            self.run.figures({f"{role}.{name}": found[role][name] for name in RATES if found[role]})
        self.run.figures({f"trials.{state}": number for state, number in found["counts"].items()})
        for file in files:
            self.run.artifact(file)

    def _fold(self, trial: TrackedRun, outcome: FoldOutcome) -> None:
        with tracked_run(self.store, f"fold {outcome.fold}", {FOLD: str(outcome.fold)}, trial) as run:
            for epoch, figures in enumerate(outcome.history, 1):
                run.figures(figures, epoch)
            run.figures({name: getattr(outcome, name) for name in RATES})


@contextmanager
def study_run(store: TrackingStore, name: str, key: str, notes: Sequence[InputNote]) -> Iterator[StudyRun]:
    """Open the run of a study, or go on in it.

    Raises:
        ServiceError: MLflow's database or server does not answer.
    """
    with continued_run(store, name, STUDY, key) as run:
        run.inputs(notes)
        yield StudyRun(store, run)


def sections_of(settings: Settings) -> dict[str, dict[str, object]]:
    """Return what a trial decides about, as plain values."""
    return {section: getattr(settings, section).model_dump(mode="json") for section in SECTIONS}
