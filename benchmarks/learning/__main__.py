"""Networks beside boosted trees, on the same flows.

python -m benchmarks.learning WORK [--data DATA] [--captures CAPTURES] [--losses] [--seeds 3] [--picture OUT] ...

DATA holds the tables of others, CAPTURES recorded captures with their rules; what is missing is left out. Every cell
(task, learner, candidate, seed) is one file in WORK: a run that was stopped goes on where it was. Of a family's
candidates the one with the highest mean average precision on validation flows is taken, by seed 1, and then trained
with the other seeds. With --losses one network is trained by each loss instead. CPU seconds are those of all threads
of this process.
"""

import argparse
import os
import platform
import sys
from collections.abc import Callable, Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks.learning.cells import Cell, result
from benchmarks.learning.command import parser, publish
from benchmarks.learning.learners import Candidate, families
from benchmarks.learning.losses import loss_families
from benchmarks.learning.picture import draw
from benchmarks.learning.report import markdown
from benchmarks.learning.tables import Task, tasks

PACKAGES = ("keras", "tensorflow-cpu", "scikit-learn", "lightgbm", "xgboost-cpu", "xgboost", "numpy")
FIRST_SEED = 1


def main() -> int:
    """Compute what is missing and print the tables; returns the exit status."""
    options = _options()
    results = list(_results(options))
    if options.picture:
        draw(results, options.picture)
    publish(markdown(results), {"environment": _environment(), "cells": results}, options)
    return 0


def _options() -> argparse.Namespace:
    options = parser("python -m benchmarks.learning", __doc__)
    options.add_argument("--families", nargs="*", help="only these")
    options.add_argument("--losses", action="store_true", help="compare losses instead of learners")
    options.add_argument("--seeds", type=int, default=3, help="trainings of the chosen candidate")
    options.add_argument("--picture", type=Path, help="draw the tables, as SVG")
    return options.parse_args()


def _results(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    cells = options.work / "cells"
    cells.mkdir(parents=True, exist_ok=True)
    for task, load in tasks(options.data, options.captures, options.work).items():
        if options.tasks and task not in options.tasks:
            continue
        for family, candidates in (loss_families() if options.losses else families()).items():
            if not options.families or family in options.families:
                yield from _family_results(task, cache(load), (family, candidates), options)


def _family_results(
    task: str, load: Callable[[], Task], family: tuple[str, tuple[Candidate, ...]], options: argparse.Namespace
) -> Iterator[dict[str, Any]]:
    """Yield the results of a family's best candidate, one a seed."""
    name, candidates = family

    def computed(number: int, seed: int) -> dict[str, Any]:
        print(f"{task}: {name}, candidate {number}, seed {seed}", file=sys.stderr, flush=True)
        return result(Cell(task, name, number, seed), load, candidates[number], options.work / "cells")

    first = [computed(number, FIRST_SEED) for number in range(len(candidates))]
    best = max(range(len(first)), key=lambda number: first[number]["validation"]["mean_average_precision"])
    yield first[best]
    yield from (computed(best, seed) for seed in range(FIRST_SEED + 1, FIRST_SEED + options.seeds))


def _environment() -> dict[str, str | int | None]:
    found: dict[str, str | int | None] = {"python": platform.python_version(), "cores": os.cpu_count()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


if __name__ == "__main__":
    sys.exit(main())
