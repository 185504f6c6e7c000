"""One cell of the comparison: a learner trained on a task with a seed, judged, and kept as one JSON file."""

import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.learning.learners import Candidate, Scorer
from benchmarks.learning.tables import Task
from models.dataset import TagDataset
from models.metrics import evaluate, false_alarm_rate, mean_average_precision, silent_rate
from models.scored_flows import ScoredFlows
from models.thresholds import ThresholdSettings

BUDGETS = (0.001, 0.01)
HALF = 0.5
TIMED_FLOWS = 100_000


@dataclass(frozen=True)
class Cell:
    """One training.

    Attributes:
        task: Name of the task.
        family: Name of the family of learners.
        number: Which of the family's candidates, from 0.
        seed: Of what is drawn.
    """

    task: str
    family: str
    number: int
    seed: int

    @property
    def file_name(self) -> str:
        """What the cell's file is called."""
        words = "-".join("".join(c if c.isalnum() else " " for c in self.family).split())
        return f"{self.task}.{words}.{self.number}.{self.seed}.json"


def result(cell: Cell, load: Callable[[], Task], candidate: Candidate, folder: Path) -> dict[str, Any]:
    """Return a cell's result, from its file if it was computed with the same settings, else computed and kept."""
    path = folder / cell.file_name
    if path.exists():
        kept: dict[str, Any] = json.loads(path.read_text("utf-8"))
        if kept["settings"] == json.loads(json.dumps(candidate.settings)):
            return kept
    computed = {**asdict(cell), "settings": candidate.settings, **_judged(load(), candidate, cell.seed)}
    partial = path.with_suffix(f".{os.getpid()}")
    partial.write_text(json.dumps(computed, indent=1) + "\n", "utf-8")
    partial.rename(path)
    return computed


def _judged(task: Task, candidate: Candidate, seed: int) -> dict[str, Any]:
    begun = time.process_time()
    score = candidate.learn(task.train, task.valid, seed)
    training_s = time.process_time() - begun
    scores = score(task.valid.features)
    judged = ScoredFlows(task.valid.tags, scores)
    cuts = {str(budget): judged.values_or_silence(ThresholdSettings(false_alarm_budget=budget)) for budget in BUDGETS}
    return {
        "training_cpu_s": training_s,
        "flows_per_cpu_s": _speed(score, task.train),
        "validation": {
            "mean_average_precision": mean_average_precision(task.valid.tags, scores),
            "false_alarm_rate": {
                budget: false_alarm_rate(task.valid.tags, scores, cut) for budget, cut in cuts.items()
            },
        },
        "tests": {name: _tested(test, score(test.features), cuts) for name, test in task.tests.items()},
    }


def _tested(flows: TagDataset, scores: np.ndarray, cuts: dict[str, tuple[float, ...]]) -> dict[str, Any]:
    """Return what depends on scores alone once, and what depends on thresholds by budget."""
    judged = {budget: evaluate(flows.tags, scores, values, flows.tag_names) for budget, values in cuts.items()}
    halves = (HALF,) * len(flows.tag_names)
    whole = next(iter(judged.values()))
    return {
        "flows": whole.flows,
        "attack_flows": whole.attack_flows,
        "mean_average_precision": whole.mean_average_precision,
        "calibration_error": whole.calibration_error,
        "tags": {tag.name: [tag.positives, tag.average_precision] for tag in whole.tags if tag.positives},
        "at_half": [silent_rate(flows.tags, scores, halves), false_alarm_rate(flows.tags, scores, halves)],
        "budgets": {
            budget: {name: getattr(one, name) for name in ("silent_rate", "false_alarm_rate", "macro_f1")}
            for budget, one in judged.items()
        },
    }


def _speed(score: Scorer, flows: TagDataset) -> float:
    """Return flows scored per second of CPU, all threads; the first call, which may compile, is not counted."""
    features = np.resize(flows.features, (TIMED_FLOWS, flows.features.shape[1]))
    score(features[: TIMED_FLOWS // 10])
    begun = time.process_time()
    score(features)
    return TIMED_FLOWS / (time.process_time() - begun)
