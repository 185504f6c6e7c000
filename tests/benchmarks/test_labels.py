"""The benchmark of labelling: flows and rules as it makes them, and what it counts against a naive count."""

import ipaddress

import pytest

from benchmarks.labels import BATCH, main, measure, random_flows, random_rules
from features.labels.vocabulary import read_vocabulary


def test_flows_that_match_are_those_of_a_naive_count() -> None:
    """Rule by rule and flow by flow, either end being the rule's host."""
    batches = list(random_flows(20_000))
    rules = random_rules(3_000, read_vocabulary())
    assert [batch.num_rows for batch in batches] == [1, 20_000]
    by_host: dict[str, list] = {}
    for rule in rules:
        by_host.setdefault(str(rule.src_ip[0].network_address), []).append(rule)
    attack = 0
    for batch in batches:
        columns = [batch.column(name).cast("int64").to_pylist() for name in ("start", "end", "src_port", "dst_port")]
        ends = [batch.column(name).to_pylist() for name in ("src_ip", "dst_ip")]
        for start, end, src_port, dst_port, src, dst in zip(*columns, *ends, strict=True):
            attack += any(
                rule.start_ns <= end and start <= rule.end_ns and (not rule.dst_port or rule.dst_port[0][0] == port)
                for host, port in ((src, dst_port), (dst, src_port))
                for rule in by_host.get(host, ())
            )
    measured = measure(batches, 3_000)
    assert measured.attack == attack > 0
    assert measured.flows_per_cpu_s > 0
    assert {ipaddress.ip_address(host) in ipaddress.ip_network("10.0.0.0/16") for host in by_host} == {True}


def test_the_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A line for each number of rules; flows come in batches."""
    monkeypatch.setattr("sys.argv", ["labels.py", "--flows", "1000", "--rules", "10", "20"])
    assert main() == 0
    assert [line[:5] for line in capsys.readouterr().out.splitlines()[2:]] == ["| 10 ", "| 20 "]
    assert [batch.num_rows for batch in random_flows(BATCH + 5)] == [1, BATCH, 5]
