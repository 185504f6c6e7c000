"""What an adapter is: a table that says which column of a source gives which column of ours.

Targets are the names of the feature schema, and the few of EXTRAS that a schema column can be computed from. Everything
else follows from them by the definitions of features.columns.
"""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from features.errors import ConfigError
from features.schema import COLUMNS

Floats = npt.NDArray[np.float64]
Numbers = dict[str, Floats]
"""Target name to values, shape (n,), NaN where the record gives none."""

TIMES = ("start", "end")
ADDRESSES = ("src_ip", "dst_ip")
PORTS = ("src_port", "dst_port")
TEXTS = ("uid", "community_id", "end_reason", "conn_state", "history", "source_label")
EXTRAS = {
    "syn_seen": "1 when the forward side sent a SYN",
    "syn_ack_seen": "1 when the backward side sent a SYN-ACK",
    "handshake_seen": "1 when the forward side acknowledged the SYN-ACK",
    "fwd_reset_seen": "1 when the forward side sent RST",
    "bwd_reset_seen": "1 when the backward side sent RST",
    "packets": "packets of both directions",
    "bytes": "IP bytes of both directions",
    "fwd_header_bytes": "transport header bytes forward",
    "bwd_header_bytes": "transport header bytes backward",
    "syn_packets": "packets with SYN of both directions",
}
"""Targets beside the schema's columns, and what they mean."""

COMPUTED_HERE = ("capture", "flow_id")
TARGETS = frozenset(
    column.name for column in COLUMNS if column.group != "context" and column.name not in COMPUTED_HERE
) | frozenset(EXTRAS)


@dataclass(frozen=True)
class Given:
    """One target and where its values come from.

    Attributes:
        target: A name of TARGETS.
        columns: Source columns, one for each dialect; the first one that has a value is taken.
        factor: What a value is multiplied by to get the target's unit.
        minus: Source columns that are subtracted, one for each dialect; without one of them there is no value.
        minus_factor: What a value of `minus` is multiplied by before.
        unset: Values that mean that nothing was measured.
        month_first: Whether dates with slashes begin with the month.
        words: For texts, pairs of the source's word and ours; other words are no value. Empty takes them as they are.

    Raises:
        ConfigError: The target is unknown; the message names the nearest.
    """

    target: str
    columns: tuple[str, ...]
    factor: float = 1.0
    minus: tuple[str, ...] = ()
    minus_factor: float = 1.0
    unset: tuple[float, ...] = ()
    month_first: bool = False
    words: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        """Refuse a target that does not exist."""
        if self.target not in TARGETS:
            near = difflib.get_close_matches(self.target, sorted(TARGETS), 1)
            expected = f"a feature or identity column; nearest: {near[0]}" if near else "a feature or identity column"
            raise ConfigError("No such column to map to", "", expected, self.target)

    def sources(self, header: frozenset[str]) -> list[str]:
        """Return the source columns that a file with this header has for the target; the first with a value counts."""
        found = [name for name in self.columns if name in header]
        return found if not self.minus or self.subtracted(header) else []

    def subtracted(self, header: frozenset[str]) -> list[str]:
        """Return the source columns to subtract; the first with a value counts."""
        return [name for name in self.minus if name in header]


class Records(NamedTuple):
    """Some rows of a file while an adapter works on them.

    Attributes:
        raw: Source column to its values as dictionary of texts or number, only those that the adapter names.
        numbers: Target to values, what the adapter's table gave so far.
        version: IP version of each row, 0 where there are no addresses.
    """

    raw: Mapping[str, pa.Array]
    numbers: Numbers
    version: npt.NDArray[np.uint8]


def no_more(_records: Records) -> Numbers:
    """Return no further targets."""
    return {}


def every_row(raw: Mapping[str, pa.Array]) -> npt.NDArray[np.bool_]:
    """Return True for every row."""
    return np.ones(len(next(iter(raw.values()))), bool)


@dataclass(frozen=True)
class Adapter:
    """How one kind of flow record becomes rows of ours.

    Attributes:
        name: What `detect` calls it.
        needs: Source columns a header must have to be of this kind; each a tuple of alternatives.
        given: The table.
        raw: Source columns that `more` or `keep` reads.
        nulls: Texts that stand for no value, beside the empty one.
        more: Targets that the table cannot say, from Records; they go before the table's.
        gives: The targets of `more`.
        keep: False for rows that are no flow records (other events of the same file); they count as not_a_flow.
        without_header: The columns of files that have no header, one tuple for each way of writing them.
        foreign: Source columns that another tool's file has instead; with one of them a header is not of this kind.
    """

    name: str
    needs: tuple[tuple[str, ...], ...]
    given: tuple[Given, ...]
    raw: tuple[str, ...] = ()
    nulls: tuple[str, ...] = ("-", "NaN", "nan", "null", "None")
    more: Callable[[Records], Numbers] = no_more
    gives: tuple[str, ...] = ()
    keep: Callable[[Mapping[str, pa.Array]], npt.NDArray[np.bool_]] = every_row
    without_header: tuple[tuple[str, ...], ...] = field(default=(), repr=False)
    foreign: tuple[str, ...] = ()

    def fits(self, header: frozenset[str]) -> bool:
        """Return whether a file with these columns is of this kind."""
        needed = all(any(name in header for name in names) for names in self.needs)
        return needed and header.isdisjoint(self.foreign)

    def sources(self, header: frozenset[str]) -> list[str]:
        """Return the source columns to read of a file with this header, in no particular order."""
        names = {name for name in self.raw if name in header}
        for given in self.given:
            found = given.sources(header)
            names |= {*found, *given.subtracted(header)} if found else set()
        return sorted(names)

    def number_sources(self, header: frozenset[str]) -> set[str]:
        """Return the source columns of a file with this header whose cells can be nothing but numbers."""
        texts = (*TIMES, *ADDRESSES, *TEXTS, "protocol")
        of_numbers = [given for given in self.given if given.target not in texts]
        names = {name for given in of_numbers for name in (*given.sources(header), *given.subtracted(header))}
        others = {name for given in self.given if given.target in texts for name in given.sources(header)}
        return names - others - set(self.raw)

    def named(self) -> dict[str, str]:
        """Return every source column that the adapter knows, with the target it is for, "" for raw ones."""
        names = dict.fromkeys(self.raw, "")
        for given in self.given:
            names |= dict.fromkeys((*given.columns, *given.minus), given.target)
        return names

    def known_columns(self) -> tuple[str, ...]:
        """Return every source column that the adapter knows, those that it only asks for among them."""
        return tuple(dict.fromkeys([*self.named(), *(name for names in self.needs for name in names)]))

    def targets(self, header: frozenset[str]) -> set[str]:
        """Return the targets that a file with this header can give."""
        return {given.target for given in self.given if given.sources(header)} | set(self.gives)
