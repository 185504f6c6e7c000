"""The demo from end to end on small captures: killed, finished, and run again with nothing to do."""

import json
import re
import signal
import sqlite3
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.flows.running import Place, new_place
from tests.pipeline.small_captures import ARP_REQUEST, write_capture

QUICK = ("--set", "training.epochs=6", "--set", "network.members=1", "--set", "network.widths=64")
QUICK += ("--set", "verdict.silent_rate=0.9")


@dataclass(frozen=True)
class Ran:
    """What the demo left and said, the first time (after a kill) and the second."""

    place: Place
    state: Path
    first: str
    first_log: str
    second: str
    second_log: str


def kill_while_training(place: Place, small: Path) -> str:
    """Start the demo, kill it (-9) when it has begun to train, and return what it had said."""
    running = place.start("demo", "--captures", small, *QUICK)
    said = ""
    assert running.stderr
    for line in running.stderr:
        said += line
        if "training on" in line:
            running.send_signal(signal.SIGKILL)
            break
    running.wait(60)
    running.communicate()
    return said


@pytest.fixture(scope="module")
def ran(small: Path, kernels: Path, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    place = new_place(tmp_path_factory.mktemp("demo"), kernels)
    assert "training on" in kill_while_training(place, small)
    first = place.run("demo", "--captures", small, *QUICK)
    assert first.returncode == 0, first.stderr
    second = place.run("demo", "--captures", small, *QUICK, "--json")
    assert second.returncode == 0, second.stderr
    return Ran(place, place.work / ".flowtag", first.stdout, first.stderr, second.stdout, second.stderr)


def test_a_killed_demo_goes_on(ran: Ran) -> None:
    """What was finished before the kill is used again, the rest is done, and nothing half is left."""
    assert "label demo-valid: nothing has changed, used again" in ran.first_log
    assert "train flowtag: nothing has changed" not in ran.first_log
    assert not [path for path in ran.state.rglob("*") if ".part" in path.name]


def test_the_report(ran: Ran) -> None:
    """The first run prints the report with all three contenders and says how to look further."""
    for words in ("demo-score:", "flows are detections", "(flowtag version 1)", "Top talkers", "silent rate"):
        assert words in ran.first
    heads = next(line for line in ran.first.splitlines() if line.strip().startswith("tag "))
    assert [one.strip() for one in heads.split("  ") if one.strip()][1:] == [
        "positives",
        "penalised",
        "plain BCE at 0.5",
        "boosted trees",
    ]
    assert "flowtag ui prefect" in ran.first
    assert "flowtag ui mlflow" in ran.first


def test_the_second_run_reuses_everything(ran: Ran) -> None:
    """Every stage says that it is used again, and the result is the same."""
    stages = ("ingest", "label", "train", "register", "score", "evaluate", "report")
    for stage in stages:
        assert f"{stage} " in ran.second_log
    worked = [line for line in ran.second_log.splitlines() if "used again" not in line]
    assert len(worked) == 1, worked
    report = json.loads(ran.second)
    assert report == json.loads((ran.state / "reports" / "demo-score.json").read_text())
    assert ran.first.startswith((ran.state / "reports" / "demo-score.txt").read_text().rstrip())
    assert report["flows"] == report["detections"] + report["quiet"]


def test_nothing_is_written_elsewhere(ran: Ran) -> None:
    """Home stays empty, and the working directory holds the state folder alone."""
    assert not list(ran.place.home.iterdir())
    assert list(ran.place.work.iterdir()) == [ran.state]


def test_prefect_has_the_runs(ran: Ran) -> None:
    """Finished runs, with tasks and artifacts, are there for Prefect's page to show, and the killed run as such."""
    database = sqlite3.connect(ran.state / "prefect" / "prefect.db")
    try:
        runs = dict(database.execute("select name, count(*) from flow_run where state_name='Completed' group by name"))
        tasks = dict(database.execute("select name, count(*) from task_run where state_name='Completed' group by name"))
        killed = dict(database.execute("select name, count(*) from flow_run where state_name='Crashed' group by name"))
        artifacts = {key for (key,) in database.execute("select key from artifact")}
        logs = [text for (text,) in database.execute("select message from log where name='flowtag'")]
    finally:
        database.close()
    assert runs["demo in .flowtag"] == runs["train on demo-train.pcap"] == runs["score demo-score.pcap"] == 2
    assert killed == {"demo in .flowtag": 1, "train on demo-train.pcap": 1}
    assert tasks["train the detector and two to compare"] == tasks["report"] == tasks["fetch the champion"] == 2
    assert artifacts >= {"report-demo-score", "counts"}
    assert any("packets became" in text for text in logs)


def test_mlflow_has_one_version(ran: Ran) -> None:
    """The detector is registered once, by a finished run, and is champion and challenger."""
    database = sqlite3.connect(ran.state / "mlflow.db")
    try:
        versions = database.execute("select name, version from model_versions").fetchall()
        aliases = {name for (name,) in database.execute("select alias from registered_model_aliases")}
        runs = [status for (status,) in database.execute("select status from runs")]
    finally:
        database.close()
    assert versions == [("flowtag", 1)]
    assert aliases == {"champion", "challenger"}
    assert runs == ["FINISHED"]


def test_the_tools_are_quiet(ran: Ran) -> None:
    """Nothing but our own sentences reaches the terminal."""
    for line in (ran.first_log + ran.second_log).splitlines():
        assert re.match(r" *\d+ s  |        ", line), line


def test_scoring_something_else_with_the_champion(ran: Ran, tmp_path: Path) -> None:
    """A capture without IP packets ends well: a typed, empty table and a report that says why nothing was found."""
    capture = write_capture(tmp_path / "arp.pcap", [ARP_REQUEST] * 3)
    done = ran.place.run("score", capture, *QUICK)
    assert done.returncode == 0, done.stderr
    assert "Nothing was found: there are no flows: none of 3 packets is IP: 3 arp." in done.stdout


def test_training_a_silent_detector_is_no_success(ran: Ran, small: Path) -> None:
    """A detector that the verdict refuses is registered, and the command ends with the exit code of model errors."""
    sources = [next(small.glob(f"{name}.pcap*")) for name in ("demo-train", "demo-valid")]
    refused = ran.place.run("train", "--train", sources[0], "--valid", sources[1], *QUICK[:-1], "verdict.silent_rate=0")
    assert refused.returncode == 5, refused.stderr
    assert "version 2 is not in use" in refused.stdout


def test_adapting_the_champion(ran: Ran, small: Path) -> None:
    """Local traffic becomes a new version, told as JSON, that is not in use; asked again the answer is the same."""
    arguments = ("adapt", small / "demo-score.pcap", "--budget", "0.01", "--set", "adapt.attack_share=0.6", *QUICK)
    first, again = (ran.place.run(*arguments, "--json") for _ in range(2))
    assert first.returncode == 0, first.stderr
    found = json.loads(first.stdout)
    assert found["registered"]["in_use"] is False
    assert found["parent"] == "flowtag version 1"
    assert found["after"]["fired_elsewhere"] <= 0.05
    assert found["used"] + found["set_aside"] + found["held_out"] == json.loads(ran.second)["flows"]
    assert again.stdout == first.stdout
