"""Verdicts of Suricata and Zeek as tags on flows."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from features.errors import LabelError
from features.labels.labeller import RuleLabeller
from features.labels.rules import Truth
from features.labels.settings import LabelSettings
from features.labels.truth import read_truth
from features.labels.vocabulary import read_vocabulary
from tests.features.labels.labelled_flows import flows

VOCABULARY = read_vocabulary()
DATA = Path(os.environ.get("FLOWTAG_DATA", "/nonexistent"))
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="FLOWTAG_DATA names no folder of other tools' logs")


def event(**more: Any) -> dict[str, Any]:
    return {
        "timestamp": "1970-01-01T01:01:45.000000+0100", "event_type": "alert", "src_ip": "10.0.0.2", "src_port": 80,
        "dest_ip": "10.0.0.1", "dest_port": 1000, "proto": "TCP",
        "alert": {"signature": "LOCAL rule", "category": "Attempted Denial of Service"}, **more,
    }  # fmt: skip


def read(tmp_path: Path, text: str) -> Truth:
    path = tmp_path / "truth"
    path.write_text(text)
    return read_truth(path, VOCABULARY, LabelSettings())


def tags(truth: Truth, *rows: dict[str, Any]) -> list[list[str]]:
    [batch] = RuleLabeller(truth.rules, VOCABULARY).label([flows(*rows)])
    return batch.column("tags").to_pylist()


def test_alerts_are_joined_by_ends_and_time(tmp_path: Path) -> None:
    """An alert tags the flow of its ends, in either direction, whose packets it falls between, and no other."""
    truth = read(tmp_path, json.dumps(event()) + "\n" + json.dumps({"event_type": "flow"}) + "\nno json\n")
    assert truth.kind == "suricata alerts"
    later = {"start": 200 * 10**9, "end": 210 * 10**9}
    assert tags(truth, {}, later, {"dst_port": 81}) == [["impact", "dos"], [], []]
    assert dict(truth.ignored) == {"is no alert": 1}


def test_alerts_are_joined_by_community_id(tmp_path: Path) -> None:
    """Where the alert's addresses are of another side of a translation, the Community ID still finds the flow."""
    truth = read(tmp_path, json.dumps(event(src_ip="192.0.2.9", community_id="1:abc")))
    assert tags(truth, {"community_id": "1:abc"}, {"community_id": "1:abd"}) == [["impact", "dos"], []]


@pytest.mark.parametrize(
    ("alert", "expected"),
    [
        ({"category": "Misc Attack"}, ["unspecified"]),
        ({"category": "Misc Attack", "signature": "ET SCAN Nmap -sS"}, ["reconnaissance", "port_scan"]),
        ({"category": "Misc activity"}, []),
        ({"category": "Misc activity", "metadata": {"mitre_technique_id": ["T1110.001"]}},
         ["credential_access", "brute_force"]),
        ({"category": "Web Application Attack", "metadata": {"mitre_tactic_id": ["TA0001"]}},
         ["initial_access", "web_attack"]),
    ],
)  # fmt: skip
def test_category_signature_and_metadata_give_tags(tmp_path: Path, alert: dict[str, Any], expected: list[str]) -> None:
    """They add up; an attack that is not told more nearly is unspecified; oddness is no attack."""
    assert tags(read(tmp_path, json.dumps(event(alert=alert))), {}) == [expected]


def test_a_category_without_a_meaning_is_counted(tmp_path: Path) -> None:
    """An unknown category is no silent benign."""
    truth = read(tmp_path, json.dumps(event(alert={"signature": "x", "category": "Bad Hair Day"})))
    assert (truth.rules, dict(truth.unmapped)) == ((), {"Bad Hair Day": 1})


