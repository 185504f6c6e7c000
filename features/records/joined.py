"""What Zeek's other logs say of a connection, joined by uid: dns, ssl, http, ssh and quic to the payload columns.

The first row of a uid counts, as the first message of a flow does in a capture. The logs are read before the
connections and held: some 300 bytes a row, `joined_rows` of them at most.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from features.errors import RecordError
from features.payload.columns import payload_columns
from features.payload.facts import Facts
from features.records.cells import numbers
from features.records.detect import layout_of
from features.records.layout import Layout
from features.records.reading import read_batches
from features.records.rejects import Rejects
from features.records.settings import RecordSettings
from features.records.sources.zeek_logs import NUMBERS, ZEEK_LOGS, Row, ZeekLog

BY_ADAPTER = {log.adapter().name: log for log in ZEEK_LOGS}


def joined_log(path: Path) -> ZeekLog | None:
    """Return which of Zeek's logs beside conn.log a file is, None if it is none of those that are joined."""
    layout = _layout(path)
    return BY_ADAPTER.get(layout.adapter.name) if layout else None


def _layout(path: Path) -> Layout | None:
    try:
        return layout_of(path, tuple(log.adapter() for log in ZEEK_LOGS))
    except RecordError:
        return None


class JoinedLogs:
    """The first row of each connection in each log.

    Attributes:
        counts: Once the connections were all taken, for each log that there is: "joined.dns" rows that said something
            of a flow, "joined.dns.later" rows of a connection that had one, "joined.dns.without_flow" rows of none,
            "joined.dns.not_held" rows beyond the limit, "joined.dns.REASON" malformed ones.
    """

    def __init__(self, paths: Sequence[Path], settings: RecordSettings) -> None:
        self._settings = settings
        self._rows: dict[str, dict[str, int]] = {}  # log, uid: place among the rows held, -1 once it was joined
        self._held: dict[str, list[pa.Table]] = {}
        self.counts: Counter[str] = Counter()
        for path in paths:
            layout = _layout(path)
            if layout:
                self._read(path, layout)
        self._tables = {name: pa.concat_tables(tables).combine_chunks() for name, tables in self._held.items()}
        self._held.clear()

    def _read(self, path: Path, layout: Layout) -> None:
        log = BY_ADAPTER[layout.adapter.name]
        rejects = Rejects(0, self._settings.max_reject_share)
        rejects.begin(path)
        places = self._rows.setdefault(log.name, {})
        self.counts[f"joined.{log.name}"] += 0
        for batch in read_batches(path, layout, rejects):
            rejects.judge(complete=False)
            self._hold(log, places, batch.columns)
        rejects.judge(complete=True)
        for reason, count in rejects.counts.items():
            self.counts[f"joined.{log.name}.{reason}"] += count

    def _hold(self, log: ZeekLog, places: dict[str, int], columns: dict[str, pa.Array]) -> None:
        """Keep the rows of a batch that are the first of their uid, as far as there is room."""
        kept = []
        for row, uid in enumerate(columns["uid"].to_pylist()):
            if uid is None or uid in places:
                self.counts[f"joined.{log.name}.{'later' if uid else 'without_flow'}"] += 1
            elif sum(map(len, self._rows.values())) >= self._settings.joined_rows:
                self.counts[f"joined.{log.name}.not_held"] += 1
            else:
                places[uid] = len(places)
                kept.append(row)
        made = {name: _values(name, columns.get(name), len(columns["uid"])) for name in log.columns}
        self._held.setdefault(log.name, []).append(pa.table(made).take(pa.array(kept, pa.int64())))

    def columns(self, uids: pa.Array) -> dict[str, pa.Array]:
        """Return the payload columns of connections, shape (n,); each uid is asked for once."""
        facts: dict[int, Facts] = {}
        asked = uids.to_pylist()
        for log in ZEEK_LOGS:
            for row, said in self._said(log, asked) if log.name in self._tables else ():
                facts.setdefault(row, {}).update(said)
        places = sorted(facts)
        return payload_columns(len(uids), np.array(places, np.int64), [facts[place] for place in places])

    def _said(self, log: ZeekLog, asked: Sequence[str | None]) -> Iterator[tuple[int, Facts]]:
        places = self._rows[log.name]
        found = [(row, place) for row, uid in enumerate(asked) if uid and (place := places.get(uid, -1)) >= 0]
        self.counts[f"joined.{log.name}"] += len(found)
        told: list[Row] = self._tables[log.name].take(pa.array([place for _, place in found], pa.int64())).to_pylist()
        for (row, _), one in zip(found, told, strict=True):
            places[str(asked[row])] = -1
            yield row, log.facts(one)

    def finish(self) -> dict[str, int]:
        """Return the counts, the rows among them that no connection asked for."""
        for name, places in self._rows.items():
            self.counts[f"joined.{name}.without_flow"] += sum(place >= 0 for place in places.values())
        return {name: count for name, count in sorted(self.counts.items()) if count or name.count(".") == 1}


def _values(name: str, column: pa.Array | None, rows: int) -> pa.Array:
    """Return a column as text, or as whole numbers where it is one of numbers; what is none is null."""
    if column is None:
        return pa.nulls(rows, pa.int32() if name in NUMBERS else pa.string())
    if name not in NUMBERS:
        return column.cast(pa.string())
    values = numbers(column).values
    known = (values >= 0) & (values <= NUMBERS[name]) & (values == np.floor(values))
    return pa.array(np.where(known, values, 0).astype(np.int32), mask=~known)
