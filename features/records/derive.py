"""Feature columns of records: what the source gives, and what follows from it by the definitions of features.columns.

The raw flow (features.metering.flow_record) is filled with what is known, NaN where a row lacks it, and handed to the
functions that serve captures. NaN runs through their sums and ratios; the few columns made by comparisons, which know
no NaN, are made null here where what they compare is unknown.
"""

import numpy as np
import numpy.typing as npt

from features.columns import ICMP, ICMPV6, TCP, Columns, has_ports, summed_columns
from features.kernel_types import NEVER
from features.metering.flow_record import TCP_FLAGS, Fields
from features.records.adapter import Floats, Numbers
from features.schema import COLUMNS

Mask = npt.NDArray[np.bool_]

SIDES = ("fwd", "bwd")
OWN_FEATURES = tuple(column.name for column in COLUMNS if column.role == "feature" and column.group != "context")
PREFIXES = ("fwd_", "bwd_", "")
"""Of columns of gaps: of one direction, and of the flow whatever the direction."""
SEEN = ("syn_seen", "syn_ack_seen", "handshake_seen")
NS_PER_S = 1e9


def with_totals(numbers: Numbers) -> Numbers:
    """Return the numbers with one side's packets and bytes where the total and the other side are given."""
    completed = dict(numbers)
    for name in ("packets", "bytes"):
        total = completed.pop(name, None)
        for side, other in (("fwd", "bwd"), ("bwd", "fwd")):
            if total is not None and f"{other}_{name}" in completed and f"{side}_{name}" not in completed:
                completed[f"{side}_{name}"] = total - completed[f"{other}_{name}"]
    return completed


def feature_columns(numbers: Numbers, rows: int) -> Columns:
    """Return the feature columns that need no neighbours and can have a value, shape (rows,), NaN for null."""
    known = _Known(numbers, rows)
    columns = _computed(known)
    for name, values in _ruled({name: numbers[name] for name in OWN_FEATURES if name in numbers}, known).items():
        columns[name] = np.where(np.isnan(values), columns[name], values) if name in columns else values
    return columns


class _Known:
    """The numbers of some rows, NaN for what they lack."""

    def __init__(self, numbers: Numbers, rows: int) -> None:
        self.rows = rows
        self._numbers = numbers
        self._nothing = np.broadcast_to(np.float64(np.nan), (rows,))

    def __getitem__(self, name: str) -> Floats:
        return self._numbers.get(name, self._nothing)

    def __contains__(self, name: str) -> bool:
        return name in self._numbers

    def pair(self, name: str) -> Floats:
        """Return the forward and backward column of a name, shape (rows, 2)."""
        return np.stack([self[f"{side}_{name}"] for side in SIDES]).T

    def has(self, name: str) -> bool:
        """Tell whether a name is given for either direction."""
        return any(f"{side}_{name}" in self._numbers for side in SIDES)

    def total(self, name: str) -> Floats:
        """Return the sum of both directions of a name."""
        return self[f"fwd_{name}"] + self[f"bwd_{name}"]


def _computed(known: _Known) -> Columns:
    with np.errstate(invalid="ignore"):
        columns = summed_columns(_flow_fields(known))
    for name in ("syn_ack_delay_s", "handshake_ack_delay_s"):
        del columns[name]  # a handshake that was seen says nothing of when
    for name, unknown in _unknown(known).items():
        if unknown.any():
            columns[name] = np.where(unknown, np.nan, columns[name])
    return columns


def _flow_fields(known: _Known) -> Fields:
    """Return the fields of FLOW, shape (rows,) or (rows, k), as numbers that may be NaN; those not given are left out.

    With them ``resets`` (rows, 2), above 0 where a side was seen to send RST, whether or not they were counted.
    """
    pairs = ("payload_bytes", "data_packets", "zero_windows", "retransmissions")
    extremes = [f"{name}_{part}" for name in ("length", "payload", "window") for part in ("min", "max", "first")]
    fields: Fields = {name: known.pair(name) for name in (*pairs, *extremes) if known.has(name)}
    port = known["dst_port"]
    return {
        **fields,
        "packets": known.pair("packets"),
        "bytes": known.pair("bytes"),
        "protocol": known["protocol"],
        "dst_port": np.where(np.isnan(port), 0, port).astype(np.uint16),
        "icmp_type": known["icmp_type"],
        "first_ns": np.zeros(known.rows),
        "last_ns": known["duration_s"] * NS_PER_S,
        **_gaps(known),
        **_handshake(known),
    }


