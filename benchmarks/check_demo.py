"""Check what `flowtag demo` left in its state folder: python benchmarks/check_demo.py STATE.

The limits are the product's promise for these captures, not what was last measured.
"""

import json
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pyarrow.parquet as pq

MOST_SILENT, MOST_FALSE_ALARMS = 0.01, 0.003


def main(state: Path) -> None:
    """Read the report, the detections, and the two databases; stop at the first thing that is not as promised."""
    report = json.loads((state / "reports/demo-score.json").read_text("utf-8"))
    folder = state / "detections/demo-score"
    rows = pq.read_metadata(folder / "detections.parquet").num_rows
    lines = (folder / "detections.ndjson").read_text("utf-8").splitlines()
    detector = report["truth"]["detector"]
    print(f"silent rate {detector['silent_rate']:.3%}, false-alarm rate {detector['false_alarm_rate']:.3%}")
    print(f"macro F1 {detector['macro_f1']:.3f}, {rows} detections of {report['flows']} flows")
    expect("the silent rate", detector["silent_rate"] < MOST_SILENT)
    expect("the false-alarm rate", detector["false_alarm_rate"] < MOST_FALSE_ALARMS)
    expect("three contenders", set(report["truth"]) == {"detector", "plain_bce", "boosting"})
    expect("as many lines as rows", rows == len(lines) == report["detections"])
    expect("a reason in each line", all(json.loads(line)["reasons"] for line in lines))
    expect("a champion", count(state / "mlflow.db", "registered_model_aliases", "alias = 'champion'") == 1)
    expect("completed jobs", count(state / "prefect/prefect.db", "flow_run", "state_type = 'COMPLETED'") >= 3)
    expect("completed tasks", count(state / "prefect/prefect.db", "task_run", "state_type = 'COMPLETED'") >= 8)
    expect("artifacts of Prefect", count(state / "prefect/prefect.db", "artifact", "1") >= 2)


def count(database: Path, table: str, condition: str) -> int:
    """Return how many rows of a table fulfil a condition."""
    with closing(sqlite3.connect(database)) as connection:
        query = f"SELECT count(*) FROM {table} WHERE {condition}"  # noqa: S608 (both are literals above)
        return int(connection.execute(query).fetchone()[0])


def expect(what: str, holds: bool) -> None:
    """Print what was expected, and stop where it does not hold."""
    print(f"{'ok' if holds else 'FAILED'}: {what}")
    if not holds:
        sys.exit(1)


main(Path(sys.argv[1]))
