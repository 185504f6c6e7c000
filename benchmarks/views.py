"""The same traffic through packets and through Zeek's own conn.log: python -m benchmarks.views DATA.

DATA holds `pairs.csv`: captures, and the conn.log that Zeek made of each. Zeek's test logs have no times; each
connection gets the time of the capture's flow that has its ends, packets and bytes. Connections without such a flow are
counted and left out: docs/agreement.md says why they are cut or counted differently. The others go through the code of
`ingest` twice, and every feature of the view biflow is compared, flow by flow; context, which neighbours make, only
where no flow of a capture is left out. A detector of that view, or of a smaller one, scores both.
"""

import argparse
import csv
import sys
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from benchmarks.agreement.references import NOT_COMPARABLE
from features.errors import FlowtagError
from features.extract import extract
from features.metering.meter import MeterSettings
from features.records.extraction import extract_records
from features.schema import COLUMNS
from features.views import views
from models.dataset import feature_matrix
from models.detector import Detector

METERED = MeterSettings(idle_timeout_s=60.0, active_timeout_s=1e9, tcp_grace_s=5.0)
"""Zeek's udp_inactivity_timeout and tcp_close_delay, and no longest life, as Zeek has none."""
CLOSE, SCORE = 0.01, 0.05
"""Values that differ by no more than this share of the larger are the same; and so are scores, as they are."""
GROUPS = {column.name: column.group for column in COLUMNS}
PROTOCOLS = {"tcp": 6, "udp": 17}
ENDS = ("src_ip", "src_port", "dst_ip", "dst_port", "protocol")
Floats = npt.NDArray[np.float32]
Key = tuple[object, ...]


@dataclass
class Tally:
    """What was compared.

    Attributes:
        captures: How many.
        rows: Connections by what became of them: "compared", "no flow alike"; and "whole", those compared in captures
            where every flow has its like.
        columns: By column and outcome, pairs of values: "same", "different", "null in the log", "null in packets".
        differences: Of every flow of captures that are whole, the largest difference of its scores.
        fired: Of the same flows, whether the same tags fired.
    """

    captures: int = 0
    rows: Counter[str] = field(default_factory=Counter)
    columns: Counter[tuple[str, str]] = field(default_factory=Counter)
    differences: list[float] = field(default_factory=list)
    fired: list[bool] = field(default_factory=list)


def main() -> int:
    """Compare, and print a page of Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--detector", type=Path, help="a detector's folder, of the view biflow or a smaller one")
    options = parser.parse_args()
    detector = Detector.load(options.detector) if options.detector else None
    sys.stdout.write(page(compared(options.data, detector)))
    return 0


def compared(data: Path, detector: Detector | None) -> Tally:
    """Return the tally of all pairs of a folder whose log no script of the test changed."""
    tally = Tally()
    with (data / "pairs.csv").open(encoding="utf-8", newline="") as file:
        pairs = [
            row for row in csv.DictReader(file) if row["kind"] == "zeek-conn" and (data / row["reference"]).is_file()
        ]
    seen = set()
    for row in pairs:
        log, capture = data / row["reference"], data / row["pcap"]
        content = (capture, log.read_bytes())
        if (
            log.parent.name in NOT_COMPARABLE
            or "redef" in row["note"]
            or "bpf-filter" in row["note"]
            or content in seen
        ):
            continue
        seen.add(content)
        with TemporaryDirectory() as folder:
            compare(capture, log, Path(folder) / "conn.log", detector, tally)
    return tally


def compare(capture: Path, log: Path, timed: Path, detector: Detector | None, tally: Tally) -> None:
    """Add one pair to a tally.

    Args:
        capture: Packets.
        log: Zeek's conn.log of them, with or without times.
        timed: Where the log is written with times.
        detector: Scores both, if there is one.
        tally: What is added to.
    """
    try:
        by_packets = pa.Table.from_batches(extract([capture], METERED))
    except (FlowtagError, ValueError):
        return
    flows: dict[Key, list[int]] = defaultdict(list)
    for place, flow in enumerate(
        by_packets.select([*ENDS, "fwd_packets", "bwd_packets", "fwd_bytes", "bwd_bytes"]).to_pylist()
    ):
        flows[tuple(flow.values())].append(place)
    places = write_timed(log, timed, flows, by_packets["start"].cast(pa.int64()).to_pylist(), tally.rows)
    if not places:
        return
    by_log = pa.Table.from_batches(extract_records([timed]))
    numbers = {uid: place for place, uid in enumerate(by_log["uid"].to_pylist())}
    rows = {numbers[uid]: place for uid, place in places.items() if uid in numbers}
    whole = len(rows) == by_packets.num_rows
    tally.captures += 1
    tally.rows["compared"] += len(rows)
    tally.rows["whole"] += len(rows) * whole
    sides = by_packets.take(pa.array(list(rows.values()))), by_log.take(pa.array(list(rows)))
    for name in next(view for view in views() if view.name == "biflow").columns:
        if whole or GROUPS[name] != "context":
            count(name, *(side[name].to_numpy() for side in sides), tally.columns)
    if detector and whole:
        matrices = [
            feature_matrix(side.combine_chunks().to_batches()[0], detector.card.feature_names) for side in sides
        ]
        first, second = (detector.score(matrix) for matrix in matrices)
        tally.differences += np.abs(first - second).max(axis=1).tolist()
        tally.fired += (detector.fired(first) == detector.fired(second)).all(axis=1).tolist()


def write_timed(
    log: Path, timed: Path, flows: dict[Key, list[int]], starts: list[int], rows: Counter[str]
) -> dict[str, int]:
    """Write the connections that have a flow alike, with its time; return the place of that flow by uid."""
    places: dict[str, int] = {}
    names: list[str] = []
    lines = []
    for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
        names = line.split("\t")[1:] if line.startswith("#fields") else names
        if line.startswith("#"):
            lines += [line] if not line.startswith("###") else []
            continue
        cells = line.split("\t")
        found = flows.get(key_of(dict(zip(names, cells, strict=False))), [])
        rows["no flow alike"] += not found
        if found:
            place = found.pop(0)
            seconds, nanoseconds = divmod(starts[place], 1_000_000_000)
            told = dict(zip(names, cells, strict=False)) | {
                "ts": f"{seconds}.{nanoseconds:09}",
                "uid": f"C{len(places)}",
            }
            lines.append("\t".join(told.values()))
            places[told["uid"]] = place
    timed.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return places


def key_of(row: dict[str, Any]) -> Key:
    """Return a connection's ends, protocol, packets and bytes as a flow has them; empty where one is missing."""
    names = ("id.orig_h", "id.orig_p", "id.resp_h", "id.resp_p", "proto")
    counts = ("orig_pkts", "resp_pkts", "orig_ip_bytes", "resp_ip_bytes")
    if any(row.get(name, "-") == "-" for name in (*names, *counts)) or row["proto"] not in PROTOCOLS:
        return ()
    src, src_port, dst, dst_port, protocol = (row[name] for name in names)
    return (src, int(src_port), dst, int(dst_port), PROTOCOLS[protocol], *(float(row[name]) for name in counts))