def _gaps(known: _Known) -> Fields:
    """Return the sums of gaps: of the flow its duration, of a side from the mean the source gives."""
    counts = [known[f"{side}_packets"] - 1 for side in SIDES] + [known.total("packets") - 1]
    means, stds = ([known[f"{prefix}gap_{part}_s"] * NS_PER_S for prefix in PREFIXES] for part in ("mean", "std"))
    sums = [mean * count for mean, count in zip(means, counts, strict=True)]
    sums[2] = known["duration_s"] * NS_PER_S
    if not any(f"{prefix}gap_std_s" in known for prefix in PREFIXES):
        return {"gap_sum": np.stack(sums).T}
    squares = [
        (std * std + (total / np.where(count > 0, count, np.nan)) ** 2) * count
        for std, total, count in zip(stds, sums, counts, strict=True)
    ]
    return {"gap_sum": np.stack(sums).T, "gap_sq": np.stack(squares).T}


def _handshake(known: _Known) -> Fields:
    """Return handshake times that only say whether there was one, flags where they are counted, and resets as seen."""
    counted = [[known[f"{side}_{flag}_packets"] for side in SIDES] for flag in TCP_FLAGS]
    resets = [
        _first_known(count, known[f"{side}_reset_seen"])
        for side, count in zip(SIDES, counted[TCP_FLAGS.index("rst")], strict=True)
    ]
    fields: Fields = {
        field: np.where(known[name] == 1, 0, NEVER)
        for field, name in (("syn_ns", "syn_seen"), ("syn_ack_ns", "syn_ack_seen"), ("handshake_ns", "handshake_seen"))
    }
    fields |= {"established": (known["syn_seen"] == 1) & (known["handshake_seen"] == 1), "resets": np.stack(resets).T}
    return fields | ({"flags": np.stack(counted).T} if any(known.has(f"{flag}_packets") for flag in TCP_FLAGS) else {})


def _first_known(first: Floats, otherwise: Floats) -> Floats:
    return np.where(np.isnan(first), otherwise, first)


def _unknown(known: _Known) -> dict[str, Mask]:
    """Return for columns that compare, where what they compare is unknown."""
    protocol, icmp_type = known["protocol"], known["icmp_type"]
    no_protocol = np.isnan(protocol)
    icmp = np.isin(protocol, (ICMP, ICMPV6))
    no_service = no_protocol | (has_ports({"protocol": protocol}) & np.isnan(known["dst_port"]))
    unknown = {f"is_{name}": no_protocol for name in ("tcp", "udp", "icmp")}
    unknown["is_icmp_echo"] = no_protocol | (icmp & np.isnan(icmp_type))
    unknown |= {name: no_service for name in OWN_FEATURES if name.startswith("service_")}
    syn, syn_ack, handshake = (np.isnan(known[name]) for name in SEEN)
    resets = [np.isnan(known[f"{side}_reset_seen"]) & np.isnan(known[f"{side}_rst_packets"]) for side in SIDES]
    return unknown | {
        "tcp_established": syn | handshake,
        "tcp_unanswered": syn | np.isnan(known["bwd_packets"]),
        "tcp_refused": syn | syn_ack | resets[1],
        "tcp_half_open": syn_ack | handshake,
        "tcp_mid_flow": syn | syn_ack,
        "tcp_fwd_reset": resets[0],
        "tcp_bwd_reset": resets[1],
    }


def _ruled(columns: Numbers, known: _Known) -> Numbers:
    """Return columns that the source gives without values that the schema's null rules forbid."""
    rules = _null_rules(known)
    ruled = dict(columns)
    for name in columns:
        for prefix, forbidden in rules.items():
            if name.startswith(prefix):
                ruled[name] = np.where(forbidden, np.nan, ruled[name])
    return ruled


def _null_rules(known: _Known) -> dict[str, Mask]:
    """Return by the beginning of a column's name where it has no value: empty sides, lone packets, other protocols."""
    not_tcp = ~np.isnan(known["protocol"]) & (known["protocol"] != TCP)
    rules: dict[str, Mask] = {"gap_": known.total("packets") < 2}
    for side in SIDES:
        packets = known[f"{side}_packets"]
        for part in ("length_", "payload_max", "payload_mean", "payload_std", "ttl_", "window_"):
            rules[f"{side}_{part}"] = packets == 0
        rules[f"{side}_gap_"] = packets < 2
        flags = tuple(f"{side}_{flag}_packets" for flag in TCP_FLAGS)
        rules |= dict.fromkeys((*flags, f"{side}_zero_windows", f"{side}_retransmissions"), not_tcp)
        rules[f"{side}_window"] = not_tcp
    return rules | dict.fromkeys(("tcp_", "syn_ack_delay", "handshake_ack_delay"), not_tcp)
