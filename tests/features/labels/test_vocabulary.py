"""The vocabulary of tags."""

from pathlib import Path

import pytest

from features.errors import LabelError
from features.labels.vocabulary import BUILT_IN, read_vocabulary


def test_the_built_in_vocabulary_is_whole() -> None:
    """Every tag has a description, ATT&CK ids and a severity; every technique's parents are tags."""
    vocabulary = read_vocabulary()
    assert len(vocabulary.names) == 25
    for tag in vocabulary.tags:
        assert tag.description, tag
        assert tag.attack or tag.kind == "outcome", tag
        assert all(code.startswith("TA0" if tag.kind == "tactic" else "T1") for code in tag.attack), tag


# ATT&CK Enterprise 18.0: id, name (of a sub-technique without its technique's) and tactics
TACTICS = {
    "TA0001": "Initial Access", "TA0002": "Execution", "TA0006": "Credential Access", "TA0007": "Discovery",
    "TA0008": "Lateral Movement", "TA0009": "Collection", "TA0010": "Exfiltration", "TA0011": "Command and Control",
    "TA0040": "Impact", "TA0043": "Reconnaissance",
}  # fmt: skip
TECHNIQUES = {
    "T1018": ("Remote System Discovery", "TA0007"), "T1021": ("Remote Services", "TA0008"),
    "T1041": ("Exfiltration Over C2 Channel", "TA0010"), "T1046": ("Network Service Discovery", "TA0007"),
    "T1048": ("Exfiltration Over Alternative Protocol", "TA0010"),
    "T1059": ("Command and Scripting Interpreter", "TA0002"), "T1071": ("Application Layer Protocol", "TA0011"),
    "T1071.001": ("Web Protocols", "TA0011"), "T1071.004": ("DNS", "TA0011"), "T1090": ("Proxy", "TA0011"),
    "T1095": ("Non-Application Layer Protocol", "TA0011"), "T1105": ("Ingress Tool Transfer", "TA0011"),
    "T1110": ("Brute Force", "TA0006"), "T1190": ("Exploit Public-Facing Application", "TA0001"),
    "T1203": ("Exploitation for Client Execution", "TA0002"), "T1210": ("Exploitation of Remote Services", "TA0008"),
    "T1496": ("Resource Hijacking", "TA0040"), "T1498": ("Network Denial of Service", "TA0040"),
    "T1498.001": ("Direct Network Flood", "TA0040"), "T1499": ("Endpoint Denial of Service", "TA0040"),
    "T1499.001": ("OS Exhaustion Flood", "TA0040"), "T1499.002": ("Service Exhaustion Flood", "TA0040"),
    "T1557": ("Adversary-in-the-Middle", "TA0006", "TA0009"), "T1566": ("Phishing", "TA0001"),
    "T1568": ("Dynamic Resolution", "TA0011"), "T1571": ("Non-Standard Port", "TA0011"),
    "T1572": ("Protocol Tunneling", "TA0011"), "T1573": ("Encrypted Channel", "TA0011"),
    "T1595": ("Active Scanning", "TA0043"), "T1595.001": ("Scanning IP Blocks", "TA0043"),
    "T1595.002": ("Vulnerability Scanning", "TA0043"),
}  # fmt: skip


def test_every_attack_id_is_one_of_version_18() -> None:
    """No id stands in the vocabulary that is not in the lists above; tactics are called what MITRE calls the first."""
    vocabulary = read_vocabulary()
    assert "version 18.0" in BUILT_IN.read_text("utf-8")
    for tag in vocabulary.tags:
        assert set(tag.attack) <= TACTICS.keys() | TECHNIQUES.keys(), tag
        if tag.kind == "tactic":
            assert TACTICS[tag.attack[0]].lower().replace(" ", "_") == tag.name
    ids = {word.upper().replace(" ", ".") for word in vocabulary.words["attack"]}
    assert ids <= TACTICS.keys() | TECHNIQUES.keys()


def test_a_technique_implies_a_tactic_that_attack_gives_it() -> None:
    """Where a tag or an id of ATT&CK brings tactics, one of them is a tactic of the technique."""
    vocabulary = read_vocabulary()
    of_tag = {tag.name: set(tag.attack) for tag in vocabulary.tags if tag.kind == "tactic"}
    told = [(tag.attack, vocabulary.implied([tag.name])) for tag in vocabulary.tags if tag.kind == "technique"]
    told += [
        ((code,), vocabulary.tags_of("attack", code) or ()) for code in TECHNIQUES if vocabulary.tags_of("attack", code)
    ]
    for codes, tags in told:
        brought = set().union(*(of_tag[tag] for tag in tags if tag in of_tag))
        given = {tactic for code in codes for tactic in TECHNIQUES[code][1:]}
        assert not brought or brought & given, (codes, tags)


