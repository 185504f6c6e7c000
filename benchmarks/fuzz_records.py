"""Hostile flow records: whatever the bytes, a row is a flow or rejected by name, or one clear error refuses the file.

python benchmarks/fuzz_records.py FOLDER [--files N] [--seed N] >> docs/robustness.md

The beginnings of all files of known records below a folder, changed and read N times. The first thing that does not
hold ends the run with the seed that shows it again; so does a file that takes two minutes of the processor.
"""

import argparse
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.fuzz import LONGEST_S, BrokenPromiseError, watched
from features.errors import InputError
from features.records.byte_stream import open_bytes
from features.records.detect import detect
from features.records.extraction import extract_records
from features.records.settings import RecordSettings

ENDINGS = (
    ".csv",
    ".log",
    ".json",
    ".jsonl",
    ".ndjson",
    ".tsv",
    ".txt",
    ".binetflow",
    ".gz",
    ".zeek",
    ".ctu",
    ".nfdump",
)
HEAD_BYTES, LARGEST_FILE = 20_000, 200_000_000
CELLS = (b"", b"-", b"nan", b"inf", b"1e999", b"-1", b"1e-400", b"99999999999999999999", b"9223372036854775808", b"\0")
CELLS += (
    b"\xff",
    b'"',
    b"'",
    b"\\",
    b"{",
    b"[",
    b"]",
    b"}",
    b"null",
    b"true",
    b"0x7f",
    b"::1",
    b"256.1.1.1",
    b"\xe2\x80\xa8",
)
"""What a cell, or a piece of JSON, may come to be."""
DELIMITERS = b",\t ;|:\n"


@dataclass
class Tally:
    """What was read.

    Attributes:
        files: Changed files.
        refused: Of them, by what the error says.
        rows: Read, out, and rejected by reason.
        seconds: Of the processor.
    """

    files: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    rows: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0


def main() -> int:
    """Run and print the section; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python benchmarks/fuzz_records.py")
    parser.add_argument("folder", type=Path, help="flow records are looked for below it")
    parser.add_argument("--files", type=int, default=20_000, help="changed files to read")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    sources = heads(options.folder)
    if not sources:
        print(f"no flow records below {options.folder}", file=sys.stderr)
        return 2
    print(section(campaign(sources, options.files, options.seed), len(sources), options.files, options.seed), end="")
    return 0


def heads(folder: Path) -> list[bytes]:
    """Return the first lines of every file of known flow records below a folder."""
    found = []
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name.endswith(ENDINGS) and path.stat().st_size < LARGEST_FILE:
            try:
                detect(path)
            except InputError:
                continue
            with open_bytes(path) as stream:
                head = stream.read(HEAD_BYTES)
            found.append(head[: head.rfind(b"\n") + 1] or head)
    return found


def campaign(sources: Sequence[bytes], files: int, seed: int) -> Tally:
    """Read so many changed files.

    Raises:
        BrokenPromiseError: Rows do not add up, or an error says no place.
    """
    tally, chance, begun = Tally(), random.Random(seed), time.process_time()  # noqa: S311 (nothing secret)
    with TemporaryDirectory() as folder:
        made = Path(folder) / "made"
        for number in range(files):
            made.write_bytes(changed(chance.choice(sources), chance))
            settings = RecordSettings(max_reject_share=chance.choice((0.05, 1.0)))
            with watched():
                read(made, settings, tally, f"seed {seed}, file {number}")
            if number % 1000 == 0:
                print(f"{number} files, {tally.rows['rows_read']:,} rows", file=sys.stderr)
    tally.seconds = time.process_time() - begun
    return tally


def changed(head: bytes, chance: random.Random) -> bytes:
    """Return records with up to twelve bytes, cells or lines changed, taken out or doubled; some lack their end."""
    content = bytearray(head)
    for _ in range(chance.randint(1, 12)):
        if not content:
            break
        at = chance.randrange(len(content))
        kind = chance.randrange(6)
        if kind == 0:
            content[at] = chance.getrandbits(8)
        elif kind == 1:
            start, end = _around(content, at, b"\n")
            content[start:end] = chance.choice((b"", 2 * content[start:end]))
        elif kind == 2 and chance.randrange(4) == 0:
            del content[at:]
        else:
            start, end = _around(content, at, DELIMITERS)
            content[start:end] = chance.choice(CELLS)
    return bytes(content)


def _around(content: bytearray, at: int, delimiters: bytes) -> tuple[int, int]:
    """Return where the piece between delimiters begins and ends that an index lies in."""
    start, end = at, at
    while start > 0 and content[start - 1] not in delimiters:
        start -= 1
    while end < len(content) and content[end] not in delimiters:
        end += 1
    return start, end


def read(path: Path, settings: RecordSettings, tally: Tally, where: str) -> None:
    """Take one file to feature rows, and hold what is promised against what comes out.

    Raises:
        BrokenPromiseError: It does not hold.
    """
    tally.files += 1
    extraction = extract_records([path], settings)
    try:
        rows = sum(batch.num_rows for batch in extraction)
    except InputError as error:
        if path.name not in error.where:
            raise BrokenPromiseError(f"{where}: the error says no place: {error}") from error
        tally.refused[error.what] += 1
        return
    counts = {name: n for name, n in extraction.counts.items() if name.startswith(("rows_", "rejected."))}
    rejected = sum(n for name, n in counts.items() if name.startswith("rejected."))
    if not counts["rows_read"] - rejected == counts["rows_out"] == rows:
        raise BrokenPromiseError(f"{where}: {rows} rows, {counts}")
    tally.rows.update(counts)


HEAD = """
## Flow records

Made by this command, DATA as above:

    python benchmarks/fuzz_records.py DATA --files {files} --seed {seed} >> docs/robustness.md

The beginnings of the {sources} files of known flow records in DATA, with bytes, cells and lines changed, taken out or
doubled. Held for each one: the rows read are those that became flows and those rejected under a name, or one error
refuses the file by its name; it takes less than {longest} CPU-seconds.

| changed files | refused with an error | rows read | flows | rejected | CPU-seconds |
| --- | --- | --- | --- | --- | --- |
"""


def section(tally: Tally, sources: int, files: int, seed: int) -> str:
    """Return the results as a part of a page."""
    read_rows, out = tally.rows["rows_read"], tally.rows["rows_out"]
    numbers = (tally.files, tally.refused.total(), read_rows, out, read_rows - out)
    row = "".join(f"| {number:,} " for number in numbers) + f"| {tally.seconds:,.0f} |\n"
    lines = [HEAD.format(files=files, seed=seed, sources=sources, longest=LONGEST_S) + row]
    lines += [f"\n| {title} | |\n| --- | --- |\n" + _listed(counts) for title, counts in _tables(tally)]
    return "".join(lines)


def _tables(tally: Tally) -> Iterator[tuple[str, Counter[str]]]:
    yield "the error says", tally.refused
    yield (
        "rows rejected",
        Counter({name: count for name, count in tally.rows.items() if name.startswith("rejected.")}),
    )


def _listed(counts: Counter[str]) -> str:
    return "".join(f"| {name} | {count:,} |\n" for name, count in counts.most_common())


if __name__ == "__main__":
    sys.exit(main())
