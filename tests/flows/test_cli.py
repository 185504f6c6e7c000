"""The command: quick to answer, clear about what is wrong, and tidy when it is."""

import json
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.schema import arrow_schema
from tests.flows.running import Place
from tests.pipeline.small_captures import HEADER

HEAVY = {"tensorflow", "keras", "mlflow", "prefect", "sklearn", "numba", "pyarrow", "numpy"}
RULES = "name,tags,start,end,protocol,src_ip,src_port,dst_ip,dst_port\n"


def test_help_answers_within_a_second(place: Place) -> None:
    """--help names every command and the exit codes, in the best of three tries within a second."""
    seconds = []
    for _ in range(3):
        begun = time.monotonic()
        done = place.run("--help")
        seconds.append(time.monotonic() - begun)
    assert done.returncode == 0
    commands = ("demo", "ingest", "label", "train", "tune", "adapt", "score", "config", "tags", "warmup", "ui")
    for word in (*commands, "130 interrupted"):
        assert word in done.stdout
    assert min(seconds) < 1.0


def test_help_imports_nothing_heavy(place: Place) -> None:
    """Neither TensorFlow nor anything else that is slow is imported for help, of the command or of a command in it."""
    code = (
        "import sys; from flows.cli import app; app(sys.argv[1:], standalone_mode=False); print('after', *sys.modules)"
    )
    for arguments in (["--help"], ["demo", "--help"], ["tune", "--help"]):
        loaded = set(place.python(code, *arguments).stdout.rpartition("after ")[2].split())
        assert "flows.cli" in loaded
        assert not loaded & HEAVY


def test_version(place: Place) -> None:
    """--version says what is installed."""
    try:
        installed = version("flowtag")
    except PackageNotFoundError:
        pytest.skip("flowtag runs from its source tree here")
    assert place.run("--version").stdout == f"flowtag {installed}\n"


Wrong = Callable[[Path, Path], list[str | Path]]


def missing(_small: Path, work: Path) -> list[str | Path]:
    return ["ingest", work / "none.pcap"]


def empty_folder(_small: Path, work: Path) -> list[str | Path]:
    (work / "folder").mkdir()
    return ["ingest", work / "folder"]


def text_file(_small: Path, work: Path) -> list[str | Path]:
    (work / "text.pcap").write_text("this is no capture, but a letter\n")
    return ["ingest", work / "text.pcap"]


def empty_file(_small: Path, work: Path) -> list[str | Path]:
    (work / "empty.pcap").write_bytes(b"")
    return ["ingest", work / "empty.pcap"]


def unknown_tag(small: Path, work: Path) -> list[str | Path]:
    (work / "bad.rules.csv").write_text(RULES + "scan,port_scam,1,2,,,,,\n")
    return ["score", small / "demo-score.pcap", "--rules", work / "bad.rules.csv"]


def bad_time(small: Path, work: Path) -> list[str | Path]:
    (work / "bad.rules.csv").write_text(RULES + "scan,port_scan,noon,2,,,,,\n")
    return ["score", small / "demo-score.pcap", "--rules", work / "bad.rules.csv"]


def no_champion(small: Path, _work: Path) -> list[str | Path]:
    return ["score", small / "demo-score.pcap"]


def other_schema(_small: Path, work: Path) -> list[str | Path]:
    first = pa.schema([arrow_schema().field(0)], arrow_schema().metadata)
    pq.write_table(pa.Table.from_pydict({first.names[0]: ["x"]}, first), work / "old.parquet")
    return ["score", work / "old.parquet"]


def no_rules(_small: Path, work: Path) -> list[str | Path]:
    (work / "lonely.pcap").write_bytes(HEADER)
    return ["train", "--train", work / "lonely.pcap", "--valid", work / "lonely.pcap"]


def no_demo_captures(_small: Path, work: Path) -> list[str | Path]:
    return ["demo", "--captures", work / "none"]


def unknown_setting(small: Path, _work: Path) -> list[str | Path]:
    return ["ingest", small / "demo-score.pcap", "--set", "training.epoch=3"]


def contradicting_setting(small: Path, _work: Path) -> list[str | Path]:
    return ["ingest", small / "demo-score.pcap", "--set", "meter.tcp_grace_s=100"]


def unknown_page(_small: Path, _work: Path) -> list[str | Path]:
    return ["ui", "grafana"]


def two_budgets(_small: Path, _work: Path) -> list[str | Path]:
    return ["thresholds", "--budget", "0.01", "--per-hour", "5"]


def thresholds_of_nothing(_small: Path, _work: Path) -> list[str | Path]:
    return ["thresholds", "--budget", "0.01"]


def adapting_nothing(small: Path, _work: Path) -> list[str | Path]:
    return ["adapt", small / "demo-score.pcap"]


def adapting_by_no_labels(small: Path, work: Path) -> list[str | Path]:
    (work / "lonely.pcap").write_bytes(HEADER)
    return ["adapt", small / "demo-score.pcap", "--labelled", work / "lonely.pcap"]


def adapting_to_any_budget(small: Path, _work: Path) -> list[str | Path]:
    return ["adapt", small / "demo-score.pcap", "--budget", "1"]


def tuning_what_is_no_setting(small: Path, _work: Path) -> list[str | Path]:
    return ["tune", small / "demo-score.pcap", "--search", "loss.gamma"]


def tuning_in_two_folds(small: Path, _work: Path) -> list[str | Path]:
    return ["tune", small / "demo-score.pcap", "--folds", "2"]


