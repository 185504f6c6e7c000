"""The validation flows as a detector scored them, kept with it: other thresholds can be chosen without training again.

Blocks of time stand for what flows have in common: flows of one scan are no independent evidence, blocks nearly are.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features.errors import ModelError, Uncalibrated
from models.adaptation import lifted_thresholds
from models.firing import Cuts, any_fired
from models.saved_arrays import saved_arrays
from models.thresholds import NEVER_FIRES, Thresholds, ThresholdSettings, choose_thresholds
from models.unknown import UnknownCut, choose_cut, judged_cut, surely_within, threshold_for

MOST_FLOWS = 200_000
LONGEST_BLOCK_S, FEWEST_BLOCKS = 60.0, 40
HOUR_S = 3_600.0
SECOND_NS = 1_000_000_000
MOST_ELSEWHERE, WORTH_SILENCE = 0.01, 0.01
"""Shares: of the held-out flows of other networks that may fire at most, and of attack flows that quiet may cost."""


@dataclass(frozen=True)
class Blocks:
    """When flows began.

    Attributes:
        of_flow: Number of the block of time a flow began in, shape (n_flows,), from 0; tables share no block.
        hours: Length of the traffic: from the first start to the last in each table, summed.
    """

    of_flow: npt.NDArray[np.int32]
    hours: float


@dataclass(frozen=True)
class ScoredFlows:
    """Flows whose truth is known, with their scores.

    Attributes:
        tags: Shape (n_flows, n_tags), uint8, 0 or 1.
        scores: Same shape, float32, in [0, 1].
        blocks: When they began; None where that is unknown.
        background: Scores of ordinary flows of other networks, shape (n_background, n_tags); None without any.
        anomalies: Anomaly scores of all, those of other networks last, shape (n_flows + n_background,), float32; None
            where nothing unknown is looked for.
    """

    tags: npt.NDArray[np.uint8]
    scores: npt.NDArray[np.float32]
    blocks: Blocks | None = None
    background: npt.NDArray[np.float32] | None = None
    anomalies: npt.NDArray[np.float32] | None = None

    @property
    def attacks(self) -> npt.NDArray[np.float32]:
        """The scores of attack flows."""
        return self.scores[self.tags.any(axis=1)]

    def thresholds(self, settings: ThresholdSettings) -> Thresholds:
        """Choose thresholds under which both the benign flows and the background keep the budget of false alarms.

        Of the background one flow may fire whatever the budget is, and where quiet costs more than WORTH_SILENCE of the
        attack flows and few more flows may mend that, as many as it takes, up to MOST_ELSEWHERE. The rates are those of
        the other flows.

        Raises:
            ModelError: The budget is one per hour, and when the flows began is unknown.
            Uncalibrated: Nothing can be detected so.
        """
        settings = as_share(settings, self.tags, self.blocks)
        chosen = choose_thresholds(self.tags, self.scores, settings)
        if self.background is None:
            return chosen
        judged = self._lifted(chosen, self.background, settings.false_alarm_budget)
        if judged.silent_rate == 1.0:
            raise Uncalibrated(
                "no threshold detects anything within the budget on the background",
                f"{len(self.background):,} held-out flows of other networks",
                f"false-alarm rate at most {settings.false_alarm_budget:g}",
                "they score as high as every attack flow",
                "look for attacks in the background, leave them out or allow for them: background.attack_share=0.05",
            )
        return judged

    def _lifted(self, chosen: Thresholds, background: npt.NDArray[np.float32], budget: float) -> Thresholds:
        """Return thresholds lifted for the background, and judged on the other flows."""
        least, tried = min(1, len(background) - 1), list[Thresholds]()
        while not tried or least <= MOST_ELSEWHERE * len(background):
            lifted = lifted_thresholds(chosen, background, budget, self.attacks, least)
            tried.append(lifted.judged(self.tags, self.scores))
            if tried[-1].silent_rate <= chosen.silent_rate + WORTH_SILENCE:
                return tried[-1]
            least = max(2 * least, 1)
        return tried[0]

    def cuts_or_silence(self, settings: ThresholdSettings) -> Cuts:
        """Return the cuts of `thresholds`; such as never fire where nothing can be detected so."""
        try:
            return self.thresholds(settings).cuts
        except Uncalibrated:
            return (NEVER_FIRES,) * self.tags.shape[1]

    def unknown_cut(self, cuts: Cuts, budget: float) -> UnknownCut | None:
        """Choose from where on flows without a fired tag are reported as unknown; None where they have no such scores.

        The benign flows keep the budget, and so does the background, of which one flow may be reported whatever it is.

        Args:
            cuts: Thresholds of the tags.
            budget: Share of the flows that may be reported.
        """
        if self.anomalies is None:
            return None
        own, beside = np.split(self.anomalies, [len(self.tags)])
        attack, fired = np.asarray(self.tags.any(axis=1)), any_fired(self.scores, cuts)
        cut = choose_cut(attack, fired, own, budget)
        if self.background is None:
            return cut
        quiet = beside[~any_fired(self.background, cuts)]
        elsewhere = threshold_for(quiet, max(1, surely_within(budget, len(beside))))
        return judged_cut(max(cut.threshold, elsewhere), attack, fired, own) if len(quiet) else cut

    def sampled(self, most: int = MOST_FLOWS) -> "ScoredFlows":
        """Return at most about so many flows, evenly spread, attack and benign ones in the shares they had.

        The hours of traffic shrink alike, so that false alarms per hour stay what they were. Of the background as many.
        """
        if self.background is not None and len(self.background) > most:
            every = np.arange(0, len(self.background), -(-len(self.background) // most))
            return self._rows(np.arange(len(self.tags)), every).sampled(most)
        step = -(-len(self.tags) // most)
        if step == 1:
            return self
        attack = self.tags.any(axis=1)
        chosen = np.sort(np.concatenate([np.flatnonzero(attack)[::step], np.flatnonzero(~attack)[::step]]))
        fewer = self._rows(chosen, np.arange(0 if self.background is None else len(self.background)))
        return replace(fewer, blocks=fewer.blocks and replace(fewer.blocks, hours=fewer.blocks.hours / step))

    def _rows(self, flows: npt.NDArray[np.intp], beside: npt.NDArray[np.intp]) -> "ScoredFlows":
        """Return some of the flows, of the same hours, and some of the background."""
        return ScoredFlows(
            self.tags[flows],
            self.scores[flows],
            self.blocks and replace(self.blocks, of_flow=self.blocks.of_flow[flows]),
            None if self.background is None else self.background[beside],
            None if self.anomalies is None else self.anomalies[np.concatenate([flows, len(self.tags) + beside])],
        )

    def save(self, path: Path) -> None:
        """Write them as plain arrays."""
        block, hours = (self.blocks.of_flow, self.blocks.hours) if self.blocks else (np.empty(0, np.int32), np.nan)
        arrays: dict[str, Any] = {"tags": self.tags, "scores": self.scores, "block": block, "hours": hours}
        more = {"background": self.background, "anomalies": self.anomalies}
        arrays |= {name: values for name, values in more.items() if values is not None}
        np.savez_compressed(path, **arrays)

    @classmethod
    def load(cls, path: Path) -> "ScoredFlows":
        """Read what `save` wrote; no pickle is ever read.

        Raises:
            ModelError: The file is damaged or of other arrays.
        """
        with saved_arrays(path, "the scored validation flows") as saved:
            hours = float(saved["hours"])
            blocks = None if np.isnan(hours) else Blocks(saved["block"], hours)
            return cls(saved["tags"], saved["scores"], blocks, saved.get("background"), saved.get("anomalies"))


def as_share(settings: ThresholdSettings, tags: npt.NDArray[np.uint8], blocks: Blocks | None) -> ThresholdSettings:
    """Return the settings with what false alarms per hour are as a share of the benign flows, at most just below 1.

    Args:
        settings: Returned as they are where the budget is a share.
        tags: Of the validation flows.
        blocks: When they began.

    Raises:
        ModelError: When the flows began is unknown, or all began at once.
    """
    if settings.per_hour is None:
        return settings
    if blocks is None or not blocks.hours > 0:
        raise ModelError(
            "a budget per hour needs to know how long the validation traffic was",
            "thresholds.per_hour",
            "validation flows with start times",
            "none, or all alike",
            "give the budget as a share: thresholds.false_alarm_budget",
        )
    benign = max(int((~tags.any(axis=1)).sum()), 1)
    share = min(settings.per_hour * blocks.hours / benign, float(np.nextafter(1.0, 0.0)))
    return replace(settings, false_alarm_budget=share)


def read_blocks(paths: Sequence[Path]) -> Blocks:
    """Read when flows of tables began, one table after the other, in blocks of a minute, or less in short traffic."""
    starts = [_starts(path) for path in paths]
    spans_s = [float(np.ptp(ns)) / SECOND_NS if len(ns) else 0.0 for ns in starts]
    block_s = max(min(LONGEST_BLOCK_S, sum(spans_s) / FEWEST_BLOCKS), 1e-3)
    parts, first = [], 0
    for ns, span_s in zip(starts, spans_s, strict=True):
        since_s = (ns - ns.min(initial=np.iinfo(np.int64).max)) / SECOND_NS
        parts.append((since_s // block_s).astype(np.int32) + first)
        first += int(span_s // block_s) + 1
    return Blocks(np.concatenate(parts), sum(spans_s) / HOUR_S)


def _starts(path: Path) -> npt.NDArray[np.int64]:
    """Return when a table's flows began, ns; those of unknown time as if with the first."""
    column = pq.read_table(path, columns=["start"])["start"].cast(pa.int64())
    first = pc.min(column).as_py()
    return np.asarray(column.fill_null(0 if first is None else first).to_numpy(), np.int64)
