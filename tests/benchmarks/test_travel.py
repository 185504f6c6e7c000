"""The benchmark of travel on a tiny set: every number below was counted on paper."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.travel.__main__ import Place, main
from benchmarks.travel.captures import Capture, listed, table_of
from benchmarks.travel.measure import Judged, Seen, judge, on_captures, read_log, together
from benchmarks.travel.report import as_text
from features.labels.vocabulary import read_vocabulary
from features.schema import FEATURE_NAMES, SCHEMA_VERSION, fingerprint, labelled_schema
from models.card import DetectorCard, benign_medians
from models.dataset import TagDataset
from models.detector import Detector
from models.network import NetworkSettings
from models.thresholds import NEVER_FIRES, Thresholds
from models.training import TrainingSettings, train_network
from tests.pipeline.small_captures import ARP_REQUEST, write_capture, write_small_captures

TAGS = read_vocabulary().names
LISTING = """side,pcap,tags,meaning,packets,seconds,repo,strength,evidence
dev,a/web.pcap,benign,a page,1,1,x/y,weak,name
dev,a/nmap.pcap,scan;discovery,a scan,1,1,x/y,named,name
dev,b/bot.pcap,malware;dos,a bot that floods,1,1,z/z,named,name
dev,b/back.pcap,backscatter,answers to a flood,1,1,z/z,named,name
"""
UDP = bytes.fromhex("ffffffffffff020000000001080045000021000000004011000 00a0000010a000002".replace(" ", ""))
DATAGRAM = UDP + bytes.fromhex("03e80035000d0000") + b"hello"


@pytest.fixture(scope="module")
def detector() -> Detector:
    """A network that learned nothing much from random flows; every flow fires every tag."""
    random = np.random.default_rng(1)
    flows = [
        TagDataset(
            random.normal(size=(200, len(FEATURE_NAMES))).astype(np.float32),
            (random.random((200, len(TAGS))) < 0.1).astype(np.uint8),
            FEATURE_NAMES,
            TAGS,
        )
        for _ in range(2)
    ]
    settings = TrainingSettings(epochs=1, network=NetworkSettings(members=1, widths=(4,)))
    network = train_network(*flows, settings).network
    cuts = Thresholds((0.0,) * len(TAGS), ("pooled",) * len(TAGS), 1.0, 0.0)
    card = DetectorCard(
        TAGS, FEATURE_NAMES, SCHEMA_VERSION, fingerprint(), cuts, benign_medians(flows[0]), settings.to_dict(), {}
    )
    return Detector(network, card)


def test_what_a_listing_says(tmp_path: Path) -> None:
    """Ordinary traffic, a scan, what is a bot and a flood at once; what no answer of ours fits is left out."""
    (tmp_path / "meaning.csv").write_text(LISTING)
    web, nmap, bot = listed(tmp_path)
    assert (web.kind, web.answers, web.source) == ("", frozenset(), "x/y")
    assert (nmap.kind, bot.kind) == ("scan", "flood")
    assert {"reconnaissance", "port_scan"} <= nmap.answers
    assert {"impact", "command_and_control"} <= bot.answers
    assert {one.fold for one in (web, nmap, bot)} <= {0, 1}


def test_figures_of_captures() -> None:
    """Of 10 + 30 ordinary flows 1 + 0 fire: 1 in 40, in one capture of two; one scan of two is found by a right tag."""
    ordinary, scan = Capture("a", "x"), Capture("b", "x", "scan", frozenset({"port_scan"}))
    judged = [
        Judged(ordinary, 10, 0.1, 0.0, stranger=True),
        Judged(ordinary, 30, 0.0, 0.0, stranger=False),
        Judged(scan, 4, 1.0, 0.5, stranger=True),
        Judged(scan, 4, 1.0, 0.0, stranger=True),
    ]
    figures = on_captures(judged)
    assert figures["mean_false_alarm_rate"] == pytest.approx(0.05)
    assert figures["trusted_false_alarms"] == [0, 30]
    assert figures["told_right"] == [2, 2]
    assert on_captures([replace(one, stranger=not one.stranger) for one in judged])["told_right"] == [0, 2]
    assert figures["false_alarm_rate"] == pytest.approx(1 / 40)
    assert figures["captures_with_false_alarms"] == 0.5
    assert figures["found"] == {"scan": [1, 2]}
    assert figures["strangers"] == [3, 4]


def test_captures_are_scored(detector: Detector, tmp_path: Path) -> None:
    """A capture with a datagram has one flow, on which everything fires or nothing; one without IP has none."""
    paths = [
        write_capture(tmp_path / "one.pcap", [DATAGRAM, DATAGRAM]),
        write_capture(tmp_path / "none.pcap", [ARP_REQUEST]),
    ]
    scan = Capture("one", "x", "scan", frozenset({"port_scan"}))
    tables = [table_of(path, tmp_path / "tables") for path in paths]
    seen = [Seen(scan, table) for table in tables if table]
    assert len(seen) == 2
    (all_fire,) = judge(detector, seen)
    assert (all_fire.flows, all_fire.fired, all_fire.right) == (1, 1.0, 1.0)
    quiet = replace(detector.card, thresholds=replace(detector.card.thresholds, values=(NEVER_FIRES,) * len(TAGS)))
    assert [one.fired for one in judge(Detector(detector.network, quiet), seen)] == [0.0]
    assert pq.read_metadata(together([one.table for one in seen], tmp_path / "both.parquet")).num_rows == 1


def test_a_capture_that_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    """No table, and no error: the listing names captures that are damaged on purpose."""
    (tmp_path / "broken.pcap").write_bytes(b"no capture")
    assert table_of(tmp_path / "broken.pcap", tmp_path / "tables") is None


def test_a_log_is_split_by_time(detector: Detector, tmp_path: Path) -> None:
    """Of ten flows the seven that began first are used and three are held, whatever their order in the table."""
    capture = write_capture(tmp_path / "one.pcap", [DATAGRAM])
    table = table_of(capture, tmp_path / "tables")
    assert table
    row = pq.read_table(table).to_pylist()[0]
    starts = [3, 9, 1, 7, 5, 0, 8, 2, 6, 4]
    rows = [
        {**row, "start": at * 1_000_000_000, "tags": ["port_scan"] if at == 9 else [], "rules": []} for at in starts
    ]
    pq.write_table(pa.Table.from_pylist(rows, labelled_schema()), tmp_path / "log.parquet")
    log = read_log(tmp_path / "log.parquet", detector, tmp_path)
    used = pq.read_table(log.used)["start"].cast("int64").to_pylist()
    assert [at // 1_000_000_000 for at in used] == list(range(7))
    assert log.held.attack.tolist() == [False, False, True]


def test_a_step_is_done_once(tmp_path: Path) -> None:
    """What an earlier run left is not computed again."""
    place = Place(tmp_path, tmp_path)
    assert place.step("one", lambda: {"n": 1}) == {"n": 1}
    assert place.step("one", lambda: {"n": 2}) == {"n": 1}


def test_a_table_for_a_person() -> None:
    """Each way has its row, shares in percent."""
    one = {
        "ordinary_captures": 2,
        "ordinary_flows": 40,
        "false_alarm_rate": 0.025,
        "captures_with_false_alarms": 0.5,
        "found": {"scan": [1, 2]},
        "mean_false_alarm_rate": 0.05,
        "strangers": [3, 4],
        "trusted_false_alarms": [0, 30],
        "told_right": [2, 2],
    }
    log = {
        "benign_flows": 10,
        "false_alarm_rate": 0.1,
        "own_silent_rate": 0.0,
        "holds": True,
        "holds_elsewhere": [0, 4],
    }
    text = as_text({"captures": {"augmented": one}, "logs": {"iot": {"as it is": log}}})
    assert "2.50%" in text
    assert "1 of 2" in text
    assert "3 of 4" in text
    assert "10.00%" in text
    assert "0 of 4" in text


def test_without_data(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder without a listing is told, with status 2."""
    monkeypatch.setattr("sys.argv", ["travel", str(tmp_path / "work"), "--data", str(tmp_path)])
    assert main() == 2
    assert "meaning.csv" in capsys.readouterr().err


@pytest.mark.slow
def test_the_whole_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On small captures, one of them as ordinary traffic of others: all ways have figures, the same in a second run."""
    captures = write_small_captures(tmp_path / "captures")
    data = tmp_path / "data"
    data.mkdir()
    names = [f"web-{number}.pcap" for number in range(8)]
    for name in names:
        (data / name).write_bytes((captures / "demo-score.pcap").read_bytes())
    lines = [f"dev,{name},benign,,,,x/y,weak," for name in names]
    (data / "meaning.csv").write_text("\n".join([LISTING.splitlines()[0], *lines]) + "\n")
    out = tmp_path / "out.json"
    quick = ["--set", "training.epochs=1", "--set", "network.members=1"]
    arguments = ["travel", str(tmp_path / "work"), "--data", str(data), "--captures", str(captures), *quick]
    monkeypatch.setattr("sys.argv", [*arguments, "--json", str(out)])
    assert main() == 0
    first = json.loads(out.read_text())
    assert set(first["captures"]) == {"plain", "augmented", "lifted", "replayed", "background"}
    assert main() == 0
    assert json.loads(out.read_text()) == first
