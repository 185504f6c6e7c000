"""CICFlowMeter, version 4: its 84 columns, in microseconds.

Names and order are those of the tool's FlowFeature.java. Values follow the definitions of that file, without its known
faults: every packet is counted, directions and flags are counted aright, UDP's header has 8 bytes, times are UTC with
microseconds. Packet lengths are of payload. NaN stands for what our table does not keep: bulks, header sizes, activity
by the limit of 5 s, and the least payload where every packet has some and not all have as much.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.dialects.dialect import (
    NS_PER_US,
    US_PER_S,
    Dialect,
    Field,
    Floats,
    Rows,
    always,
    both,
    column,
    of_sample,
    real,
    same,
    whole,
    zero_without,
)

SIDES = {"fwd": "Fwd", "bwd": "Bwd"}
IP_HEADER = {4: 20.0, 6: 40.0}
NO_WINDOW = -1.0
GAPS = {"": "Flow", "fwd_": "Fwd", "bwd_": "Bwd"}


def _packets(rows: Rows) -> tuple[Floats, Floats]:
    return rows["fwd_packets"], rows["bwd_packets"]


def _flow_id(rows: Rows) -> pa.Array:
    ends = [rows.array(name).cast(pa.string()) for name in ("src_ip", "dst_ip")]
    ports = [_port(rows, name).cast(pa.string()) for name in ("src_port", "dst_port")]
    return pc.binary_join_element_wise(*ends, *ports, rows.array("protocol").cast(pa.string()), "-")


def _port(rows: Rows, name: str) -> pa.Array:
    """Return a port, 0 for protocols without."""
    portless = rows["protocol"], np.isin(rows["protocol"], (6, 17, 132))
    return whole(np.where(np.isnan(portless[0]) | portless[1], rows[name], 0.0))


def _timestamp(rows: Rows) -> pa.Array:
    micros = rows.array("start").cast(pa.timestamp("us", "UTC"), safe=False)
    return micros.cast(pa.timestamp("us")).cast(pa.string())


def _payload(rows: Rows, side: str, statistic: str) -> pa.Array:
    packets = rows[f"{side}_packets"]
    if statistic == "min":
        return real(_least_payload(rows, side))
    values = rows[f"{side}_payload_{statistic}"]
    return real(zero_without(of_sample(values, packets) if statistic == "std" else values, packets))


def _least_payload(rows: Rows, side: str) -> Floats:
    """Return 0 where some packet carries nothing, the largest where all carry as much, NaN elsewhere."""
    packets = rows[f"{side}_packets"]
    alike = np.where(rows[f"{side}_payload_std"] == 0, rows[f"{side}_payload_max"], np.nan)
    return np.where((packets == 0) | (rows[f"{side}_data_packets"] < packets), 0.0, alike)


def _both_payloads(rows: Rows, statistic: str) -> pa.Array:
    packets = _packets(rows)
    if statistic == "max":
        return real(
            np.fmax(*(zero_without(rows[f"{side}_payload_max"], n) for side, n in zip(SIDES, packets, strict=True)))
        )
    if statistic == "min":
        least = [np.where(n > 0, _least_payload(rows, side), np.inf) for side, n in zip(SIDES, packets, strict=True)]
        return real(np.where(rows.total("data_packets") < packets[0] + packets[1], 0.0, np.minimum(*least)))
    mean, deviation = both(rows, "payload", packets)
    if statistic == "mean":
        return real(mean)
    sample = of_sample(deviation, packets[0] + packets[1])
    return real(sample if statistic == "std" else sample * sample)


def _gap(rows: Rows, prefix: str, statistic: str) -> pa.Array:
    packets = rows.total("packets") if not prefix else rows[f"{prefix}packets"]
    name = f"{prefix}gap_{'mean' if statistic == 'total' else statistic}_s"
    values = rows[name] * US_PER_S
    if statistic == "total":
        values = values * (packets - 1)
    if statistic == "std":
        values = of_sample(values, packets - 1)
    return real(zero_without(values, packets - 1))


def _flag(rows: Rows, sides: tuple[str, ...], flag: str) -> pa.Array:
    counts = sum((rows[f"{side}_{flag}_packets"] for side in sides), np.zeros(rows.count))
    return whole(np.where(rows["protocol"] == 6, counts, np.where(np.isnan(rows["protocol"]), np.nan, 0.0)))


def _headers(rows: Rows, side: str) -> pa.Array:
    """Return the bytes of transport headers: those that are neither payload nor an IP header without options."""
    is_ipv6 = pc.match_substring(rows.array("src_ip"), ":").to_numpy(zero_copy_only=False)
    network = np.where(is_ipv6 == True, IP_HEADER[6], IP_HEADER[4]) * rows[f"{side}_packets"]  # noqa: E712 (may be null)
    size = rows[f"{side}_bytes"] - rows[f"{side}_payload_bytes"] - network
    return whole(np.where(rows.array("src_ip").is_valid().to_numpy(zero_copy_only=False), size, np.nan))


def _rate(rows: Rows, amount: Floats) -> pa.Array:
    seconds = rows.duration_ns().cast(pa.float64()).to_numpy(zero_copy_only=False) / 1e9
    return real(amount / np.where(seconds > 0, seconds, np.nan))


def _per(amount: Floats, count: Floats) -> pa.Array:
    return real(amount / np.where(count > 0, count, np.nan))


def _window(rows: Rows, side: str) -> pa.Array:
    none = (rows["protocol"] != 6) | (rows[f"{side}_packets"] == 0)
    return whole(np.where(none & ~np.isnan(rows["protocol"]), NO_WINDOW, rows[f"{side}_window_first"]))


def _label(rows: Rows) -> pa.Array:
    """Return the tags of a labelled table, with semicolons; the tool's own word for none before labelling."""
    if not rows.has("tags"):
        return always("No Label")(rows)
    joined = pc.binary_join(rows.array("tags"), ";")
    return pc.if_else(pc.equal(joined, ""), "BENIGN", joined)


