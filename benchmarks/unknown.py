"""Attacks that training never showed: each tag in turn left out of training and validation, and looked for in the test.

python -m benchmarks.unknown WORK [--data DATA] [--captures CAPTURES] [--tasks TASK ...] [--json OUT] [--markdown OUT]

DATA holds the tables of others, CAPTURES recorded captures with their rules; what is missing is left out. For each tag
with LEAST_FLOWS flows a network is trained without the flows that carry it; tags' thresholds and those of `unknown` are
chosen on validation flows without them. Then: the share of the tag's flows on which any other tag fires, and the share
that is reported with `unknown` beside the tags. Each training is one file in WORK: a run that was stopped goes on.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.learning.command import parser, publish
from benchmarks.learning.tables import Task, tasks
from models.dataset import TagDataset
from models.firing import fired_tags
from models.prediction import network_scores
from models.scored_flows import ScoredFlows
from models.thresholds import ThresholdSettings
from models.training import TrainingSettings, train_network
from models.unknown import anomalies_of, measure_benign, reports

LEAST_FLOWS = 20
BUDGETS = (0.001, 0.005)
Result = dict[str, Any]


def main() -> int:
    """Compute what is missing and print the tables; returns the exit status."""
    options = parser("python -m benchmarks.unknown", __doc__).parse_args()
    results = list(_results(options))
    publish(markdown(results), results, options)
    return 0


def _results(options: argparse.Namespace) -> Iterator[Result]:
    folder = options.work / "unknown"
    folder.mkdir(parents=True, exist_ok=True)
    for name, load in tasks(options.data, options.captures, options.work).items():
        if not options.tasks or name in options.tasks:
            loaded = cache(load)
            for tag in left_out(loaded()):
                yield _kept(folder / f"{name}.{tag.replace(' ', '_').replace('/', '_')}.json", loaded, tag)


def left_out(task: Task) -> tuple[str, ...]:
    """Return the tags to leave out in turn: those with LEAST_FLOWS flows to learn from and in some test."""
    tested = np.max([test.tags.sum(axis=0) for test in task.tests.values()], axis=0)
    counts = np.minimum(task.train.tags.sum(axis=0), tested).tolist()
    return tuple(name for name, count in zip(task.train.tag_names, counts, strict=True) if count >= LEAST_FLOWS)


def _kept(path: Path, load: Callable[[], Task], tag: str) -> Result:
    """Return a result from its file, or compute and keep it."""
    if not path.exists():
        print(f"{path.stem}", file=sys.stderr, flush=True)
        partial = path.with_suffix(f".{os.getpid()}")
        partial.write_text(json.dumps(without(load(), tag, TrainingSettings()), indent=1) + "\n", "utf-8")
        partial.rename(path)
    kept: Result = json.loads(path.read_text("utf-8"))
    return kept


def without(task: Task, tag: str, settings: TrainingSettings) -> Result:
    """Train on a task without the flows of a tag, and return what becomes of these in each test."""
    at = task.train.tag_names.index(tag)
    train, valid = (flows.rows(flows.tags[:, at] == 0) for flows in (task.train, task.valid))
    network = train_network(train, valid, settings).network
    benign = measure_benign(network, [train])
    scores, anomalies = network_scores(network, valid.features), anomalies_of(network, benign, valid.features)
    known = ScoredFlows(valid.tags, scores, anomalies=anomalies)
    cuts = known.cuts_or_silence(ThresholdSettings())
    found = {str(budget): known.unknown_cut(cuts, budget) for budget in BUDGETS}
    thresholds = {budget: cut.threshold for budget, cut in found.items() if cut}
    tested = {}
    for name, test in task.tests.items():
        fired = np.asarray(fired_tags(network_scores(network, test.features), cuts).any(axis=1))
        strange = anomalies_of(network, benign, test.features)
        reported = {budget: reports(cut, fired, strange) for budget, cut in thresholds.items()}
        tested[name] = _judged(test, test.tags[:, at] == 1, fired, reported)
    return {"task": task.name, "tag": tag, "tests": tested}


def _judged(
    test: TagDataset,
    strange: npt.NDArray[np.bool_],
    fired: npt.NDArray[np.bool_],
    reported: dict[str, npt.NDArray[np.bool_]],
) -> Result:
    benign, others = ~test.attack, test.attack & ~strange
    return {
        "flows": int(strange.sum()),
        "by_tags": _share(fired, strange),
        "false_alarms_of_tags": _share(fired, benign),
        "budgets": {
            budget: {
                "reported": _share(fired | unknown, strange),
                "false_alarms_of_unknown": _share(unknown, benign),
                "known_attacks_called_unknown": _share(unknown, others),
            }
            for budget, unknown in reported.items()
        },
    }


def _share(chosen: npt.NDArray[np.bool_], among: npt.NDArray[np.bool_]) -> float | None:
    return float(chosen[among].mean()) if among.any() else None


def markdown(results: Sequence[Result]) -> str:
    """Return one table for each task and test."""
    tested = {(one["task"], test): None for one in results for test in one["tests"]}
    return "\n\n".join(_table(results, task, test) for task, test in tested)


def _table(results: Sequence[Result], task: str, test: str) -> str:
    rows = [(one["tag"], one["tests"][test]) for one in results if one["task"] == task and one["tests"][test]["flows"]]
    heads = [f"with unknown at {budget:.1%}" for budget in BUDGETS]
    alarms = [f"false alarms of unknown at {budget:.1%}" for budget in BUDGETS]
    lines = [["tag left out (flows)", "tags alone", *heads, *alarms]]
    lines += [[f"{tag} ({one['flows']:,})", *map(_percent, _figures(one))] for tag, one in rows]
    means = [np.mean(column) for column in zip(*(_figures(one) for _, one in rows), strict=True)]
    lines.append(["**mean over tags**", *(_percent(float(mean)) for mean in means)])
    shown = ["| " + " | ".join(line) + " |" for line in lines]
    return "\n".join([f"**{task}, {test}**", "", shown[0], "|" + "---|" * len(lines[0]), *shown[1:]])


def _figures(one: Result) -> list[float]:
    budgets = one["budgets"].values()
    shares = [one["by_tags"], *(of["reported"] for of in budgets), *(of["false_alarms_of_unknown"] for of in budgets)]
    return [float("nan") if share is None else share for share in shares]


def _percent(share: float) -> str:
    return "-" if np.isnan(share) else f"{share:.1%}" if share >= 0.01 or not share else f"{share:.2%}"


if __name__ == "__main__":
    sys.exit(main())
