"""What a detector does on captures of others, and on logs of others of which it may have seen the first part."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from benchmarks.travel.captures import KINDS, Capture, matrix
from features.schema import arrow_schema
from features.table import open_table, write_table
from models.adaptation import AdaptSettings
from models.dataset import TagDataset, read_dataset
from models.detector import Detector
from pipeline.adapting.adapted import Sources
from pipeline.adapting.making import make

USED_SHARE = 0.7
BUDGET, LOG_BUDGET = 0.001, 0.005
"""Of false alarms; two of the logs have a few hundred flows, too few for one in a thousand."""
MOST_ALARMS = 0.01
"""Share of an ordinary capture's flows that may fire where thresholds are said to hold."""
Mask = npt.NDArray[np.bool_]
Plain = dict[str, Any]
MadeBy = Callable[[int, list[Path]], Detector]
"""Makes a detector by the tables of one half of the ordinary captures; takes the number of the half, and them."""


@dataclass(frozen=True)
class Seen:
    """A capture of others with its table."""

    capture: Capture
    table: Path


@dataclass(frozen=True)
class Judged:
    """What a detector said of one capture.

    Attributes:
        capture: Which.
        flows: How many there are.
        fired: Share of them on which a tag fires.
        right: Share of them on which a right tag fires.
        stranger: Whether its guard says that thresholds do not hold here.
    """

    capture: Capture
    flows: int
    fired: float
    right: float
    stranger: bool

    @property
    def told_right(self) -> bool:
        """Whether the guard warns where more than MOST_ALARMS of an ordinary capture fire, and nowhere else."""
        return self.stranger == (self.fired > MOST_ALARMS)


def judge(detector: Detector, seen: Sequence[Seen]) -> list[Judged]:
    """Score captures, all at once; those without flows are left out."""
    if not seen:
        return []
    matrices = [matrix(one.table, detector.card.feature_names) for one in seen]
    bounds = np.cumsum([len(features) for features in matrices])[:-1]
    answers = detector.answers(np.concatenate(matrices))
    parts = (np.split(flows, bounds) for flows in (detector.fired(answers.scores), answers.far))
    return [_judged(one.capture, detector, *said) for one, *said in zip(seen, *parts, strict=True) if len(said[0])]


def _judged(capture: Capture, detector: Detector, fired: Mask, far: Mask) -> Judged:
    right = fired[:, [at for at, name in enumerate(detector.card.tag_names) if name in capture.answers]]
    shares = (float(some.any(axis=1).mean()) for some in (fired, right))
    return Judged(capture, len(fired), *shares, bool(far.mean() > limit_of(detector)))


def on_captures(judged: Sequence[Judged]) -> Plain:
    """Return the false alarms on ordinary captures, the named attacks found, and what the guard says of captures."""
    ordinary = [one for one in judged if not one.capture.kind]
    attacks = [one for one in judged if one.capture.kind]
    flows = sum(one.flows for one in ordinary)
    trusted = [one for one in ordinary if not one.stranger]
    found = {kind: [one for one in attacks if one.capture.kind == kind] for kind in KINDS}
    return {
        "ordinary_captures": len(ordinary),
        "ordinary_flows": flows,
        "false_alarm_rate": sum(one.fired * one.flows for one in ordinary) / max(flows, 1),
        "captures_with_false_alarms": float(np.mean([one.fired > 0 for one in ordinary])) if ordinary else None,
        "found": {kind: [sum(one.right > 0 for one in ones), len(ones)] for kind, ones in found.items() if ones},
        "mean_false_alarm_rate": float(np.mean([one.fired for one in ordinary])) if ordinary else None,
        "strangers": [sum(one.stranger for one in judged), len(judged)],
        "trusted_false_alarms": [sum(round(one.fired * one.flows) for one in trusted), sum(o.flows for o in trusted)],
        "told_right": [sum(one.told_right for one in ordinary), len(ordinary)],
    }


def limit_of(detector: Detector) -> float:
    """Return the share of far flows beyond which traffic is a stranger's."""
    return detector.familiarity.limit if detector.familiarity else 1.0


def adapted(detector: Detector, local: Path, replayed: Sequence[Path], budget: float) -> Detector:
    """Return the detector adapted by a table to a budget, else as `flowtag adapt` does by default."""
    return make(detector, Sources((local,), (), tuple(replayed)), AdaptSettings(), budget).detector


def over_folds(seen: Sequence[Seen], made_by: MadeBy) -> Plain:
    """Make a detector by each half of the ordinary captures and score the other half; attacks are scored by both."""
    ordinary = [one for one in seen if not one.capture.kind]
    attacks = [one for one in seen if one.capture.kind]
    judged: list[Judged] = []
    found: list[Plain] = []
    for fold in sorted({one.capture.fold for one in ordinary}):
        detector = made_by(fold, [one.table for one in ordinary if one.capture.fold == fold])
        judged += judge(detector, [one for one in ordinary if one.capture.fold != fold])
        found.append(on_captures(judge(detector, attacks))["found"])
    means = {kind: [float(np.mean([one[kind][0] for one in found])), found[0][kind][1]] for kind in found[0]}
    return {**on_captures(judged), "found": means}


def together(tables: Sequence[Path], path: Path) -> Path:
    """Write the rows of tables as one table."""

    def batches() -> Any:  # noqa: ANN401 (an iterator of record batches)
        for table in tables:
            with open_table(table) as source:
                yield from source.iter_batches()

    write_table(batches(), path, arrow_schema())
    return path


@dataclass(frozen=True)
class Log:
    """Flow records of another network over hours, by time: the first part to adapt by, the last to be scored."""

    name: str
    used: Path
    held: TagDataset


def read_log(table: Path, detector: Detector, folder: Path) -> Log:
    """Split a labelled table by the start of its flows."""
    whole = pq.read_table(table)
    order = np.argsort(whole["start"].cast("int64").to_numpy(), kind="stable")
    cut = int(USED_SHARE * len(order))
    parts = [folder / f"{table.stem}.{part}.parquet" for part in ("used", "held")]
    for path, rows in zip(parts, (order[:cut], order[cut:]), strict=True):
        pq.write_table(whole.take(rows), path)
    held = read_dataset([parts[1]], detector.card.feature_names, detector.card.tag_names)
    return Log(table.stem, parts[0], held)


@dataclass(frozen=True)
class Around:
    """What a log is seen beside: our own capture, and logs of other networks."""

    own: TagDataset
    others: Sequence[Log]


def on_log(detector: Detector, log: Log, around: Around) -> Plain:
    """Return what a detector does on the last part of a log and on attacks at home, and where its guard trusts it."""
    fired = detector.fired(detector.score(log.held.features)).any(axis=1)
    own = detector.fired(detector.score(around.own.features)).any(axis=1)
    benign = fired[~log.held.attack]
    return {
        "benign_flows": len(benign),
        "false_alarm_rate": float(benign.mean()),
        "own_silent_rate": float(1 - own[around.own.attack].mean()),
        "holds": _holds(detector, log),
        "holds_elsewhere": [sum(_holds(detector, other) for other in around.others), len(around.others)],
    }


def _holds(detector: Detector, log: Log) -> bool:
    return bool(detector.far(log.held.features).mean() <= limit_of(detector))
