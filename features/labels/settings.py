"""Settings of labelling."""

from dataclasses import dataclass
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from features.errors import ConfigError


@dataclass(frozen=True)
class LabelSettings:
    """How truth is read and joined to flows.

    Attributes:
        vocabulary: A vocabulary file of your own, merged over the built-in one; None for the built-in one alone.
        time_zone: Zone of times in rules that name none, an IANA name; empty: as the file says, else they are refused.
        clock_offset_s: Seconds added to the truth's times to get the flows' clock; None: as the file says, else 0.
        allow_unmatched: Whether rules may match no flow.
        allow_unmapped: Whether words that the vocabulary does not map may come up; they give no tag and are counted.
        near_s: Flows within so many seconds outside a rule's time are counted as near its edge.
        speaks_of: Tags that the truth can speak of, separated by semicolons; empty: as the file says, else those that
            its kind of words can mean, of rules and label columns all.
        merge_equal: Whether flows with equal features all get the union of their tags.

    Raises:
        ConfigError: A value is out of range or the zone is unknown.
    """

    vocabulary: Path | None = None
    time_zone: str = ""
    clock_offset_s: float | None = None
    allow_unmatched: bool = False
    allow_unmapped: bool = False
    near_s: float = 1.0
    merge_equal: bool = False
    speaks_of: str = ""

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        if not 0 <= self.near_s <= 86_400:
            raise ConfigError("A label setting is out of range", "near_s", "0 to 86400 s", f"{self.near_s}")
        if self.clock_offset_s is not None and not abs(self.clock_offset_s) <= 1e9:
            raise ConfigError("A label setting is out of range", "clock_offset_s", "seconds", f"{self.clock_offset_s}")
        if self.time_zone:
            zone(self.time_zone, "labels.time_zone")


def zone(name: str, where: str) -> ZoneInfo:
    """Return a time zone.

    Raises:
        ConfigError: There is none of this name.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ConfigError("No such time zone", where, "such as Europe/Prague", repr(name)) from error


DEFAULTS = LabelSettings()
