"""Detectors trained on one source and scored on another, before and after they have seen a little of it.

python -m benchmarks.learning.across WORK [--data DATA] [--captures CAPTURES] [--json OUT] [--markdown OUT]

Sources are the captures of this project and two tables of others; each pair shares the columns that both give. A table
of others is parted by time within each set of tags, by the content of its rows where it has no times: 60 % to learn
from, 20 % to choose thresholds on, 20 % to be judged. What a detector sees of the other source is what `flowtag adapt`
takes: unlabelled flows of its first part, 4 % of them attacks, and every twentieth flow of that part with its labels,
while the flows that it was trained on are replayed.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.learning.command import parser, publish
from benchmarks.learning.report import table
from benchmarks.learning.tables import CICIDS, RARE, TRAIN, UNSW, VALID
from benchmarks.travel.detectors import at_home, labelled, settings_in
from features.labels.equal_rows import row_hashes
from features.labels.vocabulary import read_vocabulary
from features.views import view_of
from models.adaptation import AdaptSettings
from models.dataset import TagDataset, read_dataset
from models.detector import Detector
from models.metrics import false_alarm_rate, silent_rate
from models.scored_flows import read_blocks
from models.thresholds import ThresholdSettings
from models.training import TrainingSettings
from pipeline.adapting.adapted import Sources
from pipeline.adapting.making import make
from pipeline.contender_training import Choice, Sets, fit_network
from pipeline.split import PARTS
from pipeline.train import given_by

BUDGET = 0.01
"""Of false alarms: the tables have two to five thousand benign flows to learn from."""
LABELLED_STEP = 20
HOME, AS_IT_IS, LIFTED, FEW = "at home", "as it is", "lifted", "a few labels"
WAYS = (HOME, AS_IT_IS, LIFTED, FEW)
Plain = dict[str, Any]
Rows = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Source:
    """One source's tables.

    Attributes:
        name: What the report calls it.
        train: To learn from.
        valid: To choose thresholds on.
        test: To be judged.
        local: Flows of the training part as a network shows them, few of them attacks; their labels are not looked at.
        few: Every twentieth flow of the training part, with its labels; none of them is in `local`.
    """

    name: str
    train: Path
    valid: Path
    test: Path
    local: Path
    few: Path


def main() -> int:
    """Measure every pair of sources and print the table; returns the exit status."""
    options = parser("python -m benchmarks.learning.across", __doc__).parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    found = sources(options.data, options.captures, options.work)
    chosen = [one for one in found if not options.tasks or one.name in options.tasks]
    results = [pair(*two, options.work) for two in permutations(chosen, 2)]
    publish(markdown(results), results, options)
    return 0


def sources(data: Path, captures: Path, work: Path) -> list[Source]:
    """Return the sources whose files are there."""
    settings = settings_in(work / "flowtag")
    found = []
    if captures.exists():
        home = at_home(captures, settings)
        found.append(seen("captures", (home.train, home.valid, home.score), work))
    for name, path in (("cicids2017", data / CICIDS), ("unsw-nb15", data / UNSW)):
        if path.exists():
            found.append(seen(name, parted(labelled(path, settings), work), work))
    return found


def pair(home: Source, other: Source, work: Path) -> Plain:
    """Train on one source and score another, as it is and after a little of it; nothing judged was seen."""
    print(f"{home.name} to {other.name}", file=sys.stderr, flush=True)
    columns = view_of(given_by([home.train, home.valid, other.train]), "auto").columns
    names = read_vocabulary().names
    train, valid, test, away = (
        read_dataset([path], columns, names) for path in (home.train, home.valid, home.test, other.test)
    )
    folder = work / "across" / f"{home.name}-{other.name}"
    if not folder.exists():
        folder.parent.mkdir(exist_ok=True)
        cuts = ThresholdSettings(false_alarm_budget=BUDGET)
        fit_network(Sets(train, valid, train), Choice(TrainingSettings(), cuts, read_blocks([home.valid])), folder)
    detector = Detector.load(folder)
    ways = {LIFTED: Sources((other.local,)), FEW: Sources((other.local,), (other.few,), (home.train,))}
    made = {way: make(detector, given, AdaptSettings(), BUDGET).detector for way, given in ways.items()}
    return {
        "trained on": home.name,
        "scored on": other.name,
        "columns": len(columns),
        "attack flows": int(away.attack.sum()),
        "benign flows": int((~away.attack).sum()),
        HOME: judged(detector, test),
        AS_IT_IS: judged(detector, away),
        **{way: judged(one, away) for way, one in made.items()},
    }


def judged(detector: Detector, flows: TagDataset) -> Plain:
    """Return the shares of benign flows that fire, and of attack flows that are silent, or carry a tag that fires."""
    scores = detector.score(flows.features)
    cuts = detector.card.thresholds.cuts
    right = (detector.fired(scores) & (flows.tags > 0)).any(axis=1)
    return {
        "false_alarm_rate": false_alarm_rate(flows.tags, scores, cuts),
        "silent_rate": silent_rate(flows.tags, scores, cuts),
        "right_rate": float(right[flows.attack].mean()),
    }


def markdown(results: Sequence[Plain]) -> str:
    """Return one line a pair: false alarms, silence, and a right tag, in the order of WAYS."""
    head = ["trained on, scored on", "columns", "attack, benign flows", *WAYS]
    return table(head, [_line(one) for one in results])


def _line(one: Plain) -> list[str]:
    figures = [
        ", ".join(f"{one[way][name]:.1%}" for name in ("false_alarm_rate", "silent_rate", "right_rate")) for way in WAYS
    ]
    flows = f"{one['attack flows']:,}, {one['benign flows']:,}"
    return [f"{one['trained on']}, {one['scored on']}", str(one["columns"]), flows, *figures]


def parted(path: Path, folder: Path) -> tuple[Path, Path, Path]:
    """Return a labelled table in three parts, by each flow's place among those with the same tags."""
    whole = pq.read_table(path)
    order = _order(whole)
    kinds = np.unique([";".join(tags) for tags in whole["tags"].to_pylist()], return_inverse=True)[1]
    place = np.empty(len(order))
    for kind in np.unique(kinds):
        rows = order[kinds[order] == kind]
        place[rows] = np.arange(len(rows)) / len(rows)
    parts = (place < TRAIN, (place >= TRAIN) & (place < VALID), place >= VALID)
    paths = [folder / f"{path.stem}.{name}.parquet" for name in PARTS]
    train, valid, test = (_written(whole, rows, path) for rows, path in zip(parts, paths, strict=True))
    return train, valid, test


