"""Context columns against a quadratic oracle, whatever the batches."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.context import END, NEIGHBOUR, ContextWindow, Ready, context_columns
from features.schema import COLUMNS

SECOND = 1_000_000_000


def some_flows(seed: int, count: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    flows = np.zeros(count, NEIGHBOUR)
    flows["end_ns"] = np.sort(rng.integers(0, 400 * SECOND, count))
    flows["start_ns"] = flows["end_ns"] - rng.integers(0, 20 * SECOND, count)
    for name, kinds in (("src", 4), ("dst", 5), ("service", 3)):
        flows[name] = rng.integers(1, kinds + 1, count).astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    flows["bytes"] = rng.integers(0, 10_000, count)
    flows["request"], flows["response"] = rng.integers(0, 4, (2, count))
    flows["failed"] = rng.integers(0, 2, count)
    return flows


def near(flows: np.ndarray, row: np.void, seconds: int, *keys: str) -> np.ndarray:
    """The flows that share the keys and ended within so many seconds, by comparing with every flow."""
    close = np.abs(flows["end_ns"] - row["end_ns"]) <= seconds * SECOND
    for key in keys:
        close &= flows[key] == row[key]
    return flows[close]


def test_counts_and_shares_equal_a_comparison_with_every_flow() -> None:
    """Each count, share, size and distinct number is what a loop over all flows finds."""
    flows = some_flows(1, 300)
    columns = context_columns(flows)
    for index, row in enumerate(flows):
        source, short = near(flows, row, 60, "src"), near(flows, row, 5, "src")
        same = near(flows, row, 60, "src", "dst", "service")
        sizes = np.log1p(source["bytes"].astype(float))
        expected = {
            "src_flows_60s": len(source),
            "src_flows_5s": len(short),
            "src_failed_share_5s": short["failed"].mean(),
            "src_log_bytes_mean_60s": sizes.mean(),
            "src_log_bytes_std_60s": sizes.std(),
            "src_hosts_60s": len(set(source["dst"].tolist())),
            "src_endpoints_60s": len(set(source[["dst", "service"]].tolist())),
            "endpoint_hosts_per_flow_60s": len(set(near(flows, row, 60, "dst", "service")["src"].tolist()))
            / len(near(flows, row, 60, "dst", "service")),
            "endpoint_flows_60s": len(near(flows, row, 60, "dst", "service")),
            "pair_services_60s": len(set(near(flows, row, 60, "src", "dst")["service"].tolist())),
            "same_request_sizes_per_flow_60s": len(set(same["request"].tolist())) / len(same),
            "src_response_sizes_per_flow_60s": len(set(source["response"].tolist())) / len(source),
            "same_share_of_src_60s": len(same) / len(source),
        }
        assert {name: columns[name][index] for name in expected} == pytest.approx(expected, abs=2e-5)


def test_regularity_of_a_beacon() -> None:
    """A call every ten seconds has a mean gap of ten seconds and no variation; one call alone has neither."""
    flows = np.zeros(8, NEIGHBOUR)
    flows["start_ns"] = flows["end_ns"] = np.arange(8) * 10 * SECOND
    flows["src"] = 1
    columns = context_columns(flows)
    assert columns["same_gap_mean_s_60s"] == pytest.approx([10.0] * 8)
    assert columns["same_gap_variation_60s"] == pytest.approx([0.0] * 8)
    assert np.isnan(context_columns(flows[:1])["same_gap_mean_s_60s"]).all()


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32), st.integers(1, 120), st.lists(st.integers(1, 40), min_size=1, max_size=6))
def test_batches_do_not_matter(seed: int, count: int, sizes: list[int]) -> None:
    """Any cut into batches, each in any order, gives the rows and values of one batch."""
    flows = some_flows(seed, count)
    window = ContextWindow(NEIGHBOUR)
    rng = np.random.default_rng(seed)
    parts, at = [], 0
    while at < count:
        batch = rng.permutation(flows[at : at + sizes[at % len(sizes)]])
        at += len(batch)
        watermark = int(flows["end_ns"][at]) if at < count else int(flows["end_ns"][-1])
        parts += window.push(batch, batch, watermark)
    parts += window.finish()
    ends = np.concatenate([part.flows["end_ns"] for part in parts])
    assert ends.tolist() == flows["end_ns"].tolist()
    expected = context_columns(flows)
    for name in ("src_flows_60s", "endpoint_hosts_60s", "same_log_bytes_std_60s"):
        got = np.concatenate([part.columns.get(name, np.empty(0)) for part in parts])
        np.testing.assert_allclose(got, expected[name], rtol=1e-6, atol=1e-6)


def test_memory_is_bounded() -> None:
    """More waiting flows than allowed are released early, all of them, and counted."""
    flows = np.zeros(1000, NEIGHBOUR)
    window = ContextWindow(NEIGHBOUR, most_waiting=100)
    released = 0
    for at in range(0, 1000, 50):
        released += sum(len(ready.flows) for ready in window.push(flows[at : at + 50], flows[at : at + 50], 0))
        assert at + 50 - released <= 100
    assert window.cut_short == released
    assert len(window._past) <= 100
    assert released + sum(len(ready.flows) for ready in window.finish()) == 1000


def test_flows_that_miss_neighbours_are_counted() -> None:
    """One flow a second, thirty remembered: every flow but the first ones misses some of the sixty before it."""
    flows = np.zeros(200, NEIGHBOUR)
    flows["end_ns"] = np.arange(200) * SECOND
    window = ContextWindow(NEIGHBOUR, most_waiting=30)
    parts: list[Ready] = []
    for at in range(0, 200, 10):
        parts += window.push(flows[at : at + 10], flows[at : at + 10], int(flows["end_ns"][at]))
    parts += window.finish()
    seen = np.concatenate([part.columns["src_flows_60s"] for part in parts])
    missing = seen < context_columns(flows)["src_flows_60s"]
    assert window.cut_short == missing.sum()


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32), st.integers(5, 60), st.integers(5, 60))
def test_late_flows_among_more_than_may_wait(seed: int, most_waiting: int, batch: int) -> None:
    """More flows than may wait, many of them behind flows that ended a minute later: the context is a true one.

    Each comes out once. A late one counts as if it ended with the flow it follows: against all flows at those times
    none sees a neighbour too many, and those that see one too few, and the late ones, are counted.
    """
    rng = np.random.default_rng(seed)
    flows = some_flows(seed, 300)
    arrival = flows["end_ns"] + rng.integers(0, 62 * SECOND, len(flows))  # silent ones leave the meter a minute late
    flows = flows[np.argsort(arrival)]
    flows["bytes"] = np.arange(len(flows))  # tells them apart
    window = ContextWindow(NEIGHBOUR, most_waiting)
    parts: list[Ready] = []
    for at in range(0, len(flows), batch):
        later = flows["end_ns"][at + batch :]
        parts += window.push(*[flows[at : at + batch]] * 2, int(later.min(initial=1000 * SECOND)))
    parts += window.finish()
    out = np.concatenate([part.flows for part in parts])
    assert sorted(out["bytes"].tolist()) == list(range(len(flows)))
    moved = out.copy()
    moved["end_ns"] = np.maximum.accumulate(out["end_ns"])
    lacking = moved["end_ns"] > out["end_ns"]
    for name, *keys in (
        ("src_flows_60s", "src"),
        ("endpoint_flows_60s", "dst", "service"),
        ("pair_flows_60s", "src", "dst"),
    ):
        seen = np.concatenate([part.columns[name] for part in parts])
        true = np.array([len(near(moved, row, 60, *keys)) for row in moved])
        assert (seen <= true).all()
        lacking |= seen < true
    assert window.cut_short >= lacking.sum()


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32), st.integers(1, 120), st.integers(1, 40))
def test_without_context_flows_come_by_end_and_alone(seed: int, count: int, batch: int) -> None:
    """Where no context is asked for, flows wait only for those that ended before them, and come with no columns."""
    flows = some_flows(seed, count)
    pushed = flows[np.argsort(flows["end_ns"] + np.random.default_rng(seed).integers(0, 60 * SECOND, count))]
    window = ContextWindow(NEIGHBOUR, context=False)
    parts: list[Ready] = []
    for at in range(0, count, batch):
        rows, later = pushed[at : at + batch], pushed["end_ns"][at + batch :]
        parts += window.push(rows, rows["end_ns"].astype(END), int(later.min(initial=1000 * SECOND)))
        held = np.count_nonzero(pushed["end_ns"][: at + batch] >= later.min(initial=1000 * SECOND))
        assert window.waiting <= 2 * held
    parts += window.finish()
    assert np.concatenate([part.flows for part in parts])["end_ns"].tolist() == flows["end_ns"].tolist()
    assert not any(part.columns for part in parts)
    assert window.cut_short == 0


def test_every_context_column_is_in_the_schema() -> None:
    """The columns computed are the columns declared."""
    declared = {column.name for column in COLUMNS if column.group == "context"}
    assert set(context_columns(some_flows(0, 3))) == declared
