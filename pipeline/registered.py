"""What the registry says of a detector; no more than names and places, so that everyone may know it."""

from dataclasses import dataclass
from pathlib import Path

from features.errors import ConfigError, NoChampion
from features.views import PACKETS
from pipeline.settings import Settings


@dataclass(frozen=True)
class Registered:
    """A detector as it was entered in the registry.

    Attributes:
        name: Of the registered model.
        version: Counted from 1.
        in_use: True when the verdict made it champion.
        verdict: Why it was or was not.
        run_id: Of the MLflow run that logged its training.
        since: What is in use in its place by now, where the registry was changed after the verdict.
    """

    name: str
    version: int
    in_use: bool
    verdict: str
    run_id: str
    since: str = ""

    def __str__(self) -> str:
        """Return it as a sentence."""
        if self.since:
            return f"{self.name} version {self.version} was put in use, but {self.since}: {self.verdict}"
        return f"{self.name} version {self.version} is {'in use' if self.in_use else 'not in use'}: {self.verdict}"


@dataclass(frozen=True)
class Champion:
    """The detector in use.

    Attributes:
        folder: Its directory on this machine.
        name: Of the registered model.
        version: Counted from 1.
        view: The set of columns that it was trained for.
    """

    folder: Path
    name: str
    version: int
    view: str = PACKETS

    @property
    def title(self) -> str:
        """Return what reports call it, such as "flowtag version 3"."""
        return f"{self.name} version {self.version}" + (f", view {self.view}" if self.view != PACKETS else "")


@dataclass(frozen=True)
class Budget:
    """How many false alarms there may be; at least one of the three is given, and of the first two at most one.

    Attributes:
        share: Of benign flows on which a tag may fire; the detector's own where neither is given.
        per_hour: The same per hour of traffic.
        unknown: Share of benign flows that may be reported as unknown; None leaves the detector's own budget.
    """

    share: float | None = None
    per_hour: float | None = None
    unknown: float | None = None

    def __post_init__(self) -> None:
        """Refuse none, two for the tags, and what is no budget."""
        of_tags = [value for value in (self.share, self.per_hour) if value is not None]
        given = [*of_tags, *([] if self.unknown is None else [self.unknown])]
        if not given or len(of_tags) > 1 or not all(0 <= value < float("inf") for value in given):
            raise ConfigError(
                "no budget of false alarms",
                "flowtag thresholds",
                "--budget SHARE or --per-hour NUMBER, --unknown SHARE",
                str(given),
            )


def require_registry(settings: Settings) -> None:
    """Raise NoChampion where the default registry does not exist yet; asking it would make it."""
    if not settings.mlflow.tracking_uri and not (settings.state.root / "mlflow.db").exists():
        raise no_champion(settings)


def no_champion(settings: Settings) -> NoChampion:
    """Return the error for a registry without a detector in use."""
    return NoChampion(
        "no detector is in use yet",
        f"models:/{settings.mlflow.model_name}@champion in {settings.tracking_uri}",
        "a detector that was trained and accepted",
        next_step="flowtag train --train SOURCE --valid SOURCE, or flowtag demo",
    )
