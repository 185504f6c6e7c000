"""Ordinary traffic of other networks: learned as benign beside the labelled flows, a part of its sources held out.

A detector that has seen one network takes what is ordinary elsewhere for attacks. What is ordinary on some other
networks teaches it what attacks are not; on sources held out thresholds keep their budget and the guard its measure.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from features.errors import ConfigError
from models.adaptation import SUSPECT_SHARE, Mask, suspects
from models.dataset import TagDataset


@dataclass(frozen=True)
class BackgroundSettings:
    """How ordinary traffic of other networks joins a training.

    Attributes:
        share: Highest share of the training flows that it may be; of more, each source gives an even part.
        held_out: Share of its flows, whole sources where there are enough, that thresholds and guard are chosen by.
        attack_share: Share of the held-out flows that attacks may be: sources most of whose flows fire are set aside
            up to it before thresholds are chosen. 0 where none are among them.

    Raises:
        ConfigError: A value is out of range.
    """

    share: float = 0.5
    held_out: float = 0.2
    attack_share: float = 0.0

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        rules = {
            "share": (0 < self.share < 1, "0 < share < 1"),
            "held_out": (0 < self.held_out < 1, "0 < share < 1"),
            "attack_share": (0 <= self.attack_share < 1, "0 <= share < 1"),
        }
        for name, (holds, expected) in rules.items():
            if not holds:
                raise ConfigError("no such background", f"background.{name}", expected, repr(getattr(self, name)))

    def to_dict(self) -> dict[str, float]:
        """Return plain values, as they are logged and stored with a detector."""
        return asdict(self)


@dataclass(frozen=True)
class Senders:
    """Who sent the first packet of each flow.

    Attributes:
        of_flow: Its number, shape (n_flows,).
        names: What each is called, by its number.
    """

    of_flow: npt.NDArray[np.int64]
    names: tuple[str, ...]


@dataclass(frozen=True)
class Background:
    """Flows of other networks, taken for benign.

    Attributes:
        learned: To learn from.
        held_out: Of other sources, or of a later time.
        senders: Of the learned flows, and behind them of those held out.
        half: Of which half of the sources each learned flow is, 0 or 1, shape (n_learned,).
        settings: How they were chosen.
        unlearned: On which learned flows a network fires that has learned only those of the other half; None where
            nobody tried.
    """

    learned: TagDataset
    held_out: TagDataset
    senders: Senders
    half: npt.NDArray[np.int64]
    settings: BackgroundSettings
    unlearned: Mask | None = None

    def beside(self, labelled: TagDataset, scratch: Path | None = None) -> TagDataset:
        """Return labelled flows with the learned ones behind them; scratch as for `models.dataset.read_dataset`."""
        return labelled.followed_by(self.learned, scratch)

    def set_aside(self, fired: Mask) -> Mask:
        """Return which held-out flows are those of senders that look like attackers, shape (n_held_out,).

        Args:
            fired: Held-out flows on which a tag fires.
        """
        return suspects(fired, self.senders.of_flow[len(self.learned) :], self.settings.attack_share)

    def told(self, fired: Mask) -> dict[str, Any]:
        """Return what a detector does on the flows, plain values.

        Args:
            fired: Flows on which a tag fires, the learned ones first, shape (n_learned + n_held_out,).

        Returns:
            ``learned`` and ``held_out`` flows, ``false_alarm_rate`` of those held out (None of none), and ``firing``:
            the senders most of whose flows fire, though they were taken for benign; those of most flows first. Of
            learned flows that is what they did before they were learned, if somebody tried.
        """
        held_out = fired[len(self.learned) :]
        if self.unlearned is not None:
            fired = np.concatenate([self.unlearned, held_out])
        flows = np.bincount(self.senders.of_flow, minlength=len(self.senders.names))
        firing = np.bincount(self.senders.of_flow, weights=fired, minlength=len(self.senders.names)).astype(np.int64)
        mostly = np.flatnonzero((flows > 0) & (firing >= SUSPECT_SHARE * flows))
        order = mostly[np.argsort(-flows[mostly], kind="stable")].tolist()
        return {
            "learned": len(self.learned),
            "held_out": len(held_out),
            "false_alarm_rate": float(held_out.mean()) if len(held_out) else None,
            "firing": [
                {"sender": self.senders.names[at], "flows": int(flows[at]), "fired": int(firing[at])} for at in order
            ],
        }
