"""Prefect's API for the time of one command."""

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from tests.flows.running import Place

RECORD = """
import os, sys, time
from pathlib import Path
from pipeline.config import load
from flows import environment, local_api
settings = load(overrides=["state.folder=" + sys.argv[1]], environment={}).settings
environment.prepare(settings)
with local_api.start(settings).recording():
    print(os.environ["PREFECT_API_URL"], flush=True)
    if sys.argv[2] == "wait":
        time.sleep(100)
    from prefect import flow
    flow(lambda: None, name="nothing")()
"""


def answers(url: str) -> bool:
    """Return True when the API says that it is healthy."""
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=5) as answer:  # noqa: S310 (our own server)
            return bool(answer.status == 200)
    except urllib.error.URLError:
        return False


def started(place: Place, what: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", RECORD, "state", what]
    return subprocess.Popen(  # noqa: S603 (our own interpreter)
        command, cwd=place.work, env=place.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def url_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline().strip()


def test_two_at_once_and_one_is_killed(place: Place) -> None:
    """Two commands with one state folder both record their runs; the server of a killed one goes with it."""
    waiting, recording = started(place, "wait"), started(place, "record")
    urls = [url_of(one) for one in (waiting, recording)]
    assert urls[0] != urls[1]
    assert answers(urls[0])
    _, errors = recording.communicate(timeout=120)
    assert recording.returncode == 0, errors
    assert not answers(urls[1])
    os.kill(waiting.pid, signal.SIGKILL)
    waiting.communicate(timeout=30)
    until = time.monotonic() + 30
    while answers(urls[0]) and time.monotonic() < until:
        time.sleep(0.2)
    assert not answers(urls[0])


def test_a_server_that_cannot_start(place: Place) -> None:
    """A database that is none ends in a service error that shows the server's own words."""
    home = place.work / "state" / "prefect"
    home.mkdir(parents=True)
    (home / "prefect.db").write_text("no database, but long enough to be taken for one" * 100)
    broken = started(place, "record")
    _, errors = broken.communicate(timeout=120)
    assert "ServiceError" in errors
    assert "did not start" in errors
    assert "server.log" in errors
    assert "file is not a database" in errors


def test_a_server_that_does_not_answer(place: Place, small: Path) -> None:
    """Where the user names a server that is not there, the command ends as a service error, with exit code 6."""
    done = place.run("ingest", small / "demo-score.pcap", PREFECT_API_URL="http://127.0.0.1:9/api")
    assert done.returncode == 6
    assert "Prefect's server does not answer" in done.stderr
    assert "http://127.0.0.1:9/api" in done.stderr
