"""Compiling ahead."""

import os
import subprocess
import sys
from pathlib import Path

from features import context_kernel
from features.metering import meter_kernel
from features.records import cell_kernel
from pipeline.warmup import compile_kernels, is_warm


def test_both_formats_and_records_go_through_every_kernel() -> None:
    """Two packets and a fragment are one flow in a pcap and one in a pcapng, one is in a radio frame, one in a log."""
    assert compile_kernels() == 4
    assert cell_kernel.read_cells.signatures
    assert cell_kernel.gather.signatures


def test_full_tables_do_not_wait_for_a_compiler() -> None:
    """What makes room in the tables, which no small capture needs, is compiled as well."""
    compile_kernels()
    assert meter_kernel._refill_slots.signatures
    assert len(context_kernel._refill.signatures) == 2


def test_an_installation_knows_whether_it_is_warm(tmp_path: Path) -> None:
    """After compiling it is; with an empty cache it is not."""
    compile_kernels()
    assert is_warm()
    ask = "from pipeline.warmup import is_warm; print(is_warm())"
    elsewhere = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-c", ask]
    said = subprocess.run(command, env=elsewhere, capture_output=True, text=True, check=True)  # noqa: S603 - ours
    assert said.stdout == "False\n"