def unknown_command(_small: Path, _work: Path) -> list[str | Path]:
    return ["detect"]


@pytest.mark.parametrize(
    ("wrong", "exit_code", "words"),
    [
        (missing, 4, ["cannot be opened", "none.pcap"]),
        (empty_folder, 4, ["folder without captures"]),
        (text_file, 4, ["not a capture", "text"]),
        (empty_file, 4, ["empty"]),
        (unknown_tag, 4, ["port_scam", "line 2", "did you mean 'port_scan'?"]),
        (bad_time, 4, ["bad start", "line 2", "noon"]),
        (no_champion, 5, ["no detector is in use", "flowtag demo"]),
        (other_schema, 4, ["another schema version", "-is_tcp"]),
        (no_rules, 4, ["without rules", "lonely.rules.csv"]),
        (no_demo_captures, 4, ["no such folder", "--captures"]),
        (unknown_setting, 3, ["training.epoch", "did you mean 'training.epochs'?"]),
        (contradicting_setting, 3, ["TCP grace"]),
        (unknown_page, 4, ["no such page", "prefect or mlflow"]),
        (two_budgets, 3, ["no budget of false alarms", "--per-hour"]),
        (thresholds_of_nothing, 5, ["no detector is in use"]),
        (adapting_nothing, 5, ["no detector is in use"]),
        (adapting_by_no_labels, 4, ["without rules", "lonely.rules.csv"]),
        (adapting_to_any_budget, 3, ["false_alarm_budget", "less than 1"]),
        (tuning_what_is_no_setting, 3, ["--search", "loss.gamma", "loss.lambda_"]),
        (tuning_in_two_folds, 3, ["--folds", "3 to 100"]),
        (unknown_command, 2, ["detect"]),
    ],
)
def test_wrong_inputs(place: Place, small: Path, wrong: Wrong, exit_code: int, words: list[str]) -> None:
    """A wrong input ends in one clear block on standard error and its exit code, and leaves everything as it was."""
    arguments = wrong(small, place.work)
    before = sorted(place.work.rglob("*"))
    done = place.run(*arguments)
    assert done.returncode == exit_code, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    for word in words:
        assert word in done.stderr
    assert sorted(place.work.rglob("*")) == before
    assert not list(place.home.iterdir())


def test_config_prints_every_value_and_its_origin(place: Place) -> None:
    """`flowtag config` shows values, units and origins as text and as JSON, without passwords."""
    (place.work / "flowtag.toml").write_text("[training]\nepochs = 7\n")
    secret = {"FLOWTAG_MLFLOW__TRACKING_URI": "postgresql://me:secret@host/db"}
    text = place.run("config", "--state", "here", **secret).stdout
    assert any(line.split()[:4] == ["training.epochs", "7", "epochs", "flowtag.toml"] for line in text.splitlines())
    assert any(line.split()[:4] == ["state.folder", "here", "command", "line"] for line in text.splitlines())
    rows = {row["key"]: row for row in json.loads(place.run("config", "--json", **secret).stdout)}
    assert rows["meter.idle_timeout_s"]["unit"] == "s"
    assert rows["mlflow.tracking_uri"]["value"] == "postgresql://me:***@host/db"
    assert rows["mlflow.tracking_uri"]["origin"] == "FLOWTAG_MLFLOW__TRACKING_URI"
    assert "secret" not in text


def test_tags_lists_the_vocabulary(place: Place) -> None:
    """`flowtag tags` shows what may stand in rules."""
    text = place.run("tags").stdout
    assert any(line.split()[:2] == ["port_scan", "technique"] for line in text.splitlines())
    assert {tag["name"] for tag in json.loads(place.run("tags", "--json").stdout)} >= {"dos", "beacon"}


def test_unrecorded(place: Place, small: Path) -> None:
    """Without Prefect a source becomes a table too, and a labelled one where rules lie beside it."""
    source = small / "demo-score.pcap"
    done = place.run("ingest", source, "--unrecorded", "--json")
    flows, labelled = json.loads(done.stdout)
    assert sorted(path.name for path in (place.work / ".flowtag").iterdir()) == ["features", "labelled"]
    assert flows["rows"] == labelled["rows"] > 0
    wrong = place.run("ingest", "missing.pcap", "--unrecorded")
    assert (wrong.returncode, "missing.pcap" in wrong.stderr) == (4, True)


def test_label_runs_without_prefect(place: Place, small: Path, kernels: Path) -> None:
    """Warm-up, then labelling: a table from a script of ours becomes a labelled one, and the result can be JSON."""
    assert place.run("warmup").returncode == 0
    assert list(kernels.rglob("*.nbi"))
    made = (
        "import sys; from pathlib import Path; from pipeline.config import load; from pipeline.ingest import ingest; "
    )
    code = made + "print(ingest(Path(sys.argv[1]), load(environment={}).settings).path)"
    table = place.python(code, str(small / "demo-score.pcap")).stdout.strip()
    done = place.run("label", table, small / "demo-score.rules.csv", "--json")
    (result,) = json.loads(done.stdout)
    assert Path(result["path"]) == place.work / ".flowtag" / "labelled" / "demo-score.parquet"
    assert result["rows"] == result["counts"]["attack"] + result["counts"]["benign"]
    again = place.run("label", table, small / "demo-score.rules.csv")
    assert "used again" in again.stderr
    assert again.stdout.endswith(f"\n{result['path']}: {result['rows']:,} rows\n")
    assert sorted(path.name for path in (place.work / ".flowtag").iterdir()) == ["features", "labelled"]
