"""The state of a training after an epoch, as a file: a kill costs no more than the epoch it came in.

All that the next epoch depends on is in it: weights, the optimizer's moments and step, the counters of all layers that
draw random numbers, the best weights so far and the history. The order of flows follows from seed and epoch.
"""

import json
import os
import zipfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import keras
import numpy as np

from models.watch import EpochResult, Watch

STATE_FILE = "state.npz"
MODEL, OPTIMIZER, BEST, NOTES = "model", "optimizer", "best", "notes"


def keep(folder: Path, members: keras.Model, watch: Watch) -> None:
    """Write the state; a crash leaves the one before it."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = {MODEL: _values(_variables(members)), OPTIMIZER: _values(members.optimizer.variables)}
    parts[BEST] = watch.best_weights
    arrays: dict[str, Any] = {
        f"{part}.{number}": value for part, values in parts.items() for number, value in enumerate(values)
    }
    notes = {"history": [asdict(result) for result in watch.history], "best_value": watch.best_value}
    arrays[NOTES] = np.array(json.dumps(notes))
    temporary = folder / f".{STATE_FILE}"
    with temporary.open("wb") as file:
        np.savez(file, **arrays)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(folder / STATE_FILE)


def restore(folder: Path, members: keras.Model, watch: Watch) -> int:
    """Put back a state that `keep` wrote, and return how many epochs are done; 0 where there is none that fits."""
    try:
        with np.load(folder / STATE_FILE, allow_pickle=False) as saved:
            notes = json.loads(str(saved[NOTES]))
            model, optimizer, best = (_numbered(saved, part) for part in (MODEL, OPTIMIZER, BEST))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return 0
    targets = [*_variables(members), *members.optimizer.variables]
    if [value.shape for value in (*model, *optimizer)] != [tuple(variable.shape) for variable in targets]:
        return 0
    for variable, value in zip(targets, (*model, *optimizer), strict=True):
        variable.assign(value)
    watch.history = [EpochResult(**one) for one in notes["history"]]
    watch.best_value = (notes["best_value"][0], notes["best_value"][1])
    watch.best_weights = best
    return len(watch.history)


def _variables(members: keras.Model) -> list[keras.Variable]:
    """Return weights and the counters of random numbers, without the metrics, which each epoch begins anew."""
    metrics = {id(variable) for variable in members.metrics_variables}
    return [variable for variable in members.variables if id(variable) not in metrics]


def _values(variables: Sequence[keras.Variable]) -> list[np.ndarray]:
    return [np.asarray(keras.ops.convert_to_numpy(variable)) for variable in variables]


def _numbered(saved: np.lib.npyio.NpzFile, part: str) -> list[np.ndarray]:
    count = sum(name.startswith(f"{part}.") for name in saved.files)
    return [saved[f"{part}.{number}"] for number in range(count)]
