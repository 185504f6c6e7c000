"""What a user chooses of a study; light, so that a wrong number is refused before anything is loaded."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from features.errors import ConfigError
from pipeline.tuning.space import SEARCHED

CAPTURE, TIME, AUTO = "capture", "time", "auto"
WAYS = (AUTO, CAPTURE, TIME)
FEWEST = 3
"""Folds: one is held out, one chooses thresholds, and something must be left to learn from."""
GAP_S = 60.0
"""How far columns of context look (features.context.LONG_S; the tests hold the two together)."""


@dataclass(frozen=True)
class FoldChoice:
    """How flows are parted.

    Attributes:
        most: Folds, at most; fewer where the parts do not suffice.
        by: "capture", "time", or "auto": captures where they suffice, else blocks of time.
        gap_s: By time, flows that began so many seconds behind a block's start are dropped, and so are those across its
            end: columns of context look that far.
        seed: Of the order among equal parts.

    Raises:
        ConfigError: A value is out of range.
    """

    most: int = 5
    by: str = AUTO
    gap_s: float = GAP_S
    seed: int = 1

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        if not FEWEST <= self.most <= 100:
            raise ConfigError("no such number of folds", "--folds", f"{FEWEST} to 100", str(self.most))
        if self.by not in WAYS:
            raise ConfigError("no such way to part flows", "--by", ", ".join(WAYS), self.by)
        if not 0 <= self.gap_s <= 1e9:
            raise ConfigError("a gap out of range", "--gap-s", "seconds, 0 or more", str(self.gap_s))

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


@dataclass(frozen=True)
class TuneChoice:
    """What is searched, and with how much effort.

    Attributes:
        trials: To finish in all, those of earlier calls among them.
        workers: Processes that train.
        folds: How flows are parted.
        searched: Keys of settings, out of SEARCHED.
        folder: Of the study; None for one named by its content.

    Raises:
        ConfigError: A number is out of range, or a key none that can be searched.
    """

    trials: int = 30
    workers: int = 1
    folds: FoldChoice = field(default_factory=FoldChoice)
    searched: tuple[str, ...] = SEARCHED
    folder: Path | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        for name, most in (("trials", 10_000), ("workers", 256)):
            if not 1 <= getattr(self, name) <= most:
                raise ConfigError("out of range", f"--{name}", f"1 to {most}", str(getattr(self, name)))
        unknown = [key for key in self.searched if key not in SEARCHED]
        if unknown or not self.searched:
            raise ConfigError("not a setting to search", "--search", ", ".join(SEARCHED), ", ".join(unknown) or "none")
