"""Which rule matches which flow, beside an oracle that compares every rule with every flow."""

import ipaddress
from typing import Any

import numpy as np
import pytest

from features.errors import LabelError
from features.labels import matching
from features.labels.matching import RuleIndex
from features.labels.rules import FOREVER, Rule
from tests.features.labels.labelled_flows import flows

SECOND = 10**9


def holds(networks: tuple[Any, ...], address: str | None) -> bool:
    if not networks:
        return True
    if address is None:
        return False
    plain = ipaddress.ip_address(address)
    return any(plain.version == network.version and plain in network for network in networks)


def within(ranges: tuple[tuple[int, int], ...], port: int | None) -> bool:
    return not ranges or (port is not None and any(low <= port <= high for low, high in ranges))


def fits_but_for_time(rule: Rule, flow: dict[str, Any]) -> bool:
    """Return whether a rule matches a flow at some time, read off its definition."""
    if rule.protocol is not None and rule.protocol != flow["protocol"]:
        return False
    if rule.key and flow[rule.key[0]] != rule.key[1]:
        return False
    ways = [("src", "dst"), ("dst", "src")] if rule.both_ways else [("src", "dst")]
    return any(
        holds(rule.src_ip, flow[f"{one}_ip"])
        and within(rule.src_port, flow[f"{one}_port"])
        and holds(rule.dst_ip, flow[f"{other}_ip"])
        and within(rule.dst_port, flow[f"{other}_port"])
        for one, other in ways
    )


def overlaps(rule: Rule, flow: dict[str, Any], near_ns: int) -> bool:
    if flow["start"] is None:
        return rule.start_ns == FOREVER[0] and rule.end_ns == FOREVER[1]
    return flow["start"] <= rule.end_ns + near_ns and flow["end"] >= rule.start_ns - near_ns


def random_rules(rng: np.random.Generator, count: int) -> list[Rule]:
    def networks() -> tuple[Any, ...]:
        texts = [
            f"10.0.{rng.integers(3)}.{rng.integers(4)}/{rng.choice([22, 24, 31, 32])}" for _ in range(rng.integers(3))
        ]
        return tuple(
            ipaddress.ip_network(text, strict=False) for text in [*texts, *(["2001:db8::/64"] * (len(texts) > 1))]
        )

    def ports() -> tuple[tuple[int, int], ...]:
        return tuple((int(low), int(low + rng.choice([0, 0, 3]))) for low in rng.integers(1, 6, rng.integers(3)))

    def times() -> dict[str, int]:
        start = int(rng.integers(0, 60)) * SECOND
        return {"start_ns": start, "end_ns": start + int(rng.integers(0, 9)) * SECOND} if rng.random() < 0.8 else {}

    return [
        Rule(
            f"rule {line}", ("impact",), line, protocol=rng.choice([None, 6, 17]), src_ip=networks(), src_port=ports(),
            dst_ip=networks(), dst_port=ports(), both_ways=bool(rng.random() < 0.7),
            key=("community_id", f"1:{rng.integers(3)}") if rng.random() < 0.2 else None, **times(),
        )
        for line in range(1, count + 1)
    ]  # fmt: skip


def random_flows(rng: np.random.Generator, count: int) -> list[dict[str, Any]]:
    rows = []
    for _ in range(count):
        start = int(rng.integers(0, 70)) * SECOND
        row: dict[str, Any] = {
            "src_ip": f"10.0.{rng.integers(3)}.{rng.integers(4)}", "src_port": int(rng.integers(1, 9)),
            "dst_ip": f"10.0.{rng.integers(3)}.{rng.integers(4)}", "dst_port": int(rng.integers(1, 9)),
            "protocol": int(rng.choice([6, 17])),
            "start": start, "end": start + int(rng.integers(0, 5)) * SECOND, "community_id": f"1:{rng.integers(4)}",
        }  # fmt: skip
        if rng.random() < 0.1:
            row |= {"dst_ip": "2001:db8::1", "src_port": None}
        if rng.random() < 0.05:
            row |= {"src_ip": None, "start": None, "end": None}
        rows.append(row)
    return rows


@pytest.mark.parametrize("at_once", [1, 50, 1 << 21])
def test_the_index_finds_what_comparing_everything_finds(monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    """For random rules of every shape and random flows, all pairs and no others are found, near ones apart."""
    monkeypatch.setattr(matching, "AT_ONCE", at_once)
    rng = np.random.default_rng(at_once)
    rules, rows = random_rules(rng, 150), random_flows(rng, 200)
    found = RuleIndex(rules, near_s=2.0).match(flows(*rows))
    fitting = {
        (at, number)
        for at, row in enumerate(rows)
        for number, rule in enumerate(rules)
        if fits_but_for_time(rule, row) and overlaps(rule, row, 2 * SECOND)
    }
    exact = {(at, number) for at, number in fitting if overlaps(rules[number], rows[at], 0)}
    assert len(exact) > 500
    assert len(fitting - exact) > 50
    assert list(zip(found.flows.tolist(), found.rules.tolist(), strict=True)) == sorted(exact)
    assert list(zip(found.near_flows.tolist(), found.near_rules.tolist(), strict=True)) == sorted(fitting - exact)


def test_lists_that_multiply_beyond_measure_are_refused() -> None:
    """A rule of thousands of addresses on both sides is refused instead of filling the memory."""
    many = tuple(ipaddress.ip_network(f"10.0.{at // 256}.{at % 256}/32") for at in range(400))
    with pytest.raises(LabelError, match="400 times 400"):
        RuleIndex([Rule("wide", ("impact",), 7, src_ip=many, dst_ip=many)])
