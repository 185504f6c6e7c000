"""The meters that are measured: how each is called, what it computes, and the line that installs it."""

import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

NFSTREAM = """
import sys
from nfstream import NFStreamer
streamer = NFStreamer(source=sys.argv[1], statistical_analysis=True, n_dissections=0)
print(sum(1 for _ in streamer))
"""
Command = Callable[[Path, Path], list[str]]


@dataclass(frozen=True)
class Tool:
    """One way to make flows of a capture.

    Attributes:
        name: What the table calls it.
        computes: What it leaves behind.
        program: What must be found for it to run.
        install: The line that installs it.
        command: The command for a capture and an output folder.
    """

    name: str
    computes: str
    program: str
    install: str
    command: Command

    def is_there(self) -> bool:
        """Tell whether it can be run."""
        return shutil.which(self.program) is not None


def _ours(name: str, computes: str, how: str) -> Tool:
    def command(capture: Path, output: Path) -> list[str]:
        return [sys.executable, "-m", "benchmarks.meter.ours", how, str(capture), str(output / "flows.parquet")]

    return Tool(name, computes, sys.executable, "pip install -e .", command)


def tools(nfstream: str) -> list[Tool]:
    """Return every meter, ours first; nfstream is the interpreter of the environment that has it."""

    def streamer(capture: Path, _output: Path) -> list[str]:
        return [nfstream, "-c", NFSTREAM, str(capture)]

    def nfpcapd(capture: Path, output: Path) -> list[str]:
        return ["nfpcapd", "-r", str(capture), "-w", str(output)]

    def softflowd(capture: Path, _output: Path) -> list[str]:
        return ["softflowd", "-d", "-r", str(capture), "-m", "2000000", "-n", "127.0.0.1:9"]

    def argus(capture: Path, output: Path) -> list[str]:
        line = 'argus -r "$0" -w - | ra -r - -n -c , > "$1"'
        return ["sh", "-c", line, str(capture), str(output / "flows.csv")]

    own = "python3.11 -m venv NFSTREAM && NFSTREAM/bin/pip install nfstream==6.6.0; --nfstream NFSTREAM/bin/python"
    apt = "apt-get install nfdump softflowd argus-server argus-client"
    return [
        _ours("flowtag", "feature table with context, first 16 packets; Parquet", "parquet"),
        _ours("flowtag, flows only", "every sum and extreme, first 16 packets; nothing written", "flows"),
        Tool("nfpcapd", "NetFlow records, written", "nfpcapd", apt, nfpcapd),
        Tool("softflowd", "counters, NetFlow datagrams", "softflowd", apt, softflowd),
        Tool("argus, ra to CSV", "records, some statistics", "argus", apt, argus),
        Tool("nfstream, statistics", "57 statistics; nothing written", nfstream, own, streamer),
    ]
