"""Whether messages are missing, by the counters of exporters, each of which counts in its own way.

By the book version 9 counts messages (RFC 3954), IPFIX the data records before a message (RFC 7011), version 5 the
flows before it. softflowd's IPFIX counts a message's own flows in, and no options.
"""

from collections import Counter
from typing import NamedTuple

from features.records.exports.messages import NETFLOW_9, Message

GAPS = "export.sequence_gaps"


class Counted(NamedTuple):
    """The data records of a message, and the flows among them; None where a set could not be counted."""

    records: int | None = 0
    flows: int | None = 0

    def and_set(self, records: int | None, are_flows: bool) -> "Counted":
        """Return the counts with another set."""
        if records is None or self.records is None or self.flows is None:
            return Counted(None, None)
        return Counted(self.records + records, self.flows + records * are_flows)


class Counters:
    """The last message of each source.

    Attributes:
        notes: Where gaps are counted.
    """

    def __init__(self, notes: Counter[str]) -> None:
        self._last: dict[tuple[object, ...], tuple[int, Counted]] = {}
        self.notes = notes

    def follow(self, source: tuple[object, ...], message: Message, counted: Counted) -> None:
        """Count a gap where no way of counting leads from a source's last message to this one."""
        last = self._last.get(source)
        self._last[source] = (message.sequence, counted)
        if last is None:
            return
        step = (message.sequence - last[0]) & 0xFFFFFFFF
        ways = {1, *last[1], *counted}
        known = None not in ways or message.version == NETFLOW_9
        if known and step not in ways:
            self.notes[GAPS] += 1
