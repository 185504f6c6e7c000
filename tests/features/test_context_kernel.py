"""The context kernel's tables: they grow with the flows that are in the windows, and with nothing else."""

import numpy as np

from features.context_kernel import (
    CONTEXT_NAMES,
    FIRST_SLOTS,
    NEIGHBOUR,
    PLACE,
    Windows,
    describe_flows,
    let_out,
    new_windows,
    with_room,
)

SECOND = 1_000_000_000


def described(flows: np.ndarray) -> tuple[dict[str, np.ndarray], Windows]:
    """Return the columns of all flows, and the windows once every flow has left them."""
    windows, places = new_windows(), np.zeros(len(flows), PLACE)
    out = np.empty((len(CONTEXT_NAMES), len(flows)), np.float32)
    at = 0
    while (at := describe_flows(windows, flows, places, (at, len(flows), at), out)) < len(flows):
        windows = with_room(windows)
    let_out(windows, flows, places, len(flows))
    return dict(zip(CONTEXT_NAMES, out, strict=True)), windows


def strangers(count: int, gap_ns: int) -> np.ndarray:
    """Flows of as many sources to one endpoint, one after the other."""
    flows = np.zeros(count, NEIGHBOUR)
    flows["end_ns"] = np.arange(count) * gap_ns
    flows["src"] = np.arange(count)
    return flows


def test_groups_that_are_gone_leave_their_room_to_others() -> None:
    """A flow a second of 30,000 sources: 121 at a time are in the windows, the tables stay small."""
    columns, windows = described(strangers(30_000, SECOND))
    assert (columns["src_flows_60s"] == 1).all()
    assert (columns["endpoint_hosts_60s"][60:-60] == 121).all()
    assert len(windows.group_slots) == len(windows.partner_slots) == FIRST_SLOTS


def test_tables_grow_with_the_flows_in_the_windows() -> None:
    """20,000 sources at one instant are all seen by each other."""
    columns, windows = described(strangers(20_000, 0))
    assert (columns["endpoint_hosts_60s"] == 20_000).all()
    assert (columns["endpoint_flows_5s"] == 20_000).all()
    assert len(windows.groups) >= 3 * 20_000


def test_what_enters_leaves_nothing_behind() -> None:
    """Once every flow has left, all sums are 0: none drifts however long the capture is."""
    random = np.random.default_rng(4)
    flows = strangers(5000, SECOND // 10)
    flows["src"] = random.integers(0, 20, 5000)
    flows["bytes"], flows["request"] = random.integers(0, 10_000, (2, 5000))
    flows["start_ns"] = flows["end_ns"] - random.integers(0, 100 * SECOND, 5000)
    _, windows = described(flows)
    sums = set(windows.groups.dtype.names or ()) - {"key", "latest", "next"}
    assert not any(windows.groups[name].any() for name in sums)
    assert not windows.partners["flows"].any()
