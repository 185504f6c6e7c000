"""The benchmark of training: large tables as it makes them, memory as it sees it, rates above nothing."""

import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.training import Way, in_a_process, repeat_flows, watched


def test_large_tables_repeat_flows_with_other_volumes(tmp_path: Path) -> None:
    """So many rows as asked for, tags and nulls as in the table, floats within a tenth of it, and not all the same."""
    small = tmp_path / "small.parquet"
    columns = {
        "tags": pa.array([["scan"], [], []], pa.list_(pa.string())),
        "bytes": pa.array([100.0, None, 7.0], pa.float32()),
        "port": pa.array([80, 443, None], pa.int32()),
    }
    pq.write_table(pa.table(columns), small)
    large = pq.read_table(repeat_flows(small, tmp_path / "large.parquet", 7))
    assert large["tags"].to_pylist() == [["scan"], [], []] * 2 + [["scan"]]
    assert large["port"].to_pylist() == [80, 443, None, 80, 443, None, 80]
    volumes = large["bytes"].to_pylist()
    assert volumes[1::3] == [None, None]
    assert all(np.float32(100) <= volume < 111 for volume in volumes[::3])
    assert len(set(volumes[::3])) == 3


def test_memory_is_that_of_the_process_with_and_without_pages_of_files(tmp_path: Path) -> None:
    """A process that fills 100 MB and reads a mapped file of 200 MB holds both, and privately only the first."""
    mapped = tmp_path / "mapped"
    mapped.write_bytes(bytes(200_000_000))
    held = (
        "import mmap, sys, time; own = bytearray(b'x') * 100_000_000; file = open(sys.argv[1], 'rb');"
        "pages = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ); seen = sum(pages[::4096]); time.sleep(3)"
    )
    (resident, private), code = watched([sys.executable, "-c", held, str(mapped)])
    assert code == 0
    assert resident > 300_000_000
    assert 100_000_000 < private < 180_000_000


def test_a_way_of_training_is_measured_beside_its_floors() -> None:
    """Steps are slower than either floor, and the device is named."""
    rates = in_a_process(Way("tensorflow", "float32", jit=False, batch=32))
    assert 0 < rates["flows"] < min(rates["arithmetic"], rates["traffic"])
    assert rates["cpu_s_a_million"] > 0
    assert rates["device"] in ("CPU", "GPU")
