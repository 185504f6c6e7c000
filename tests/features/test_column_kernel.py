"""The column kernel against the definitions written out in 64-bit NumPy, and records against the meter's rows."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import given, settings
from hypothesis import strategies as st

from features.column_kernel import FLOW_NAMES, SAID_NAMES, TOTAL_NAMES, mark_known
from features.columns import Columns, flow_columns, has_ports, nullable, said_columns
from features.kernel_types import NEVER
from features.metering.flow_record import FLOW, TCP_FLAGS
from features.metering.flow_table import AT_FIRST
from features.service import SERVICES

Numbers = npt.NDArray[Any]
SECOND = 1_000_000_000


def some_flows(seed: int, count: int = 50) -> Numbers:
    """Flows of every protocol, some of one side or of one packet, their fields within what the meter can leave."""
    rng = np.random.default_rng(seed)
    flows = np.zeros(count, FLOW)
    for name, value in AT_FIRST.items():
        flows[name] = value
    for name, (kind, *_) in FLOW.fields.items():  # type: ignore[union-attr]
        shape, most = (count, *kind.shape), 3 if name == "packets" else 2000
        flows[name] = np.where(rng.random(shape) < 0.7, rng.integers(0, min(most, 120), shape), flows[name])
    flows["packets"][:, 0] += 1
    flows["protocol"] = rng.choice([6, 17, 1, 58, 132, 47], count)
    flows["icmp_type"] = rng.choice([0, 3, 8, 128, 129], count)
    flows["dst_port"] = rng.choice([22, 80, 443, 700, 5353, 30_000, 60_000], count)
    flows["established"] = rng.integers(0, 2, count)
    start = 1_700_000_000 * SECOND + rng.integers(0, SECOND, count)
    for name in ("first_ns", "last_ns", "active_start_ns"):
        flows[name] = start + (0 if name == "first_ns" else rng.integers(0, 9 * SECOND, count))
    for name in ("syn_ns", "syn_ack_ns", "handshake_ns"):
        flows[name] = np.where(rng.random(count) < 0.5, NEVER, start + rng.integers(0, SECOND, count))
    flows["gap_sq"], flows["length_sq"] = rng.random((count, 3)) * 1e18, rng.random((count, 2)) * 1e4
    return flows


def ratio(top: Numbers, bottom: Numbers) -> Numbers:
    return np.divide(top, bottom, out=np.full(len(top), np.nan), where=bottom > 0)


def deviation(squares: Numbers, count: Numbers, mean: Numbers) -> Numbers:
    return np.sqrt(np.maximum(ratio(squares, count) - mean**2, 0))


def only(values: Numbers, known: Numbers) -> Numbers:
    return np.where(known, values, np.nan)


def oracle(flows: Numbers) -> Iterator[tuple[str, Numbers]]:
    """Every column as the schema defines it, whole columns at a time."""
    wide: dict[str, Numbers] = {
        name: flows[name].astype(np.float64 if flows[name].dtype.kind == "f" else np.int64) for name in FLOW.names or ()
    }
    protocol, packets, both = wide["protocol"], wide["packets"], wide["packets"].sum(axis=1)
    tcp, size = protocol == 6, wide["bytes"].sum(axis=1)
    span = wide["last_ns"] - wide["first_ns"]
    yield from (("is_tcp", tcp), ("is_udp", protocol == 17), ("is_icmp", np.isin(protocol, (1, 58))))
    yield (
        "is_icmp_echo",
        ((protocol == 1) & np.isin(wide["icmp_type"], (0, 8)))
        | ((protocol == 58) & np.isin(wide["icmp_type"], (128, 129))),
    )
    known_ports = {port: name for name, (_, ports) in SERVICES.items() for port in ports}
    rest = {700: "other_known", 30_000: "registered", 60_000: "ephemeral"}
    names = np.array([known_ports.get(port) or rest[port] for port in wide["dst_port"].tolist()])
    yield from ((f"service_{name}", has_ports(flows) & (names == name)) for name in SERVICES)
    yield from (("bwd_packet_share", ratio(packets[:, 1], both)), ("bwd_byte_share", ratio(wide["bytes"][:, 1], size)))
    yield "payload_share", ratio(wide["payload_bytes"].sum(axis=1), size)
    yield "data_packet_share", ratio(wide["data_packets"].sum(axis=1), both)
    yield from (("duration_s", span * 1e-9), ("packets_per_s", ratio(both, span * 1e-9)))
    yield from (("bytes_per_s", ratio(size, span * 1e-9)), ("length_mean", ratio(size, both)))
    yield "length_std", deviation(wide["length_sq"].sum(axis=1), both, ratio(size, both))
    for side, prefix in enumerate(("fwd", "bwd")):
        yield from ((f"{prefix}_{name}", values) for name, values in of_side(wide, side, tcp, span))
    sums = [*(wide["dir_last_ns"] - wide["dir_first_ns"]).T, span]
    for which, prefix in enumerate(("fwd_", "bwd_", "")):
        count = (packets[:, which] if which < 2 else both) - 1
        mean = ratio(sums[which], count)
        std = deviation(wide["gap_sq"][:, which], count, mean)
        yield from ((f"{prefix}gap_mean_s", mean * 1e-9), (f"{prefix}gap_std_s", std * 1e-9))
        yield f"{prefix}gap_variation", ratio(std, mean)
        for part in ("min", "max"):
            yield f"{prefix}gap_{part}_s", only(wide[f"gap_{part}_s"][:, which], count > 0)
    yield from of_outcome(wide, tcp)
    pauses, idle = wide["active_count"], wide["idle_sum"]
    yield from (("active_runs", pauses + 1), ("active_mean_s", (span - idle) / (pauses + 1) * 1e-9))
    yield "active_max_s", np.maximum(wide["active_max_s"], (wide["last_ns"] - wide["active_start_ns"]) * 1e-9)
    yield from (("idle_mean_s", ratio(idle, pauses) * 1e-9), ("idle_max_s", only(wide["gap_max_s"][:, 2], pauses > 0)))
    for index in range(16):
        backward = wide["first_backward"] >> index & 1 == 1
        signed = np.where(backward, -1, 1) * wide["first_payload"][:, index]
        yield f"first_payload_{index + 1:02}", only(signed, both > index)
        if index:
            yield f"first_gap_{index + 1:02}_s", only(wide["first_gap_s"][:, index], both > index)


def of_side(wide: dict[str, Numbers], side: int, tcp: Numbers, span: Numbers) -> Iterator[tuple[str, Numbers]]:
    field = {name: values[:, side] for name, values in wide.items() if values.ndim > 1 and values.shape[1] > side}
    packets = field["packets"]
    for name in ("packets", "bytes", "payload_bytes", "data_packets", "fragments", "out_of_order"):
        yield name, field[name].astype(np.float64)
    for name in ("packets", "bytes"):
        yield f"{name}_per_s", ratio(field[name], span * 1e-9)
    for name, total in (("length", "bytes"), ("payload", "payload_bytes")):
        yield f"{name}_mean", ratio(field[total], packets)
        yield f"{name}_std", deviation(field[f"{name}_sq"], packets, ratio(field[total], packets))
    for name in ("length_min", "length_max", "payload_max"):
        yield name, only(field[name], packets > 0)
    yield "first_payload_delay_s", only(field["first_payload_s"], np.isfinite(field["first_payload_s"]))
    yield "ttl_spread", only(field["ttl_max"] - field["ttl_min"], packets > 0)
    for bit, flag in enumerate(TCP_FLAGS):
        yield f"{flag}_packets", only(field["flags"][:, bit], tcp)
    for name in ("window_first", "window_min", "window_max"):
        yield name, only(field[name], tcp & (packets > 0))
    for name in ("zero_windows", "retransmissions"):
        yield name, only(field[name], tcp)


def of_outcome(wide: dict[str, Numbers], tcp: Numbers) -> Iterator[tuple[str, Numbers]]:
    times = [wide[name] for name in ("syn_ns", "syn_ack_ns", "handshake_ns")]
    syn, syn_ack, handshake = (time != NEVER for time in times)
    resets = wide["flags"][:, :, TCP_FLAGS.index("rst")] > 0
    yield "tcp_established", only(wide["established"] == 1, tcp)
    yield "tcp_unanswered", only(syn & (wide["packets"][:, 1] == 0), tcp)
    yield "tcp_refused", only(syn & ~syn_ack & resets[:, 1], tcp)
    yield "tcp_half_open", only(syn_ack & ~handshake, tcp)
    yield "tcp_mid_flow", only(~syn & ~syn_ack, tcp)
    yield from (("tcp_fwd_reset", only(resets[:, 0], tcp)), ("tcp_bwd_reset", only(resets[:, 1], tcp)))
    yield "syn_ack_delay_s", only((times[1] - times[0]) * 1e-9, syn & syn_ack)
    yield "handshake_ack_delay_s", only((times[2] - times[1]) * 1e-9, syn_ack & handshake)


def said_of(flows: Numbers, columns: Columns) -> dict[str, Numbers]:
    """What a record that leaves nothing out says of the meter's flows."""
    seen = {name: flows[f"{name.removesuffix('_seen')}_ns"] != NEVER for name in SAID_NAMES if name.startswith("syn")}
    resets = flows["flags"][:, :, TCP_FLAGS.index("rst")]
    told = {
        **{name: flows[name] for name in ("protocol", "dst_port", "icmp_type")},
        **seen,
        "handshake_seen": flows["handshake_ns"] != NEVER,
        **{f"{side}_rst_packets": resets[:, at] for at, side in enumerate(("fwd", "bwd"))},
        **{name: columns[name] for name in SAID_NAMES if name in columns and "rst" not in name},
    }
    return {name: np.asarray(values, np.float64) for name, values in told.items()}


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32))
def test_columns_of_the_meter_are_those_of_the_definitions(seed: int) -> None:
    """Every column of random flows, NaN included, is what the definition gives in 64 bits, rounded to 32."""
    flows = some_flows(seed)
    expected, found = dict(oracle(flows)), flow_columns(flows)
    assert set(expected) == set(found) == set(FLOW_NAMES)
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], np.asarray(values, np.float32), name)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32))
def test_a_record_that_says_all_gives_the_same_columns(seed: int) -> None:
    """Totals handed over as numbers give the columns of the meter's row, but for what the meter alone can tell."""
    flows = some_flows(seed)
    flows["established"] = (flows["syn_ns"] != NEVER) & (flows["handshake_ns"] != NEVER)
    expected = flow_columns(flows)
    found = said_columns(said_of(flows, expected), len(flows))
    assert set(found) == set(TOTAL_NAMES)
    for name, values in found.items():
        np.testing.assert_allclose(
            values, expected[name], rtol=2e-3 if "gap" in name else 1e-5, atol=1e-6, err_msg=name
        )


