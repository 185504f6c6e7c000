"""Labelling rules: what matches, what is refused."""

from pathlib import Path

import pyarrow as pa
import pytest

from features.errors import LabelError
from features.labels.rules import Labeller, Rule, match, read_rules
from features.labels.vocabulary import read_vocabulary
from features.schema import arrow_schema

HEADER = "name,tags,start,end,protocol,src_ip,src_port,dst_ip,dst_port\n"
VOCABULARY = read_vocabulary()


def rules(tmp_path: Path, *lines: str) -> tuple[Rule, ...]:
    path = tmp_path / "rules.csv"
    path.write_text(HEADER + "\n".join(lines) + "\n")
    return read_rules(path, VOCABULARY)


def flows(*rows: dict[str, object]) -> pa.RecordBatch:
    """Feature rows of which only the identity matters: 10.0.0.1:1000 to 10.0.0.2:80 over TCP, from 100 s to 110 s."""
    usual = {
        "src_ip": "10.0.0.1", "src_port": 1000, "dst_ip": "10.0.0.2", "dst_port": 80, "protocol": 6,
        "start": 100 * 10**9, "end": 110 * 10**9,
    }  # fmt: skip
    full = [{**usual, **row} for row in rows]
    arrays = []
    for field in arrow_schema():
        values = [row.get(field.name, "" if pa.types.is_string(field.type) else 0) for row in full]
        arrays.append(
            pa.array(values, pa.int64() if pa.types.is_timestamp(field.type) else field.type).cast(field.type)
        )
    return pa.RecordBatch.from_arrays(arrays, schema=arrow_schema())


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("a,impact,,,,,,,", True),
        ("a,impact,110,120,,,,,", True),
        ("a,impact,110.000000001,120,,,,,", False),
        ("a,impact,90,100,,,,,", True),
        ("a,impact,90,99.999999999,,,,,", False),
        ("a,impact,,,tcp,10.0.0.1,,10.0.0.2,80", True),
        ("a,impact,,,6,10.0.0.2,80,10.0.0.1,", True),
        ("a,impact,,,17,,,,", False),
        ("a,impact,,,,10.0.0.1,80,,", False),
        ("a,impact,,,,10.0.0.0/30,,,79-81", True),
        ("a,impact,,,,10.0.1.0/24,,,", False),
        ("a,impact,,,,,,,81-90", False),
        ("a,impact,1970-01-01T01:01:50+01:00,,,,,,", True),
        ("a,impact,,,,::ffff:10.0.0.1,,,", True),
        ("a,impact,,,,2001:db8::/32,,,", False),
    ],
)
def test_a_rule_matches_by_time_and_either_direction(tmp_path: Path, line: str, expected: bool) -> None:
    """A rule matches when packets overlap its time (both ends included) and its ends fit in either direction."""
    assert match(rules(tmp_path, line), flows({})).tolist() == [[expected]]


def test_tags_are_the_union_in_the_vocabularys_order(tmp_path: Path) -> None:
    """Two rules on one flow give the union of their tags once each; a flow without rules has an empty list."""
    two = rules(tmp_path, "b,dos;impact,,,,10.0.0.1,,,", "a,impact;reconnaissance,,,,,,10.0.0.2,", "c,beacon,,,17,,,,")
    labeller = Labeller(two, VOCABULARY)
    [batch] = labeller.label([flows({}, {"src_ip": "10.0.0.9", "dst_ip": "10.0.0.8"})])
    assert batch.column("tags").to_pylist() == [["reconnaissance", "impact", "dos"], []]
    assert batch.column("rules").to_pylist() == [["b", "a"], []]
    assert [rule.name for rule in labeller.unmatched()] == ["c"]
    assert labeller.flows_per_rule.tolist() == [1, 1, 0]
    assert labeller.benign == 1
    assert labeller.flows_per_tag["impact"] == 1


def test_no_rules_label_everything_benign() -> None:
    """Without rules each flow has an empty list of tags."""
    [batch] = Labeller((), VOCABULARY).label([flows({})])
    assert batch.column("tags").to_pylist() == [[]]


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("a,port_scam,,,,,,,", "'port_scan'"),
        ("a,,,,,,,,", "without tags"),
        ("a,impact,yesterday,,,,,,", "bad start"),
        ("a,impact,2026-03-01T08:00:00,,,,,,", "bad start"),
        ("a,impact,1e30,,,,,,", "bad start"),
        ("a,impact,nan,,,,,,", "bad start"),
        ("a,impact,2,1,,,,,", "ends before"),
        ("a,impact,,,tpc,,,,", "bad protocol"),
        ("a,impact,,,300,,,,", "bad protocol"),
        ("a,impact,,,,10.0.0.256,,,", "bad src_ip"),
        ("a,impact,,,,,70000,,", "bad src_port"),
        ("a,impact,,,,,90-80,,", "bad src_port"),
        ("a,impact,,,,,,,http", "bad dst_port"),
    ],
)
def test_a_bad_cell_is_named_with_its_line(tmp_path: Path, line: str, word: str) -> None:
    """What cannot be read is an error that says which cell of which line."""
    with pytest.raises(LabelError, match=word) as caught:
        rules(tmp_path, "good,impact,,,,,,,", line)
    assert "line 3" in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"name,tags\na,impact\n", b"\xff\xfe\x00"])
def test_a_file_that_is_no_rules_file_is_refused(tmp_path: Path, content: bytes) -> None:
    """An empty file, missing columns or bytes that are no text end in LabelError."""
    path = tmp_path / "rules.csv"
    path.write_bytes(content)
    with pytest.raises(LabelError, match="rules"):
        read_rules(path, VOCABULARY)


def test_a_row_of_too_few_cells_is_refused(tmp_path: Path) -> None:
    """A line cut short has no tags; one cut later matches anything, as empty cells do."""
    assert rules(tmp_path, "a,impact")[0].src_ip is None
    with pytest.raises(LabelError, match="without tags"):
        rules(tmp_path, "a")


def test_a_flow_without_address_or_time_matches_only_what_asks_for_neither(tmp_path: Path) -> None:
    """Flow records may lack addresses, times and protocol: such a flow matches no rule that names one."""
    bare = flows({"src_ip": None, "dst_ip": None, "start": None, "end": None, "protocol": None}, {})
    asked = rules(tmp_path, "a,impact,,,,10.0.0.1,,,", "b,impact,1,200,,,,,", "c,impact,,,tcp,,,,", "d,impact,,,,,,,80")
    assert match(asked, bare).tolist() == [[False, False, False, True], [True, True, True, True]]
