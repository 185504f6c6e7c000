"""Several sources ingested side by side, in processes; what is seen of it is as if one came after the other.

Whoever asks for the sources in order gets each one's sentences, result or error when its turn has come, while those
after it are being worked on. What is finished stays, with its manifest, whatever becomes of the others.
"""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import SimpleQueue

import psutil

from features.content import Kind
from features.errors import InputError
from features.table import is_feature_table
from pipeline.ingest import ingest
from pipeline.ingest_process import IngestProcess, Said
from pipeline.manifest import StageResult
from pipeline.progress import advance, say
from pipeline.settings import Settings
from pipeline.traffic import Traffic, look_at
from pipeline.warmup import compile_kernels, say_if_cold

WORTH_BYTES = 8 << 20
"""Bytes beside the largest source below which processes would take longer to start than they save."""
PROCESS_BYTES, FLOW_BYTES = 400 << 20, 1200
"""What a process takes, and each of the flows that it may hold (docs/speed.md)."""

Ingested = Callable[[Path], StageResult]
"""Gives the table of a source; what `pipeline.ingest.ingest` raises of it, it raises."""


@contextmanager
def side_by_side(sources: Sequence[Path], settings: Settings) -> Iterator[Ingested]:
    """Yield what ingests each of these sources when asked for it, in order; where it pays, those to come meanwhile.

    When the block ends, with an error or without, no process is left, and nothing of a source that is not finished.
    """
    traffic = {source: _looked_at(source, settings) for source in sources if not is_feature_table(source)}
    processes = _processes(list(traffic.values()), settings)
    if processes < 2:
        yield partial(ingest, settings=settings)
        return
    if any(one and one.kind is Kind.CAPTURE for one in traffic.values()) and say_if_cold():
        compile_kernels()
    with closing(_Crew(processes, settings)) as crew:
        begun = {source: crew.begin(source) for source in traffic}

        def ingested(source: Path) -> StageResult:
            turn = begun.pop(source, None)
            return turn.result() if turn else ingest(source, settings)

        yield ingested


@dataclass(frozen=True)
class _Turn:
    """A source that is being ingested, and what is said of it until its turn has come."""

    said: SimpleQueue[Said | None]
    made: Future[StageResult]

    def result(self) -> StageResult:
        """Pass on what is said until the end, and return the result."""
        while (said := self.said.get()) is not None:
            if isinstance(said, str):
                say(said)
            else:
                advance(said)
        return self.made.result()


class _Crew:
    """Processes that ingest, each watched by a thread; a new one is started only where none is idle."""

    def __init__(self, processes: int, settings: Settings) -> None:
        self._settings = settings
        self._watchers = ThreadPoolExecutor(processes, thread_name_prefix="ingest")
        self._changing = threading.Lock()
        self._all: list[IngestProcess] = []
        self._idle: list[IngestProcess] = []
        self._over = False

    def begin(self, source: Path) -> _Turn:
        """Ingest a source as soon as a process is free."""
        said: SimpleQueue[Said | None] = SimpleQueue()
        return _Turn(said, self._watchers.submit(self._ingest, source, said.put))

    def close(self) -> None:
        """Stop what is not finished and wait until it is cleared away."""
        with self._changing:
            self._over = True
        self._watchers.shutdown(wait=False, cancel_futures=True)
        for process in self._all:
            process.stop()
        for process in self._all:
            process.join()
        self._watchers.shutdown()

    def _ingest(self, source: Path, tell: Callable[[Said | None], None]) -> StageResult:
        try:
            process = self._free()
            try:
                return process.ingest(source, self._settings, tell)
            finally:
                if process.alive:
                    self._idle.append(process)
        finally:
            tell(None)

    def _free(self) -> IngestProcess:
        with self._changing:
            if self._over:
                raise CancelledError
            if self._idle:
                return self._idle.pop()
            self._all.append(IngestProcess())
            return self._all[-1]


def _looked_at(source: Path, settings: Settings) -> Traffic | None:
    """Return what a source holds; None for a wrong one, which its turn will refuse."""
    try:
        return look_at(source, settings)
    except InputError:
        return None


def _processes(traffic: Sequence[Traffic | None], settings: Settings) -> int:
    """Return how many sources are ingested at once: as many as were asked for, or as pays and fits."""
    if settings.ingest.processes:
        return min(settings.ingest.processes, len(traffic))
    sizes = sorted(sum(file.stat().st_size for file in one.files) for one in traffic if one)
    if sum(sizes[:-1]) < WORTH_BYTES:
        return 1
    fit = psutil.virtual_memory().available // 2 // (PROCESS_BYTES + FLOW_BYTES * settings.meter.max_flows)
    return min(len(sizes), len(os.sched_getaffinity(0)), max(fit, 1))
