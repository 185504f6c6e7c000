"""The report: what it says, that it adds up, and that silence is explained."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.evaluate import evaluate
from pipeline.ingest import ingest
from pipeline.register import champion
from pipeline.report import Findings, read_report, report
from pipeline.report_text import as_text, table
from pipeline.score import score
from pipeline.settings import Settings
from tests.pipeline.conftest import World
from tests.pipeline.small_captures import ARP_REQUEST, write_capture


@pytest.fixture(scope="module")
def findings(world: World) -> Findings:
    detector = champion(world.settings)
    flows = world.flows["demo-score"]
    detections = score(flows.path, detector.folder, world.settings)
    truth = evaluate(world.labelled["demo-score"].path, detector.folder, world.settings)
    return Findings(flows, detections, detector.title, truth)


def test_everything_adds_up(world: World, findings: Findings) -> None:
    """Packets are in flows or skipped by name, flows are detections or quiet."""
    made = report(findings, world.settings)
    content = read_report(made.path)
    packets = content["packets"]
    assert packets["read"] == packets["in_flows"] + sum(packets["skipped"].values())
    assert content["flows"] == content["detections"] + content["quiet"] == world.flows["demo-score"].rows
    assert report(findings, world.settings) == replace(made, reused=True)


def test_top_talkers_are_counted(world: World, findings: Findings) -> None:
    """The first source has most detections, and its targets, ports and tags are those of the table."""
    first = read_report(report(findings, world.settings).path)["talkers"][0]
    rows = pq.read_table(findings.detections.path / "detections.parquet").to_pylist()
    own = [row for row in rows if row["src_ip"] == first["source"]]
    assert (
        len(own) == first["detections"] == max(sum(r["src_ip"] == s for r in rows) for s in {r["src_ip"] for r in rows})
    )
    assert first["targets"] == len({row["dst_ip"] for row in own})
    assert first["ports"] == len({row["dst_port"] for row in own} - {None})
    assert first["tags"] == {tag: sum(tag in row["tags"] for row in own) for tag in first["tags"]}


def test_the_text_lies_beside_it(world: World, findings: Findings) -> None:
    """The text has the flows, each tag, the rates of all three, and the number of positives of each tag."""
    made = report(findings, world.settings)
    text = made.path.with_suffix(".txt").read_text()
    assert text == as_text(read_report(made.path)) + "\n"
    truth = read_report(made.path)["truth"]
    assert f"({findings.detector})" in text.splitlines()[0]
    assert f"{truth['detector']['silent_rate']:.2%}" in text
    for tag in truth["detector"]["tags"]:
        if tag["positives"]:
            assert any(line.split()[:2] == [tag["name"], f"{tag['positives']:,}"] for line in text.splitlines())


def test_a_capture_without_ip_explains_itself(world: World, tmp_path: Path, settings: Settings) -> None:
    """The report of a capture without IP packets says so, with the numbers."""
    detector = champion(world.settings)
    flows = ingest(write_capture(tmp_path / "arp.pcap", [ARP_REQUEST] * 3), settings)
    found = Findings(flows, score(flows.path, detector.folder, settings), detector.title)
    text = report(found, settings).path.with_suffix(".txt").read_text()
    assert "Nothing was found: there are no flows: none of 3 packets is IP: 3 arp." in text


def test_quiet_traffic_names_the_nearest_tag(world: World, findings: Findings, tmp_path: Path) -> None:
    """Flows without a detection are explained by the tag that came nearest to its threshold."""
    quiet = tmp_path / "quiet"
    quiet.mkdir()
    detections = pq.read_table(findings.detections.path / "detections.parquet")
    pq.write_table(detections.slice(0, 0), quiet / "detections.parquet")
    (quiet / "highest.json").write_text(json.dumps({"dos": [0.1, 0.9], "beacon": [0.3, 0.35]}))
    (quiet / "applicability.json").write_text(json.dumps({"limit": 0.2}))
    counts = {"flows": 9, "detections": 0, "quiet": 9, "far": 3, "unknown": 0}
    nothing = replace(findings.detections, path=quiet, rows=0, counts=counts, digest="")
    settings = world.settings.model_copy(update={"state": world.settings.state.model_copy(update={"folder": tmp_path})})
    content = read_report(report(replace(findings, detections=nothing), settings).path)
    assert content["nothing_found"] == "no flow reached a threshold; nearest came beacon: 0.3000 of 0.3500"
    assert content["truth"]
    assert content["applicability"] == {"far_flows": 3, "share": 3 / 9, "limit": 0.2, "holds": False}
    assert "THE THRESHOLDS DO NOT HOLD HERE: 33.3% of the flows" in as_text(content)


def test_traffic_of_the_training_network_is_known(world: World, findings: Findings) -> None:
    """A capture of the same network keeps within the limit, and the report says how far it is from it."""
    content = read_report(report(findings, world.settings).path)
    measured = content["applicability"]
    assert measured["far_flows"] == findings.detections.counts["far"]
    assert measured["share"] == measured["far_flows"] / content["flows"]
    assert measured["holds"] == (measured["share"] <= measured["limit"])
    assert f"{measured['share']:.1%} of the flows are unlike" in as_text(content)


def test_a_table_without_a_past(world: World, findings: Findings, tmp_path: Path) -> None:
    """A feature table that is not known to come from a capture is reported without packets."""
    settings = world.settings.model_copy(update={"state": world.settings.state.model_copy(update={"folder": tmp_path})})
    stray = replace(findings, flows=replace(findings.flows, counts={}), truth=None)
    content = read_report(report(stray, settings).path)
    assert (content["packets"], content["truth"]) == ({}, None)
    assert "packets" not in as_text(content)


def test_flow_records_without_addresses(world: World, findings: Findings, tmp_path: Path) -> None:
    """Rows are flows or rejected by name; where no flow names an address nobody is a top talker, and that is said."""
    settings = world.settings.model_copy(update={"state": world.settings.state.model_copy(update={"folder": tmp_path})})
    nameless = tmp_path / "nameless"
    shutil.copytree(findings.detections.path, nameless)
    found = pq.read_table(nameless / "detections.parquet")
    for name in ("src_ip", "dst_ip"):
        at = found.schema.get_field_index(name)
        found = found.set_column(at, found.schema.field(at), pa.nulls(len(found), found.schema.field(at).type))
    pq.write_table(found, nameless / "detections.parquet")
    read = {"rows_read": 12, "rows_out": 9, "rejected.not_ip": 3, "rejected.empty": 0}
    detections = replace(findings.detections, path=nameless)
    records = Findings(replace(findings.flows, counts=read), detections, findings.detector)
    content = read_report(report(records, settings).path)
    assert (content["records"], content["talkers"]) == ({"read": 12, "flows": 9, "rejected": {"not_ip": 3}}, [])
    assert {"12 rows = 9 flows + 3 not_ip", "The flows name no addresses, so there are no top talkers"} <= set(
        as_text(content).splitlines()
    )


def test_tables_are_aligned() -> None:
    """Words stand to the left, numbers to the right."""
    assert list(table([("tag", "n"), ("dos", "1,000"), ("port_scan", "7")])) == [
        "  tag            n",
        "  dos        1,000",
        "  port_scan      7",
    ]


def test_unknown_figures_are_a_dash() -> None:
    """A rate that is undefined is shown as such, never as 0."""
    whole = {"attack_flows": 0, "benign_flows": 2, "silent_rate": None, "false_alarm_rate": 0.5, "macro_f1": None}
    tag = {"name": "dos", "positives": 0, "fired": 1, "precision": None, "recall": None}
    truth = {"detector": {**whole, "mean_average_precision": None, "exact_match": None, "tags": [tag]}}
    content = {"name": "x", "detector": "d", "packets": {}, "flows": 2, "detections": 1, "quiet": 1, "tags": {"dos": 1}}
    content |= {"records": {}, "applicability": None, "unknown": 0}
    text = as_text({**content, "talkers": [], "nothing_found": None, "truth": truth})
    rows = {
        line.split("  ")[1]: line.split()[-1] for line in text.splitlines() if line.startswith("  ") and line.strip()
    }
    assert (rows["silent rate"], rows["false-alarm rate"], rows["macro F1"]) == ("-", "50.00%", "-")
    assert "- / -" in text
