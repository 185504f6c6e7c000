"""Prefect's API for the time of one command: started early, waited for late."""

import atexit
import os
import re
import socket
import subprocess
import sys
import threading
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Protocol

from features.errors import ServiceError
from flows.disk import require_room
from flows.environment import folders
from pipeline.settings import Settings

START_LIMIT_S = 120.0
STOP_LIMIT_S = 10.0
LOG_LINES = 5
CAUSE = re.compile(r"^[\w.]+(?:Error|Exception): .+", re.MULTILINE)
"""The line of a traceback that says what went wrong."""
SERVER = Path(__file__).with_name("api_process.py")
PROFILE_VARIABLES = ("PREFECT_PROFILE", "PREFECT_PROFILES_PATH")


class Api(Protocol):
    """Something Prefect can record its runs in."""

    def recording(self) -> AbstractContextManager[object]:
        """Return a context inside which runs are recorded."""


class TheirApi:
    """The server that the user's own settings name."""

    def recording(self) -> AbstractContextManager[object]:
        """Return when the server has answered once.

        Raises:
            ServiceError: It does not answer.
        """
        from prefect.client.orchestration import get_client  # noqa: PLC0415 (not before the environment is prepared)

        with get_client(sync_client=True) as client:
            wrong = client.api_healthcheck()
        if wrong:
            where = os.environ.get("PREFECT_API_URL", "Prefect's own settings")
            raise ServiceError(
                "Prefect's server does not answer",
                where,
                "a healthy API",
                repr(wrong),
                "start it, or unset PREFECT_API_URL",
            )
        return nullcontext()


class LocalApi:
    """A Prefect server on a free port, its database below PREFECT_HOME, alive as long as this process.

    It is the one that Prefect talks to from the start, so that Prefect may be imported while it comes up.
    """

    def __init__(self) -> None:
        home = Path(os.environ["PREFECT_HOME"])
        home.mkdir(parents=True, exist_ok=True)
        self._log = home / "server.log"
        with self._log.open("wb") as log, socket.create_server(("127.0.0.1", 0)) as listener:
            os.environ["PREFECT_API_URL"] = f"http://127.0.0.1:{listener.getsockname()[1]}/api"
            self._process = subprocess.Popen(  # noqa: S603 (our own interpreter and file)
                [sys.executable, "-P", str(SERVER), str(listener.fileno())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                pass_fds=[listener.fileno()],
                start_new_session=True,  # Ctrl-C is for the run, which still has its end to record
            )
        atexit.register(self.stop)  # before Prefect is imported, so after Prefect has sent what it still holds

    def recording(self) -> AbstractContextManager[object]:
        """Return when the server answers.

        Heartbeats are for servers that outlive their runs, and every run waits a second for its last one: none here.

        Raises:
            ServiceError: It ended, or did not start in time; a StorageError where its disk is full.
        """
        if self._alone_when_ready():
            _end_killed_runs()
        from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings  # noqa: PLC0415 (as above)

        return temporary_settings(updates={PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None})

    def _alone_when_ready(self) -> bool:
        limit = threading.Timer(START_LIMIT_S, self._process.kill)
        limit.start()
        ready = self._process.stdout.readline() if self._process.stdout else b""
        limit.cancel()
        if not ready:
            require_room(self._log.parent)
            log = self._log.read_text("utf-8", "replace")
            raise ServiceError(
                "Prefect's local API did not start",
                str(self._log),
                f"an answer within {START_LIMIT_S:g} s",
                (CAUSE.findall(log) or ["\n".join(log.splitlines()[-LOG_LINES:])])[-1],
                f"if {self._log.with_name('prefect.db')} is damaged, move it away: it holds the history of runs alone",
            )
        return ready.strip() == b"alone"

    def stop(self) -> None:
        """End the server and wait for it."""
        if self._process.stdin:
            self._process.stdin.close()
        try:
            self._process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()


def start(settings: Settings) -> Api:
    """Start recording: in the server the user names, else in one of our own."""
    return TheirApi() if names_a_server(settings) else LocalApi()


def names_a_server(settings: Settings) -> bool:
    """Return True where the user has said which Prefect to use, by our settings or by Prefect's own."""
    theirs = os.environ.get("PREFECT_HOME") != folders(settings)["PREFECT_HOME"]
    return bool(settings.prefect.api_url) or theirs or any(name in os.environ for name in PROFILE_VARIABLES)


def _end_killed_runs() -> None:
    """Mark runs as crashed that seem to be under way although nobody is there who could be running them."""
    from prefect.client.orchestration import get_client  # noqa: PLC0415 (as above)
    from prefect.client.schemas.filters import FlowRunFilter  # noqa: PLC0415
    from prefect.states import Crashed  # noqa: PLC0415

    running = FlowRunFilter.model_validate({"state": {"type": {"any_": ["RUNNING", "PENDING"]}}})
    with get_client(sync_client=True) as client:
        for run in client.read_flow_runs(flow_run_filter=running):
            client.set_flow_run_state(run.id, Crashed(message="its process was killed"), force=True)
