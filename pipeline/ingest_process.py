"""A process that ingests one source after the other; its sentences, steps, results and errors come over a pipe."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from logging import INFO, Handler, LogRecord, getLogger
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType

from features.errors import FlowtagError, ServiceError
from pipeline.ingest import ingest
from pipeline.manifest import StageResult
from pipeline.progress import PROGRESS, SENTENCES, Step
from pipeline.settings import Settings

GRACE_S = 20.0
"""How long a process that was stopped may take to remove what it has not finished."""
SPAWN = multiprocessing.get_context("spawn")

Said = str | Step
Outcome = StageResult | FlowtagError | OSError


class IngestProcess:
    """The process, seen from the one that started it; used by one thread at a time."""

    def __init__(self) -> None:
        """Start it. It does not hear Ctrl-C, which a terminal sends to all: whoever started it decides."""
        resource_tracker.ensure_running()
        heard = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        self._pipe, theirs = SPAWN.Pipe()
        self._process = SPAWN.Process(target=serve, args=(theirs,), daemon=True)
        self._process.start()
        signal.pthread_sigmask(signal.SIG_SETMASK, heard)
        theirs.close()

    def ingest(self, source: Path, settings: Settings, tell: Callable[[Said], object]) -> StageResult:
        """Return what `pipeline.ingest.ingest` gives of a source, and hand on what it says on the way.

        Raises:
            FlowtagError, OSError: As that raises them.
            ServiceError: The process was killed.
            RuntimeError: It ended with a bug of ours; its traceback is on standard error.
        """
        try:
            self._pipe.send((source, settings))
            while isinstance(said := self._pipe.recv(), Said):
                tell(said)
        except (EOFError, ConnectionError):
            raise self._ended(source) from None
        if isinstance(said, BaseException):
            raise said
        result: StageResult = said
        return result

    @property
    def alive(self) -> bool:
        """True until it has ended."""
        return self._process.is_alive()

    def stop(self) -> None:
        """Let it remove what it has not finished, and end."""
        self._process.terminate()

    def join(self) -> None:
        """Wait until it has ended."""
        self._process.join(GRACE_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._pipe.close()

    def _ended(self, source: Path) -> Exception:
        self._process.join()
        code = self._process.exitcode or 0
        if code < 0:
            what, why = "a process that ingests was killed", f"signal {-code} ({signal.Signals(-code).name})"
            return ServiceError(
                what, str(source), "", why, "flowtag ingest with --set ingest.processes=1, if memory is short"
            )
        return RuntimeError(f"the process that ingests {source} has ended")


class _Teller(Handler):
    """Sends each sentence and step to whoever started the process."""

    def __init__(self, pipe: Connection) -> None:
        super().__init__(INFO)
        self._pipe = pipe

    def emit(self, record: LogRecord) -> None:
        """Send one."""
        self._pipe.send(record.__dict__.get("step") or record.getMessage())


def serve(pipe: Connection) -> None:
    """Ingest what comes over the pipe until whoever started this process has ended or stops it."""
    signal.signal(signal.SIGTERM, _leave)
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    teller = _Teller(pipe)  # one, whose lock keeps what threads say apart
    for name in (SENTENCES, PROGRESS):
        getLogger(name).setLevel(INFO)
        getLogger(name).addHandler(teller)
    with suppress(EOFError, ConnectionError):
        while True:
            pipe.send(_outcome(*pipe.recv()))


def _outcome(source: Path, settings: Settings) -> Outcome:
    try:
        return ingest(source, settings)
    except (FlowtagError, OSError) as error:
        return error


def _leave(_signal: int, _frame: FrameType | None) -> None:
    """End as after Ctrl-C, once: what is not finished is removed on the way."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise SystemExit


def _leave_with_parent() -> None:
    """End with the process that started this one, however it ended."""
    parent = multiprocessing.parent_process()
    if parent:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
