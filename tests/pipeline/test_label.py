"""Feature tables and rules to labelled tables."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from features.errors import LabelError, SchemaError
from features.labels.vocabulary import read_vocabulary
from features.schema import labelled_schema
from pipeline.ingest import ingest
from pipeline.label import label, report_path
from pipeline.settings import LabelsSection, Settings
from tests.pipeline.conftest import World

HEAD = "name,tags,start,end,protocol,src_ip,src_port,dst_ip,dst_port\n"


def rules(folder: Path, *lines: str) -> Path:
    path = folder / "some.rules.csv"
    path.write_text(HEAD + "".join(f"{line}\n" for line in lines))
    return path


def test_flows_are_conserved_and_counted(world: World) -> None:
    """Labelling adds two columns and loses no flow; counts are those of the column itself."""
    for name, result in world.labelled.items():
        table = pq.read_table(result.path)
        assert table.schema.equals(labelled_schema())
        assert table.drop_columns(["tags", "rules"]).equals(pq.read_table(world.flows[name].path))
        tags = table["tags"].to_pylist()
        counted = Counter(tag for row in tags for tag in row)
        attack = sum(1 for row in tags if row)
        assert (result.counts["attack"], result.counts["benign"]) == (attack, len(tags) - attack)
        assert {key[4:]: n for key, n in result.counts.items() if key.startswith("tag.")} == counted


def test_second_time_it_is_used_again(world: World) -> None:
    """The same table and rules give the finished table."""
    made = world.labelled["demo-score"]
    again = label(world.flows["demo-score"].path, world.captures / "demo-score.rules.csv", world.settings)
    assert again == replace(made, reused=True)


def test_rules_of_one_name_are_counted_together(world: World, tmp_path: Path, settings: Settings) -> None:
    """Two lines of one rule add up, a rule that matches nothing is counted as unmatched, empty cells match all."""
    table = world.flows["demo-score"]
    everything = "all,dos,,,,,,,"
    lines = (everything, everything, "none,beacon,1,2,,,,,")
    with pytest.raises(LabelError, match="1 of 3 rules match no flow"):
        label(table.path, rules(tmp_path, *lines), settings)
    allowing = settings.model_copy(update={"labels": LabelsSection(allow_unmatched=True)})
    result = label(table.path, rules(tmp_path, *lines), allowing)
    assert (result.counts["rules"], result.counts["rules_unmatched"]) == (3, 1)
    assert (result.counts["rule.all"], result.counts["rule.none"]) == (2 * table.rows, 0)
    assert (result.counts["attack"], result.counts["tag.dos"]) == (table.rows, table.rows)


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("scan,port_scam,1,2,,,,,", "port_scan"),
        ("scan,port_scan,yesterday,2,,,,,", "bad start"),
        ("scan,port_scan,3,2,,,,,", "ends before it starts"),
        ("scan,port_scan,1,2,,10.0.0.300,,,", "bad src_ip"),
    ],
)
def test_wrong_rules_leave_everything_as_it_was(
    world: World, tmp_path: Path, settings: Settings, line: str, word: str
) -> None:
    """An unknown tag (the nearest is named), a bad time or address is an error with its line, and nothing is made."""
    with pytest.raises(LabelError, match=word) as raised:
        label(world.flows["demo-score"].path, rules(tmp_path, line), settings)
    assert "line 2" in str(raised.value)
    assert not settings.state.root.exists()


def test_the_report_lies_beside_the_table(world: World) -> None:
    """The report counts flows per rule as the column does, and comes back when it was deleted."""
    made = world.labelled["demo-score"]
    report = json.loads(report_path(made.path).read_text("utf-8"))
    names = Counter(name for row in pq.read_table(made.path, columns=["rules"])["rules"].to_pylist() for name in row)
    assert {one["name"] for one in report["rules"] if one["flows"]} == set(names)
    single = [one for one in report["rules"] if one["lines"] == 1 and one["flows"]]
    assert single
    assert {one["name"]: one["flows"] for one in single} == {one["name"]: names[one["name"]] for one in single}
    assert (report["flows"], report["kind"]) == (made.rows, "rules")
    text = report_path(made.path).read_text("utf-8")
    report_path(made.path).unlink()
    assert label(world.flows["demo-score"].path, world.captures / "demo-score.rules.csv", world.settings).reused
    assert report_path(made.path).read_text("utf-8") == text


def test_the_table_tells_its_vocabulary(world: World) -> None:
    """Order and fingerprint of the tags are in the labelled table's metadata."""
    metadata = pq.read_schema(world.labelled["demo-score"].path).metadata
    vocabulary = read_vocabulary()
    assert metadata[b"flowtag.tags"].decode().split(",") == list(vocabulary.names)
    assert metadata[b"flowtag.vocabulary"].decode() == vocabulary.fingerprint


