"""CPU seconds, wall seconds and peak memory of a command and all its children."""

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

LAUNCHER = """
import json, resource, subprocess, sys, time
begun = time.monotonic()
status = subprocess.call(sys.argv[1:], stderr=subprocess.DEVNULL)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
cost = {"cpu_s": used.ru_utime + used.ru_stime, "wall_s": time.monotonic() - begun}
print("\\n" + json.dumps({**cost, "memory_mb": used.ru_maxrss * 1024 / 1e6}))
sys.exit(status)
"""
"""A small process that starts the command and reports on it: a large one would lend the command its own peak memory."""


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
    """Run a command to its end; Python's bytecode is kept from one run to the next, as in any installation.

    Raises:
        subprocess.CalledProcessError: It failed.
    """
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    launched = [sys.executable, "-ISc", LAUNCHER, *command]
    report = subprocess.run(launched, check=True, stdout=subprocess.PIPE, env=environment).stdout
    output, _, numbers = report.decode(errors="replace").rstrip().rpartition("\n")
    return Cost(**json.loads(numbers), output=output)


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
