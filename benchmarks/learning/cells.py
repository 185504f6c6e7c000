"""One cell of the comparison: a learner trained on a task with a seed, whose scores are kept, and judged.

What a learner says of the flows is kept, not how good that is: where thresholds or figures are computed otherwise,
nothing is trained again.
"""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.learning.learners import Candidate, Scorer
from benchmarks.learning.tables import Task
from features.table import replacing
from models.dataset import TagDataset
from models.metrics import evaluate, false_alarm_rate, mean_average_precision, silent_rate
from models.scored_flows import ScoredFlows
from models.thresholds import ThresholdSettings

BUDGETS = (0.001, 0.01)
HALF = 0.5
TIMED_FLOWS = 100_000
Scores = npt.NDArray[np.float32]


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
        return f"{self.task}.{words}.{self.number}.{self.seed}.npz"


@dataclass(frozen=True)
class Learned:
    """What a trained learner says, and what it cost.

    Attributes:
        cost: ``training_cpu_s`` and ``flows_per_cpu_s``.
        valid: Its scores of the validation flows, shape (n_flows, n_tags).
        tests: Its scores of the flows of each test.
    """

    cost: dict[str, float]
    valid: Scores
    tests: dict[str, Scores]


def result(cell: Cell, load: Callable[[], Task], candidate: Candidate, folder: Path) -> dict[str, Any]:
    """Return a cell's result; what a learner of the same settings said is read from its file, if it is there."""
    path, task = folder / cell.file_name, load()
    learned = _kept(path, candidate.settings)
    if learned is None:
        learned = _learned(task, candidate, cell.seed)
        _keep(path, candidate.settings, learned)
    return {**asdict(cell), "settings": candidate.settings, **learned.cost, **_judged(task, learned)}


def _kept(path: Path, settings: dict[str, Any]) -> Learned | None:
    if not path.exists():
        return None
    with np.load(path) as arrays:
        notes = json.loads(str(arrays["notes"]))
        if notes["settings"] != json.loads(json.dumps(settings)):
            return None
        return Learned(notes["cost"], arrays["valid"], {name: arrays[f"test {name}"] for name in notes["tests"]})


def _keep(path: Path, settings: dict[str, Any], learned: Learned) -> None:
    notes = json.dumps({"settings": settings, "cost": learned.cost, "tests": list(learned.tests)})
    tests = {f"test {name}": scores for name, scores in learned.tests.items()}
    with replacing(path) as partial, partial.open("wb") as file:
        np.savez_compressed(file, notes=np.array(notes), valid=learned.valid, **tests)


def _learned(task: Task, candidate: Candidate, seed: int) -> Learned:
    begun = time.process_time()
    score = candidate.learn(task.train, task.valid, seed)
    cost = {"training_cpu_s": time.process_time() - begun, "flows_per_cpu_s": _speed(score, task.train)}
    return Learned(cost, score(task.valid.features), {name: score(test.features) for name, test in task.tests.items()})


def _judged(task: Task, learned: Learned) -> dict[str, Any]:
    truth, scores = task.valid.tags, learned.valid
    judged = ScoredFlows(truth, scores)
    cuts = {str(budget): judged.cuts_or_silence(ThresholdSettings(false_alarm_budget=budget)) for budget in BUDGETS}
    return {
        "validation": {
            "mean_average_precision": mean_average_precision(truth, scores),
            "false_alarm_rate": {budget: false_alarm_rate(truth, scores, cut) for budget, cut in cuts.items()},
        },
        "tests": {name: _tested(test, learned.tests[name], cuts) for name, test in task.tests.items()},
    }


def _tested(flows: TagDataset, scores: Scores, cuts: dict[str, tuple[float, ...]]) -> dict[str, Any]:
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
