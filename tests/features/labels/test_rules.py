"""Labelling rules: what matches, what is refused."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pytest

from features.errors import FlowtagError, LabelError
from features.labels.labeller import RuleLabeller
from features.labels.matching import RuleIndex
from features.labels.rule_files import read_rules
from features.labels.rules import Rule
from features.labels.settings import LabelSettings
from features.labels.vocabulary import read_vocabulary
from features.labels.yaml_file import MOST_BYTES
from tests.features.labels.labelled_flows import flows

HEADER = "name,tags,start,end,protocol,src_ip,src_port,dst_ip,dst_port,direction\n"
VOCABULARY = read_vocabulary()


def rules(tmp_path: Path, *lines: str) -> tuple[Rule, ...]:
    path = tmp_path / "rules.csv"
    path.write_text(HEADER + "\n".join(lines) + "\n")
    return read_rules(path, VOCABULARY).rules


def match(rules: tuple[Rule, ...], batch: pa.RecordBatch) -> list[list[bool]]:
    """Return for each flow which rule matches it."""
    found = RuleIndex(rules).match(batch)
    pairs = set(zip(found.flows.tolist(), found.rules.tolist(), strict=True))
    return [[(flow, rule) in pairs for rule in range(len(rules))] for flow in range(batch.num_rows)]


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
        ("a,impact,,,,10.9.0.0/16;10.0.0.1,,,22;79-81", True),
        ("a,impact,,,,10.9.0.0/16;10.0.0.3,,,", False),
        ("a,impact,,,,10.0.0.1,,,80,forward", True),
        ("a,impact,,,,10.0.0.2,,,,forward", False),
        ("a,impact,,,,10.0.0.2,,,,both", True),
    ],
)
def test_a_rule_matches_by_time_and_either_direction(tmp_path: Path, line: str, expected: bool) -> None:
    """A rule matches when packets overlap its time (both ends included) and its ends fit in either direction."""
    assert match(rules(tmp_path, line), flows({})) == [[expected]]


def test_tags_are_the_union_in_the_vocabularys_order(tmp_path: Path) -> None:
    """Two rules on one flow give the union of their tags once each; a flow without rules has an empty list."""
    two = rules(tmp_path, "b,dos;impact,,,,10.0.0.1,,,", "a,impact;reconnaissance,,,,,,10.0.0.2,", "c,beacon,,,17,,,,")
    labeller = RuleLabeller(two, VOCABULARY)
    [batch] = labeller.label([flows({}, {"src_ip": "10.0.0.9", "dst_ip": "10.0.0.8"})])
    assert batch.column("tags").to_pylist() == [["reconnaissance", "impact", "dos"], []]
    assert batch.column("rules").to_pylist() == [["b", "a"], []]
    assert [rule.name for rule in labeller.unmatched()] == ["c"]
    account = labeller.account
    assert [account.matched[number] for number in range(3)] == [1, 1, 0]
    assert (account.flows, account.benign, account.tags["impact"]) == (2, 1, 1)
    assert account.overlaps() == {("a", "b"): 1}


def test_no_rules_label_everything_benign() -> None:
    """Without rules each flow has an empty list of tags."""
    [batch] = RuleLabeller((), VOCABULARY).label([flows({})])
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
        ("a,impact,,,,,,,80;", "bad dst_port"),
        ("a,impact,,,,10.0.0.0/33,,,", "bad src_ip"),
        ("a,impact,,,,10.0.0.1;;10.0.0.2,,,", "bad src_ip"),
        ("a,impact,,,,,,,,backward", "bad direction"),
        ("a,impact,,,,,,,,both,more", "too many cells"),
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
    assert rules(tmp_path, "a,impact")[0].src_ip == ()
    with pytest.raises(LabelError, match="without tags"):
        rules(tmp_path, "a")


def test_a_flow_without_address_or_time_matches_only_what_asks_for_neither(tmp_path: Path) -> None:
    """Flow records may lack addresses, times and protocol: such a flow matches no rule that names one."""
    bare = flows({"src_ip": None, "dst_ip": None, "start": None, "end": None, "protocol": None}, {})
    asked = rules(tmp_path, "a,impact,,,,10.0.0.1,,,", "b,impact,1,200,,,,,", "c,impact,,,tcp,,,,", "d,impact,,,,,,,80")
    assert match(asked, bare) == [[False, False, False, True], [True, True, True, True]]


ZONED = "a,impact,1970-01-01 00:01:40,1970-01-01 00:01:45,,,,,"


@pytest.mark.parametrize(
    ("options", "settings", "start_s"),
    [
        ("# time_zone: UTC\n", LabelSettings(), 100),
        ("# time_zone: America/Halifax\n", LabelSettings(), 100 + 4 * 3600),
        ("# time_zone: America/Halifax\n", LabelSettings(time_zone="UTC"), 100),
        ("# time_zone: UTC\n# clock_offset_s: 7200\n", LabelSettings(), 7300),
        ("# time_zone: UTC\n# clock_offset_s: 7200\n", LabelSettings(clock_offset_s=-60), 40),
        ("# a word on where this comes from: the lab\n", LabelSettings(time_zone="UTC"), 100),
    ],
)
def test_truth_tables_that_are_off_by_hours(
    tmp_path: Path, options: str, settings: LabelSettings, start_s: int
) -> None:
    """A file may name its zone and how far its clock is off; what is chosen from outside wins."""
    path = tmp_path / "rules.csv"
    path.write_text(options + HEADER + ZONED + "\n")
    [rule] = read_rules(path, VOCABULARY, settings).rules
    assert (rule.start_ns, rule.end_ns) == (start_s * 10**9, (start_s + 5) * 10**9)
    assert rule.line == options.count("\n") + 2


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ("# time_zone: Mars/Olympus\n", "time zone"),
        ("# timezone: UTC\n", "'time_zone'"),
        ("# clock_offset_s: three hours\n", "clock_offset_s"),
        ("# clock_offset_s: nan\n", "clock_offset_s"),
        ("# allow_unmatched: perhaps\n", "allow_unmatched"),
    ],
)
def test_a_bad_option_of_a_file_is_refused(tmp_path: Path, options: str, word: str) -> None:
    """An unknown zone, a misspelt option or a value that is none ends in an error that names it."""
    path = tmp_path / "rules.csv"
    path.write_text(options + HEADER + "a,impact,,,,,,,\n")
    with pytest.raises(FlowtagError, match=word):
        read_rules(path, VOCABULARY)


YAML = """
time_zone: Europe/Prague
allow_unmatched: true
rules:
  - name: scan
    tags: [port_scan]
    start: 2011-08-10 09:46:53
    end: 2011-08-10T07:50:00Z
    src_ip: [10.0.0.1, 10.0.0.8/29]
    dst_port: [80, 8000-8100]
  - {name: flood, tags: syn_flood, direction: forward, protocol: tcp}
