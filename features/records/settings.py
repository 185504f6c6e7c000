"""Settings of reading flow records."""

from dataclasses import dataclass
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from features.errors import ConfigError


@dataclass(frozen=True)
class RecordSettings:
    """How flow records are read.

    Attributes:
        max_reject_share: With a larger share of malformed rows a file is refused.
        time_zone: Zone of times that name none, an IANA name.
        mapping: A mapping file for sources without an adapter, see docs/flow-records.md; None to detect.
        run_rows: Rows sorted in memory at once; more are sorted through temporary files.
        joined_rows: Rows of Zeek's dns, ssl, http, ssh and quic logs that are held to be joined; others are counted.
        rejects_kept: Rejected rows that are kept with line and reason; all are counted.

    Raises:
        ConfigError: A value is out of range or the zone is unknown.
    """

    max_reject_share: float = 0.05
    time_zone: str = "UTC"
    mapping: Path | None = None
    run_rows: int = 500_000
    joined_rows: int = 1_000_000
    rejects_kept: int = 1000

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        if not 0 <= self.max_reject_share <= 1:
            raise ConfigError("A share is out of range", "max_reject_share", "0 to 1", f"{self.max_reject_share}")
        for name in ("run_rows", "joined_rows", "rejects_kept"):
            if getattr(self, name) < 1:
                raise ConfigError("A record setting is out of range", name, "at least 1", f"{getattr(self, name)}")
        try:
            ZoneInfo(self.time_zone)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ConfigError("No such time zone", "time_zone", "such as Europe/Prague", self.time_zone) from error


DEFAULTS = RecordSettings()
