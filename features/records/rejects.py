"""Malformed rows: counted by reason, the first of them kept with their line, and too many of them refused."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from features.errors import RecordError

NOT_MALFORMED = ("not_a_flow", "not_ip", "no_template", "empty", "no_record")
"""Reasons that say nothing against a file: rows of other kinds among its flows."""

ENOUGH_TO_JUDGE = 20_000
FEW = 3
"""So many malformed rows are no reason to refuse a file that has good ones: the closing lines of some tools."""


@dataclass(frozen=True)
class Reject:
    """A row that was left out: its file, its line (or row of a file without lines) from 1, and why."""

    path: str
    line: int
    reason: str


class Rejects:
    """The rows left out of one extraction.

    Attributes:
        counts: Rows by reason.
        kept: The first malformed ones, `most` of them.
        rows: Rows seen, good and bad.
        notes: What else was counted in the files, of things that are no rows.
    """

    def __init__(self, most: int, share: float) -> None:
        self._most = most
        self._share = share
        self._of_file: Counter[str] = Counter()
        self._first: list[Reject] = []
        self._rows_of_file = 0
        self.counts: Counter[str] = Counter()
        self.kept: list[Reject] = []
        self.notes: Counter[str] = Counter()
        self.rows = 0

    def begin(self, path: Path) -> None:
        """Start the account of the next file."""
        self._path = str(path)
        self._of_file.clear()
        self._first = []
        self._rows_of_file = 0

    def saw(self, rows: int) -> None:
        """Count rows read, good and bad."""
        self.rows += rows
        self._rows_of_file += rows

    def add(self, reason: str, lines: list[int]) -> None:
        """Count rows left out for a reason."""
        if not lines:
            return
        self.counts[reason] += len(lines)
        self._of_file[reason] += len(lines)
        if reason in NOT_MALFORMED:
            return
        first = self._first + [Reject(self._path, line, reason) for line in lines[:3]]
        self._first = sorted(first, key=lambda reject: reject.line)[:3]
        self.kept += [Reject(self._path, line, reason) for line in lines[: self._most - len(self.kept)]]

    def judge(self, complete: bool) -> None:
        """Refuse the file when too much of it is malformed.

        Raises:
            RecordError: More than the allowed share of its rows; before the end only once enough of them are known.
        """
        bad = sum(count for reason, count in self._of_file.items() if reason not in NOT_MALFORMED)
        others = sum(self._of_file[reason] for reason in NOT_MALFORMED)
        tolerated = bad <= self._share * self._rows_of_file or (bad <= FEW and bad + others < self._rows_of_file)
        if tolerated or not (complete or bad > ENOUGH_TO_JUDGE):
            return
        raise RecordError(
            "Too many rows of the file are malformed",
            self._path,
            f"at most {self._share:.0%} of its rows",
            f"{bad:,} of {self._rows_of_file:,}; "
            + ", ".join(f"line {reject.line}: {reject.reason}" for reject in self._first),
            "repair it, allow more (records.max_reject_share), or name its columns in a mapping file "
            "(docs/flow-records.md)",
        )
