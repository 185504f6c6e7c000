"""CPU seconds, wall seconds and peak memory of a command and all its children."""

import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

KB_PER_MB = 1000


@dataclass(frozen=True)
class Cost:
    """What a command took.

    Attributes:
        cpu_s: User and system seconds, all threads and children.
        wall_s: Seconds on the clock.
        memory_mb: Largest resident memory of a process of it.
        output: What it printed.
    """

    cpu_s: float
    wall_s: float
    memory_mb: float
    output: str


def cost(command: Sequence[str]) -> Cost:
    """Run a command to its end.

    Raises:
        subprocess.CalledProcessError: It failed.
    """
    with tempfile.TemporaryFile() as out:
        begun = time.monotonic()
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        wall_s = time.monotonic() - begun
        out.seek(0)
        output = out.read().decode(errors="replace")
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command, output)
    return Cost(usage.ru_utime + usage.ru_stime, wall_s, usage.ru_maxrss * 1024 / 1e6, output)


def median(costs: Sequence[Cost]) -> Cost:
    """Return the median of each number."""
    middle = (statistics.median(getattr(one, name) for one in costs) for name in ("cpu_s", "wall_s", "memory_mb"))
    return Cost(*middle, costs[-1].output)


def measured(command: Sequence[str], times: int) -> Cost:
    """Return the median cost of some runs."""
    return median([cost(command) for _ in range(times)])


def read_once(path: Path) -> None:
    """Bring a file into the page cache, so that the first tool does not pay for the disk."""
    with path.open("rb") as file:
        while file.read(1 << 20):
            pass
