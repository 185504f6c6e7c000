"""Several captures by one process and by several: wall and CPU seconds, and memory.

python benchmarks/side_by_side.py CAPTURE CAPTURE... [--processes N]

The captures need different names, not different contents. Kernels are compiled first. On a machine with other work the
CPU-seconds tell more: as long as the cores are free, what takes longest is the largest share of one process.
"""

import argparse
import resource
import sys
import time
from pathlib import Path
from subprocess import run
from tempfile import TemporaryDirectory

from pipeline.config import load
from pipeline.ingest_many import side_by_side
from pipeline.warmup import compile_kernels


def main() -> int:
    """Measure one process and several, each in a fresh one, and print a line each; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python benchmarks/side_by_side.py")
    parser.add_argument("captures", type=Path, nargs="+")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--once", action="store_true", help="measure these processes alone, in this one")
    options = parser.parse_args()
    if options.once:
        print(measured(options.captures, options.processes))
        return 0
    compile_kernels()
    print("processes  wall s  CPU s here  CPU s of the others  MB of the largest  flows")
    for count in dict.fromkeys((1, options.processes)):
        again = [sys.executable, __file__, *map(str, options.captures), "--once", "--processes", str(count)]
        run(again, check=True)
    return 0


def measured(captures: list[Path], processes: int) -> str:
    """Ingest the captures into a folder that goes, and return what it took."""
    with TemporaryDirectory() as folder:
        chosen = [f"state.folder={folder}", f"ingest.processes={processes}"]
        settings = load(overrides=chosen, environment={}).settings
        begun = time.monotonic()
        with side_by_side(captures, settings) as ahead:
            flows = sum(ahead(capture).rows for capture in captures)
        took = time.monotonic() - begun
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    here, others = (one.ru_utime + one.ru_stime for one in used)
    largest = max(one.ru_maxrss for one in used) / 1024
    return f"{processes:9}  {took:6.1f}  {here:10.1f}  {others:19.1f}  {largest:17,.0f}  {flows:,}"


if __name__ == "__main__":
    sys.exit(main())