def _order(whole: pa.Table) -> npt.NDArray[np.int64]:
    """Return the rows by the start of their flows, or, where that is not known, so that equal rows stand together."""
    if whole["start"].null_count < len(whole):
        return np.argsort(whole["start"].cast("int64").fill_null(0).to_numpy(), kind="stable")
    return np.argsort(np.concatenate([row_hashes(batch) for batch in whole.to_batches()]), kind="stable")


def seen(name: str, parts: tuple[Path, Path, Path], folder: Path) -> Source:
    """Return a source with what another source's detector sees of it."""
    whole = pq.read_table(parts[0])
    few = np.arange(len(whole)) % LABELLED_STEP == 0
    attack = pc.list_value_length(whole["tags"]).to_numpy() > 0
    attacks = np.random.default_rng(0).permutation(np.flatnonzero(attack & ~few))
    local = ~attack & ~few
    local[attacks[: int(local.sum() * RARE / (1 - RARE))]] = True
    paths = (folder / f"{name}.{what}.parquet" for what in ("local", "few"))
    return Source(name, *parts, *(_written(whole, rows, path) for rows, path in zip((local, few), paths, strict=True)))


def _written(whole: pa.Table, rows: Rows, path: Path) -> Path:
    pq.write_table(whole.filter(pa.array(rows)), path)
    return path


if __name__ == "__main__":
    sys.exit(main())