def test_a_table_without_labels_of_its_source(world: World, settings: Settings) -> None:
    """Without truth the source must have told what its flows are."""
    with pytest.raises(LabelError, match="no labels of its source"):
        label(world.flows["demo-score"].path, None, settings)


def test_missing_rules(world: World, tmp_path: Path, settings: Settings) -> None:
    """Rules that are not there are a label error."""
    with pytest.raises(LabelError, match="cannot be read"):
        label(world.flows["demo-score"].path, tmp_path / "none.csv", settings)


def test_a_table_of_another_schema(world: World, tmp_path: Path, settings: Settings) -> None:
    """A table that lacks a column is refused with the difference shown."""
    other = tmp_path / "old.parquet"
    pq.write_table(pq.read_table(world.flows["demo-score"].path).drop_columns(["is_tcp"]), other)
    with pytest.raises(SchemaError, match="is_tcp"):
        label(other, world.captures / "demo-score.rules.csv", settings)


def test_equal_flows_are_given_the_union(tmp_path: Path, settings: Settings) -> None:
    """Of rows of UNSW-NB15 that differ in the class alone each gets the tags of all; the report counts them."""
    row = "0.5,{proto},-,FIN,{packets},2,168,128,0.3,1,{attack_cat}"
    rows = (("tcp", 4, "Exploits"), ("tcp", 4, "DoS"), ("tcp", 4, "Normal"), ("udp", 4, "Normal"), ("tcp", 5, "DoS"))
    header = "dur,proto,service,state,spkts,dpkts,sbytes,dbytes,tcprtt,ct_state_ttl,attack_cat"
    lines = [row.format(proto=proto, packets=packets, attack_cat=name) for proto, packets, name in rows]
    (tmp_path / "unsw.csv").write_text("\n".join([header, *lines]) + "\n")
    table = ingest(tmp_path / "unsw.csv", settings).path
    as_told = pq.read_table(label(table, None, settings).path)["tags"].to_pylist()
    union = settings.model_copy(update={"labels": LabelsSection(merge_equal=True)})
    result = label(table, None, union)
    united = pq.read_table(result.path)["tags"].to_pylist()
    assert [set(tags) for tags in united] == [set(as_told[0]) | set(as_told[1])] * 3 + [set(), set(as_told[4])]
    report = json.loads(report_path(result.path).read_text())
    assert report["equal"] == {"groups": 1, "flows": 3, "flows_changed": 3, "benign_made_attack": 1}


def test_a_table_tells_of_which_tags_its_truth_can_speak(world: World, tmp_path: Path, settings: Settings) -> None:
    """Rules speak of all tags or of what they say, alerts of what their words can mean, a setting goes before both."""
    table = world.flows["demo-score"].path
    partial = rules(tmp_path, "all,port_scan,,,,,,,")
    assert b"flowtag.tags_known" not in pq.read_schema(label(table, partial, settings).path).metadata
    partial.write_text("# speaks_of: port_scan; reconnaissance\n" + partial.read_text())
    result = label(table, partial, settings)
    assert pq.read_schema(result.path).metadata[b"flowtag.tags_known"] == b"reconnaissance,port_scan"
    assert json.loads(report_path(result.path).read_text())["tags_known"] == ["reconnaissance", "port_scan"]
    setting = settings.model_copy(update={"labels": LabelsSection(speaks_of="port_scan")})
    assert pq.read_schema(label(table, partial, setting).path).metadata[b"flowtag.tags_known"] == b"port_scan"
    wrong = settings.model_copy(update={"labels": LabelsSection(speaks_of="port_scam")})
    with pytest.raises(LabelError, match="port_scan"):
        label(table, partial, wrong)