"""


def test_rules_as_yaml(tmp_path: Path) -> None:
    """YAML says what CSV says, lists as lists; a technique brings the tactics it implies."""
    (tmp_path / "rules").write_text(YAML)
    (tmp_path / "rules.csv").write_text(
        "# time_zone: Europe/Prague\n" + HEADER
        + "scan,port_scan,2011-08-10 09:46:53,2011-08-10T07:50:00Z,,10.0.0.1;10.0.0.8/29,,,80;8000-8100\n"
        + "flood,syn_flood,,,tcp,,,,,forward\n"
    )  # fmt: skip
    as_yaml, as_csv = (read_rules(tmp_path / name, VOCABULARY) for name in ("rules", "rules.csv"))
    assert [replace(rule, line=0) for rule in as_yaml.rules] == [replace(rule, line=0) for rule in as_csv.rules]
    assert (as_yaml.allow_unmatched, as_csv.allow_unmatched) == (True, False)
    assert [rule.tags for rule in as_yaml.rules] == [("reconnaissance", "port_scan"), ("impact", "dos", "syn_flood")]
    assert as_yaml.rules[0].start_ns == 1_312_962_413 * 10**9  # CEST is two hours before UTC


BOMB = "a: &a [1]\n" + "".join(f"{b}: &{b} [*{a}, *{a}, *{a}, *{a}]\n" for a, b in pairwise("abcdefghijklmnop"))


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("rules: []\nrule: []\n", "did you mean 'rules'"),
        ("rules: {a: b}\n", "list of mappings"),
        ("rules: [a]\n", "rule 1"),
        ("rules: [{name: a, tags: [impact], scr_ip: 10.0.0.1}]\n", "'src_ip'"),
        ("rules: [{name: a, tags: [impact], name: b}]\n", "comes twice"),
        ("rules: [{name: a, tags: [impact], start: 2020-01-02, end: 2020-01-01T00:00:00Z}]\n", "no time zone"),
        ("rules: [\n", "rules cannot be read"),
        ("rules: " + "[" * 50_000, "deeper"),
        (f"rules: []\n{BOMB}", "alias"),
        ("rules: !!python/object/apply:os.system [ls]\n", "constructor"),
    ],
)
def test_bad_yaml_is_refused(tmp_path: Path, text: str, word: str) -> None:
    """What is no list of rules, unsafe, or grows in memory is an error that says what and where."""
    path = tmp_path / "rules.yaml"
    path.write_text(text)
    with pytest.raises(LabelError, match=word):
        read_rules(path, VOCABULARY)


def test_a_huge_yaml_file_is_refused(tmp_path: Path) -> None:
    """A file beyond the bound is refused before it is parsed."""
    path = tmp_path / "rules.yaml"
    path.write_bytes(b"rules: []\n" + b"# more\n" * (MOST_BYTES // 7))
    with pytest.raises(LabelError, match="more than 16,777,216 bytes"):
        read_rules(path, VOCABULARY)