ZEEK = (
    "#separator \\x09\n#path\t{path}\n#fields\tts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\t{columns}\n{rows}"
)
NOTICE = ZEEK.format(
    path="notice",
    columns="proto\tnote\tsrc\tdst\tp",
    rows="105.5\tC1\t10.0.0.1\t1000\t10.0.0.2\t80\ttcp\tHTTP::SQL_Injection_Attacker\t10.0.0.1\t10.0.0.2\t80\n"
    "999.0\t-\t-\t-\t-\t-\t-\tScan::Port_Scan\t10.0.0.7\t10.0.0.2\t-\n"
    "999.0\t-\t-\t-\t-\t-\t-\tSSL::Certificate_Expired\t10.0.0.1\t-\t-\n"
    "999.0\t-\t-\t-\t-\t-\t-\tMine::Own\t10.0.0.1\t-\t-\n"
    "999.0\t-\t-\t-\t-\t-\t-\tScan::Address_Scan\t-\t-\t-\n",
)  # fmt: skip


def test_notices_tag_their_flow_and_summaries_their_hosts(tmp_path: Path) -> None:
    """A notice of one connection tags that one; one on a host, told later, tags its flows at any time."""
    truth = read(tmp_path, NOTICE)
    assert truth.kind == "zeek notices"
    found = tags(truth, {}, {"src_port": 1001}, {"src_ip": "10.0.0.7"})
    assert found == [["initial_access", "web_attack"], [], ["reconnaissance", "port_scan"]]
    assert dict(truth.ignored) == {"says nothing of an attack": 1, "names no flow": 1}
    assert dict(truth.unmapped) == {"Mine::Own": 1}


def test_weirds_are_no_attacks_but_for_a_few(tmp_path: Path) -> None:
    """A LAND attack is denial of service; a bad header is nothing."""
    rows = "".join(f"105.5\tC1\t10.0.0.1\t1000\t10.0.0.2\t80\t{name}\tzeek\n" for name in ("land_attack", "bad_HTTP_x"))
    truth = read(tmp_path, ZEEK.format(path="weird", columns="name\tpeer", rows=rows))
    assert truth.kind == "zeek weirds"
    assert tags(truth, {}) == [["impact", "dos"]]


def test_a_bad_moment_is_named_with_its_line(tmp_path: Path) -> None:
    """A time that is none is an error of its line."""
    with pytest.raises(LabelError, match="line 2"):
        read(tmp_path, "\n" + json.dumps(event(timestamp="soon")))


@needs_data
def test_suricatas_own_alerts() -> None:
    """Every alert of a real EVE file has a meaning; grep counts 745 of them."""
    path = DATA / "slips/test6-malicious.suricata.json"
    if not path.exists():
        pytest.skip("no EVE sample")
    truth = read_truth(path, VOCABULARY)
    assert truth.unmapped == ()
    assert len({rule.line for rule in truth.rules}) == 745
    assert any("port_scan" in rule.tags for rule in truth.rules)


@needs_data
def test_zeeks_own_notices() -> None:
    """A notice.log that Zeek's own test suite expects is told by content, and its attacker is one."""
    path = DATA / "zeek-btest/Baseline/scripts.policy.protocols.http.sql-injection-plus-dvwa2/notice.log"
    if not path.exists():
        pytest.skip("no notice.log sample")
    truth = read_truth(path, VOCABULARY)
    assert (truth.kind, truth.unmapped) == ("zeek notices", ())
    assert {rule.tags for rule in truth.rules} == {("initial_access", "web_attack")}
    assert "192.168.111.148/32" in {str(network) for rule in truth.rules for network in rule.src_ip}


def test_verdicts_speak_of_what_their_words_can_mean(tmp_path: Path) -> None:
    """No word of theirs means slow HTTP, so flows without an alert are not known to be free of it."""
    alerts = read(tmp_path, json.dumps(event()) + "\n")
    assert {"dos", "brute_force", "command_and_control"} <= set(alerts.speaks_of)
    assert not {"slow_http", "reverse_shell", "attempted"} & set(alerts.speaks_of)
    weirds = read(tmp_path, '{"ts": 5, "name": "land_attack", "peer": "zeek", "id.orig_h": "10.0.0.1"}\n')
    assert weirds.speaks_of == ("port_scan", "dos", "unspecified")
