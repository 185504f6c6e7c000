"""Records made by the tools themselves, read from a folder that FLOWTAG_DATA names.

Expected numbers of rows are the files' lines less their headers, counted by other means.
"""

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from features.records.detect import detect
from features.records.extraction import extract_records
from features.schema import FEATURE_NAMES

FOLDER = Path(os.environ.get("FLOWTAG_DATA", "/nonexistent"))
SAMPLES = [
    ("tables/cicids2017_improved/cicids2017_improved.dev70.csv.gz", "cicflowmeter", 30_237, {}),
    ("tables/cicids2017_original_dialect/CICIDS2017_sample.csv.gz", "cicflowmeter", 6311, {}),
    ("tables/iot23/CTU-Malware-Capture-8-1-labeled.csv.gz", "zeek_conn", 10_403, {}),
    ("tables/netflowlabeler/conn.json.log.gz", "zeek_conn", 1000, {}),
    ("tables/netflowlabeler/conn.tab.log.gz", "zeek_conn", 92, {}),
    ("tables/zat/conn.log.gz", "zeek_conn", 360, {}),
    ("tables/netflowlabeler/test.binetflow.gz", "argus", 91, {"not_ip": 8}),
    ("tables/netflowlabeler/test5.tabs.binetflow.gz", "argus", 6721, {"not_ip": 4}),
    ("tables/unsw_nb15/UNSW_NB15_training-set.dev75.csv.gz", "unsw_nb15", 61_201, {"not_ip": 736}),
    ("slips/test6-malicious.suricata.json", "suricata_eve", 3512, {"not_a_flow": 1488}),
    ("slips/port-scans/vertical/conn.log", "zeek_conn", 50, {}),
]
SHARES = [name for name in FEATURE_NAMES if "share" in name]


@pytest.mark.skipif(not FOLDER.is_dir(), reason="FLOWTAG_DATA names no folder of record samples")
@pytest.mark.parametrize(("name", "adapter", "rows", "rejected"), SAMPLES, ids=[Path(row[0]).name for row in SAMPLES])
def test_a_real_sample(name: str, adapter: str, rows: int, rejected: dict[str, int]) -> None:
    """Every row is read or named, shares are shares, and no number is infinite."""
    path = FOLDER / name
    if not path.exists():
        pytest.skip(f"{name} is not among the record samples")
    assert detect(path).adapter.name == adapter
    extraction = extract_records([path])
    table = pa.Table.from_batches(list(extraction))
    assert table.num_rows == rows
    assert {key: n for key, n in extraction.counts.items() if key.startswith("rejected.")} == {
        f"rejected.{reason}": count for reason, count in rejected.items()
    }
    for column in FEATURE_NAMES:
        assert not pc.any(pc.invert(pc.is_finite(table.column(column)))).as_py(), column
    for column in SHARES:
        found = pc.min_max(table.column(column)).as_py()
        assert found["min"] is None or 0 <= found["min"] <= found["max"] <= 1, column
