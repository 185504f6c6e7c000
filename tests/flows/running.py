"""The flowtag command as a user runs it: a process of its own, with a home and a working directory of its own."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

COMMAND = (sys.executable, "-m", "flows.cli")


@dataclass(frozen=True)
class Place:
    """An empty home and working directory; kernels are compiled into `kernels`, or with the state where it is None."""

    home: Path
    work: Path
    kernels: Path | None = None

    def environment(self, **more: str) -> dict[str, str]:
        """Return an environment without any setting of the tools below."""
        kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH") if name in os.environ}
        kernels = {"NUMBA_CACHE_DIR": str(self.kernels)} if self.kernels else {}
        return {**kept, "HOME": str(self.home), **kernels, **more}

    def run(self, *arguments: str | Path, **more: str) -> subprocess.CompletedProcess[str]:
        """Run the command to its end."""
        return self._finished([*COMMAND, *map(str, arguments)], more)

    def python(self, code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run some Python to its end."""
        return self._finished([sys.executable, "-c", code, *arguments], {})

    def _finished(self, command: list[str], more: dict[str, str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(  # noqa: S603 (our own command)
            command,
            cwd=self.work,
            env=self.environment(**more),
            capture_output=True,
            text=True,
            check=False,
            timeout=280,
        )

    def start(self, *arguments: str | Path) -> subprocess.Popen[str]:
        """Start the command and return at once."""
        return subprocess.Popen(  # noqa: S603 (our own command)
            [*COMMAND, *map(str, arguments)],
            cwd=self.work,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


def new_place(folder: Path, kernels: Path | None = None) -> Place:
    """Return a place with empty folders below the given one."""
    for name in ("home", "work"):
        (folder / name).mkdir()
    return Place(folder / "home", folder / "work", kernels)