@settings(deadline=None, max_examples=50)
@given(st.sampled_from(SAID_NAMES), st.integers(0, 2**32))
def test_what_a_record_leaves_out_changes_no_value_that_is_left(left_out: str, seed: int) -> None:
    """Without one of its numbers a record gives fewer columns, and the same values in the others."""
    flows = some_flows(seed)
    told = said_of(flows, flow_columns(flows))
    whole = said_columns(told, len(flows))
    less = said_columns({name: values for name, values in told.items() if name != left_out}, len(flows))
    gaps = {f"{side}gap_{part}" for side in ("fwd_", "bwd_", "") for part in ("std_s", "variation")}
    for name in set(TOTAL_NAMES) - gaps:
        known = ~np.isnan(less[name])
        np.testing.assert_array_equal(less[name][known], whole[name][known], name)


@settings(deadline=None)
@given(st.lists(st.sampled_from([0.0, 1.5, float("nan"), float("inf")]), max_size=40))
def test_nulls_are_where_no_value_is(values: list[float]) -> None:
    """A column is null at each NaN and nowhere else, whatever its length, and counts its nulls."""
    column = nullable(np.array(values))
    assert column.to_pylist() == [None if np.isnan(value) else value for value in values]
    assert column.null_count == sum(map(np.isnan, values))
    column.validate(full=True)


def test_marks_are_not_needed_where_all_or_nothing_is_known() -> None:
    """The kernel leaves the marks alone for a column of values, or of none."""
    marks = np.full(1, 0xAA, np.uint8)
    assert mark_known(np.zeros(8, np.float32), marks) == 0
    assert mark_known(np.full(8, np.nan, np.float32), marks) == 8
    assert marks[0] == 0xAA