def count(name: str, packets: Floats, log: Floats, columns: Counter[tuple[str, str]]) -> None:
    """Add the outcomes of one column's pairs of values."""
    nulls = np.isnan(packets), np.isnan(log)
    same = np.abs(packets - log) <= CLOSE * np.maximum(np.abs(packets), np.abs(log))
    columns[name, "null in the log"] += int((nulls[1] & ~nulls[0]).sum())
    columns[name, "null in packets"] += int((nulls[0] & ~nulls[1]).sum())
    columns[name, "same"] += int((same | (nulls[0] & nulls[1])).sum())
    columns[name, "different"] += int((~same & ~nulls[0] & ~nulls[1]).sum())


def page(tally: Tally) -> str:
    """Return the tally as tables in Markdown: by group of columns, the columns that agree least, and scores."""
    outcomes = ("same", "different", "null in the log", "null in packets")
    rows = tally.rows
    lines = [
        f"Captures: {tally.captures}; connections compared: {rows['compared']:,}, of them in captures all of whose",
        f"flows are: {rows['whole']:,}; connections without a flow alike: {rows['no flow alike']:,}.",
        "",
        "| group | " + " | ".join(outcomes) + " |",
        "|---|---|---|---|---|",
    ]
    groups: dict[str, Counter[str]] = defaultdict(Counter)
    for (name, outcome), number in tally.columns.items():
        groups[GROUPS[name]][outcome] += number
    for group, counts in groups.items():
        lines.append(f"| {group} | " + " | ".join(f"{counts[one] / counts.total():.2%}" for one in outcomes) + " |")
    names = {name for name, _ in tally.columns}
    different = {name: sum(tally.columns[name, one] for one in outcomes[1:]) for name in sorted(names)}
    worst = sorted(different, key=lambda name: -different[name])[:10]
    lines += ["", "| the least alike | " + " | ".join(outcomes) + " |", "|---|---|---|---|---|"]
    lines += [
        f"| `{name}` | " + " | ".join(f"{tally.columns[name, one]:,}" for one in outcomes) + " |" for name in worst
    ]
    if tally.differences:
        differences, alike = np.array(tally.differences), np.mean(tally.fired)
        lines += [
            "",
            f"Scores of the {len(differences)} in whole captures: {(differences <= SCORE).mean():.2%} within {SCORE},",
            f"the largest difference {differences.max():.3f}; same tags fired: {alike:.2%}.",
        ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