def _ends() -> tuple[Field, ...]:
    return (
        Field("Flow ID", _flow_id),
        Field("Src IP", same("src_ip")),
        Field("Src Port", lambda rows: _port(rows, "src_port")),
        Field("Dst IP", same("dst_ip")),
        Field("Dst Port", lambda rows: _port(rows, "dst_port")),
        Field("Protocol", same("protocol")),
        Field("Timestamp", _timestamp),
        Field("Flow Duration", lambda rows: pc.divide(rows.duration_ns(), NS_PER_US)),
        Field("Total Fwd Packet", column("fwd_packets")),
        Field("Total Bwd packets", column("bwd_packets")),
        Field("Total Length of Fwd Packet", column("fwd_payload_bytes")),
        Field("Total Length of Bwd Packet", column("bwd_payload_bytes")),
    )


def _lengths() -> tuple[Field, ...]:
    words = {"Max": "max", "Min": "min", "Mean": "mean", "Std": "std"}
    return tuple(
        Field(f"{title} Packet Length {word}", lambda rows, side=side, name=name: _payload(rows, side, name))  # type: ignore[misc]
        for side, title in SIDES.items()
        for word, name in words.items()
    )


def _gaps() -> tuple[Field, ...]:
    words = {"Total": "total", "Mean": "mean", "Std": "std", "Max": "max", "Min": "min"}
    return tuple(
        Field(f"{title} IAT {word}", lambda rows, prefix=prefix, name=name: _gap(rows, prefix, name))  # type: ignore[misc]
        for prefix, title in GAPS.items()
        for word, name in words.items()
        if prefix or name != "total"
    )


def _flags() -> tuple[Field, ...]:
    return tuple(
        Field(f"{SIDES[side]} {flag} Flags", lambda rows, side=side, flag=flag: _flag(rows, (side,), flag.lower()))  # type: ignore[misc]
        for flag in ("PSH", "URG")
        for side in SIDES
    )


def _flag_counts() -> tuple[Field, ...]:
    return tuple(
        Field(f"{flag} Flag Count", lambda rows, flag=flag: _flag(rows, ("fwd", "bwd"), flag.lower()))  # type: ignore[misc]
        for flag in ("FIN", "SYN", "RST", "PSH", "ACK", "URG", "CWR", "ECE")
    )


def _both_lengths() -> tuple[Field, ...]:
    words = {"Min": "min", "Max": "max", "Mean": "mean", "Std": "std", "Variance": "variance"}
    return tuple(
        Field(f"Packet Length {word}", lambda rows, name=name: _both_payloads(rows, name))  # type: ignore[misc]
        for word, name in words.items()
    )


def _unset(*names: str) -> tuple[Field, ...]:
    return tuple(Field(name, always(None)) for name in names)


BULKS = tuple(
    f"{side} {name}" for side in ("Fwd", "Bwd") for name in ("Bytes/Bulk Avg", "Packet/Bulk Avg", "Bulk Rate Avg")
)
ACTIVITY = tuple(f"{kind} {word}" for kind in ("Active", "Idle") for word in ("Mean", "Std", "Max", "Min"))

CICFLOWMETER_DIALECT = Dialect(
    name="cicflowmeter",
    unset="NaN",
    fields=(
        *_ends(),
        *_lengths(),
        Field("Flow Bytes/s", lambda rows: _rate(rows, rows.total("payload_bytes"))),
        Field("Flow Packets/s", lambda rows: _rate(rows, rows.total("packets"))),
        *_gaps(),
        *_flags(),
        Field("Fwd Header Length", lambda rows: _headers(rows, "fwd")),
        Field("Bwd Header Length", lambda rows: _headers(rows, "bwd")),
        Field("Fwd Packets/s", lambda rows: _rate(rows, rows["fwd_packets"])),
        Field("Bwd Packets/s", lambda rows: _rate(rows, rows["bwd_packets"])),
        *_both_lengths(),
        *_flag_counts(),
        Field("Down/Up Ratio", lambda rows: _per(rows["bwd_packets"], rows["fwd_packets"])),
        Field("Average Packet Size", lambda rows: _both_payloads(rows, "mean")),
        Field("Fwd Segment Size Avg", lambda rows: _payload(rows, "fwd", "mean")),
        Field("Bwd Segment Size Avg", lambda rows: _payload(rows, "bwd", "mean")),
        *_unset(*BULKS),
        Field("Subflow Fwd Packets", lambda rows: _per(rows["fwd_packets"], rows["active_runs"])),
        Field("Subflow Fwd Bytes", lambda rows: _per(rows["fwd_payload_bytes"], rows["active_runs"])),
        Field("Subflow Bwd Packets", lambda rows: _per(rows["bwd_packets"], rows["active_runs"])),
        Field("Subflow Bwd Bytes", lambda rows: _per(rows["bwd_payload_bytes"], rows["active_runs"])),
        Field("FWD Init Win Bytes", lambda rows: _window(rows, "fwd")),
        Field("Bwd Init Win Bytes", lambda rows: _window(rows, "bwd")),
        Field("Fwd Act Data Pkts", column("fwd_data_packets")),
        *_unset("Fwd Seg Size Min", *ACTIVITY),
        Field("Label", _label),
    ),
)
"""The 84 columns."""
