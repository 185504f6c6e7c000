"""How fast record files become feature tables, beside pandas and zat: python benchmarks/records.py [--rows N ...].

Big files are built from real samples in the folder that FLOWTAG_DATA names: the rows of a sample again and again, times
moved on and addresses changed with each repetition. Every way runs in a process of its own; its CPU time (user and
system, all threads) is that of the whole file less that of a file of WARM_ROWS rows, which costs the same imports and
compiled kernels. zat is measured where --zat names a Python that has it, and pandas by that Python too. Both hold the
whole file in memory, and are left out above WHOLE_ROWS.
"""

import argparse
import gzip
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

WARM_ROWS = 2000
WHOLE_ROWS = 2_000_000
OURS = """
from features.records.extraction import extract_records
from features.schema import arrow_schema
from features.table import write_table
path = Path(sys.argv[1])
table = path.with_name(path.name + ".parquet")
rows = write_table(extract_records([path]), table, arrow_schema()).rows
table.unlink()
"""
READING = """
from features.records.detect import detect
from features.records.rejects import Rejects
from features.records.rows import read_rows
path = Path(sys.argv[1])
rows = sum(batch.num_rows for batch in read_rows(path, detect(path), "UTC", Rejects(1, 1.0)))
"""
PANDAS = """
import pandas
with open(sys.argv[1]) as file:
    fields = [line.split()[1:] for line in (file.readline() for _ in range(8)) if line.startswith("#fields")]
if fields:
    table = pandas.read_csv(sys.argv[1], sep="\\t", comment="#", names=fields[0], na_values="-")
else:
    table = pandas.read_csv(sys.argv[1])
rows = len(table)
"""
ZAT = """
from zat.log_to_dataframe import LogToDataFrame
rows = len(LogToDataFrame().create_dataframe(sys.argv[1]))
"""
FRAME = """
import json, resource, sys
from pathlib import Path
{work}
used = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps([rows, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024]))
"""


@dataclass(frozen=True)
class Source:
    """A sample to repeat: what it is, its file, how cells are separated, and a row of repetition n."""

    name: str
    sample: str
    delimiter: str
    moved: Callable[[list[str], int], list[str]]


@dataclass(frozen=True)
class Measured:
    """One way over one file: rows a CPU-second, and the largest resident memory."""

    source: str
    way: str
    rows: int
    rows_per_cpu_s: float
    peak_mib: float


def zeek_row(cells: list[str], repetition: int) -> list[str]:
    """Return a row of conn.log twelve minutes later for each repetition, between other hosts."""
    moved = f"{float(cells[0]) + 720 * repetition:.6f}"
    return [
        moved,
        cells[1],
        elsewhere(cells[2], repetition),
        cells[3],
        elsewhere(cells[4], repetition // 3),
        *cells[5:],
    ]


def cicflowmeter_row(cells: list[str], repetition: int) -> list[str]:
    """Return a row of CICFlowMeter five days later for each repetition, between other hosts."""
    moved = datetime.fromisoformat(cells[7]) + timedelta(days=5 * repetition)
    hosts = [elsewhere(cells[2], repetition), cells[3], elsewhere(cells[4], repetition)]
    return [*cells[:2], *hosts, *cells[5:7], f"{moved:%Y-%m-%d %H:%M:%S.%f}", *cells[8:]]


def elsewhere(address: str, repetition: int) -> str:
    """Return an IPv4 address whose third part is moved on, any other as it is."""
    parts = address.split(".")
    return ".".join([*parts[:2], str((int(parts[2]) + repetition) % 256), parts[3]]) if len(parts) == 4 else address


SOURCES = (
    Source("Zeek TSV", "tables/zat/conn.log.gz", "\t", zeek_row),
    Source("CICFlowMeter 4 CSV", "tables/cicids2017_improved/cicids2017_improved.dev70.csv.gz", ",", cicflowmeter_row),
)


def main() -> int:
    """Build the files, measure each way over each, and print a table or JSON."""
    options = arguments()
    data = Path(os.environ.get("FLOWTAG_DATA", ""))
    measured = []
    for source in SOURCES:
        if not (data / source.sample).is_file():
            sys.stderr.write(f"{source.name}: no {source.sample} in the folder that FLOWTAG_DATA names\n")
            continue
        with TemporaryDirectory(dir=options.folder) as folder:
            warm = build(source, data, Path(folder), WARM_ROWS)
            for rows in options.rows:
                path = build(source, data, Path(folder), rows)
                measured += [
                    measure(source, way, [python, "-c", FRAME.format(work=work)], [warm, path])
                    for way, (python, work) in ways(source, rows, options.zat).items()
                ]
                path.unlink()
    sys.stdout.write(json.dumps([asdict(one) for one in measured], indent=1) + "\n" if options.json else page(measured))
    return 0 if measured else 2


def page(measured: list[Measured]) -> str:
    """Return the measurements as a table in Markdown."""
    lines = ["| source | rows | way | rows per CPU-second | peak MiB |", "|---|---|---|---|---|"]
    lines += [
        f"| {one.source} | {one.rows:,} | {one.way} | {one.rows_per_cpu_s:,.0f} | {one.peak_mib:,.0f} |"
        for one in measured
    ]
    return "\n".join(lines) + "\n"


def arguments() -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000], help="rows of each file")
    parser.add_argument("--zat", help="a Python that has zat")
    parser.add_argument("--folder", type=Path, help="where the files are built; ten million rows take up to 7 GB")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def ways(source: Source, rows: int, zat: str | None) -> dict[str, tuple[str, str]]:
    """Return what is measured: for each way a Python and what it does with a file."""
    found = {
        "flowtag, to the feature table": (sys.executable, OURS),
        "flowtag, read and checked": (sys.executable, READING),
    }
    if rows > WHOLE_ROWS:
        return found
    found["pandas.read_csv"] = (zat or sys.executable, PANDAS)
    return found | ({"zat.LogToDataFrame": (zat, ZAT)} if zat and source.name.startswith("Zeek") else {})


def build(source: Source, data: Path, folder: Path, rows: int) -> Path:
    """Write a file of so many rows of a source and return its path."""
    with gzip.open(data / source.sample, "rt") as file:
        lines = file.read().splitlines()
    begin = next(number for number, line in enumerate(lines) if number and line[0] != "#")
    sample = [line.split(source.delimiter) for line in lines[begin:] if line[0] != "#"]
    path = folder / str(rows)
    with path.open("w") as out:
        out.writelines(f"{line}\n" for line in lines[:begin])
        for written in range(0, rows, len(sample)):
            for cells in sample[: rows - written]:
                out.write(source.delimiter.join(source.moved(cells, written // len(sample))) + "\n")
    return path


def measure(source: Source, way: str, command: list[str], paths: list[Path]) -> Measured:
    """Run one way over the short and the long file and return what the long one cost beyond the short one.

    The short one is read once before, which compiles what is not compiled yet.
    """
    paths = [paths[0], *paths]
    runs = [subprocess.run([*command, str(path)], capture_output=True, check=True, text=True) for path in paths][1:]
    (few, few_s, _), (rows, seconds, peak) = (json.loads(run.stdout.splitlines()[-1]) for run in runs)
    return Measured(source.name, way, rows, (rows - few) / (seconds - few_s), peak)


if __name__ == "__main__":
    sys.exit(main())