def test_an_unknown_tag_names_the_nearest() -> None:
    """A misspelt tag is an error that offers the right word."""
    with pytest.raises(LabelError, match="did you mean 'brute_force'"):
        read_vocabulary().check(["impact", "bruteforce"], "here")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "- a\n",
        "a: [",
        "tag: {}",
        "tags: {a: {kind: tactic}}",
        "tags: {a: {description: x, kind: technique, parents: [b]}}",
        "tags: {a: 1}",
        "tags: {A b: {description: x, kind: tactic}}",
        "tags: {a: {description: x, kind: mood}}",
        "tags: {a: {description: x, kind: tactic, severity: 9}}",
        "tags: {a: {description: x, kind: tactic, attack: [T99]}}",
        "tags: {a: {description: x, kind: tactic, attack: T1046}}",
        "tags: {a: {description: x, kind: tactic, colour: red}}",
        "words: {labels: {a: impact}}",
        "words: {labels: {a: [nothing_known]}}",
        "words: [a]",
    ],
)
def test_a_broken_vocabulary_is_refused(tmp_path: Path, text: str) -> None:
    """What is no mapping of whole tags is LabelError."""
    path = tmp_path / "tags.yaml"
    path.write_text(text)
    with pytest.raises(LabelError):
        read_vocabulary(path)


OWN = """
tags:
  port_scan: {severity: 3}
  my_worm: {description: Ours, kind: technique, parents: [exploit, lateral_movement], attack: [T1210]}
words:
  labels: {Worm X: [my_worm], benign: [impact]}
  my_tool: {"alarm *": [my_worm]}
"""


def test_a_file_of_ones_own_is_merged_over_the_built_in_one(tmp_path: Path) -> None:
    """Known tags change in place and keep the rest, new ones go behind, words are added or win."""
    path = tmp_path / "own.yaml"
    path.write_text(OWN)
    built_in, own = read_vocabulary(), read_vocabulary(path)
    assert own.names == (*built_in.names, "my_worm")
    changed = own.tags[own.names.index("port_scan")]
    assert (changed.severity, changed.parents, changed.attack) == (3, ("reconnaissance",), ("T1046",))
    assert own.label_tags("worm-x") == ("lateral_movement", "exploit", "my_worm")
    assert own.label_tags("BENIGN") == ("impact",)
    assert own.tags_of("my_tool", "Alarm 17") == ("lateral_movement", "exploit", "my_worm")
    assert own.fingerprint != built_in.fingerprint


def test_the_fingerprint_changes_with_order_and_parents_only(tmp_path: Path) -> None:
    """Severity does not change what a detector answers; names, their order and what they imply do."""
    texts = {
        "severity": "tags: {port_scan: {severity: 4}}",
        "parents": "tags: {port_scan: {parents: [impact]}}",
        "one": "tags: {a: {description: x, kind: tactic}, b: {description: x, kind: tactic}}",
        "other": "tags: {b: {description: x, kind: tactic}, a: {description: x, kind: tactic}}",
    }
    made = {"built in": read_vocabulary()}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
        made[name] = read_vocabulary(tmp_path / name)
    assert made["severity"].fingerprint == made["built in"].fingerprint
    assert made["severity"].whole_fingerprint != made["built in"].whole_fingerprint
    assert len({vocabulary.fingerprint for vocabulary in made.values()}) == 4


def test_parents_are_implied_to_the_last() -> None:
    """A technique brings its technique and its tactic, in the vocabulary's order."""
    assert read_vocabulary().implied(["slow_http", "port_scan"]) == (
        "reconnaissance", "impact", "port_scan", "dos", "slow_http",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("word", "tags"),
    [
        ("BENIGN", ()),
        ("Normal", ()),
        ("", ()),
        ("0", ()),
        ("DoS Slowloris", ("impact", "dos", "slow_http")),
        ("DoS Slowloris - Attempted", ("impact", "dos", "slow_http", "attempted")),
        ("Web Attack \x96 Sql Injection", ("initial_access", "web_attack")),
        ("Infiltration - Portscan", ("reconnaissance", "lateral_movement", "port_scan")),
        (" Fuzzers", ("reconnaissance", "service_probe")),
        ("Worms", ("lateral_movement", "exploit")),
        ("-   Malicious   PartOfAHorizontalPortScan", ("reconnaissance", "host_sweep")),
        ("(empty)   Malicious   C&C-HeartBeat-FileDownload", ("command_and_control", "beacon", "malware_transfer")),
        ("(empty)   Benign   -", ()),
        ("(empty)   Malicious   -", ("unspecified",)),
        ("flow=From-Botnet-V42-TCP-CC73-Not-Encrypted", ("command_and_control",)),
        ("flow=From-Normal-V42-Jist", ()),
        ("flow=Background-UDP-Established", ()),
        ("DDOS attack-LOIC-UDP", ("impact", "dos", "udp_flood")),
        ("Botnet Ares", ("command_and_control",)),
        ("DDoS-LOIC-UDP", ("impact", "dos", "udp_flood")),
        ("DrDoS_LDAP", ("impact", "dos", "udp_flood")),
        ("Syn", ("impact", "dos", "syn_flood")),
        ("Credential Access", ("credential_access",)),
        ("Flood of Frogs", None),
    ],
)
def test_label_columns_words(word: str, tags: tuple[str, ...] | None) -> None:
    """Words of the public record sets as they are written there become tags; an unknown one is no silent benign."""
    assert read_vocabulary().label_tags(word) == tags


def test_every_word_of_the_built_in_vocabulary_can_be_found() -> None:
    """No word is written in a way in which no text could match it."""
    vocabulary = read_vocabulary()
    for source, words in vocabulary.words.items():
        for word in words:
            assert vocabulary.tags_of(source, word.replace("*", "x")) is not None, (source, word)
