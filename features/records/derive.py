"""Feature columns of records: what the source gives, and what follows from it by the definitions of features.columns.

The raw flow (features.metering.flow_record) is filled with what is known and NaN elsewhere, and handed to the functions
that serve captures. NaN runs through their sums and ratios; the few columns made by comparisons, which know no NaN, are
made null here where what they compare is unknown.
"""

import numpy as np
import numpy.typing as npt

from features.columns import ICMP, ICMPV6, TCP, has_ports, summed_columns
from features.kernel_types import NEVER
from features.metering.flow_record import TCP_FLAGS, Fields
from features.records.adapter import Floats, Numbers
from features.schema import COLUMNS

Mask = npt.NDArray[np.bool_]

SIDES = ("fwd", "bwd")
OWN_FEATURES = tuple(column.name for column in COLUMNS if column.role == "feature" and column.group != "context")
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


def feature_columns(numbers: Numbers, rows: int) -> dict[str, Floats]:
    """Return the feature columns that need no neighbours, shape (rows,), NaN for null."""
    given = {name: values for name, values in numbers.items() if name in OWN_FEATURES}
    computed = _computed(_Known(numbers, rows))
    columns = {name: _first_known(given[name], computed.get(name)) for name in given}
    columns |= {name: values for name, values in computed.items() if name not in columns}
    return _ruled(columns, _Known(numbers | columns, rows))


def _first_known(given: Floats, computed: Floats | None) -> Floats:
    return given if computed is None else np.where(np.isnan(given), computed, given)


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
        names = [f"{side}_{name}" for side in SIDES]
        if not any(name in self._numbers for name in names):
            return np.broadcast_to(np.float64(np.nan), (self.rows, 2))
        return np.stack([self[name] for name in names], axis=1)

    def total(self, name: str) -> Floats:
        """Return the sum of both directions of a name."""
        return self[f"fwd_{name}"] + self[f"bwd_{name}"]


def _computed(known: _Known) -> dict[str, Floats]:
    fields = _flow_fields(known)
    with np.errstate(invalid="ignore"):
        columns = summed_columns(fields)
    unknown = _unknown(known)
    return {
        name: np.where(unknown[name], np.nan, values) if name in unknown else values.astype(np.float64, copy=False)
        for name, values in columns.items()
    }


def _flow_fields(known: _Known) -> Fields:
    """Return the fields of FLOW, shape (rows,) or (rows, k), as numbers that may be NaN."""

    def nothing(*shape: int) -> Floats:
        return np.broadcast_to(np.float64(np.nan), (known.rows, *shape))

    start = np.zeros(known.rows)
    fields: Fields = {
        name: known.pair(name) for name in ("packets", "bytes", "payload_bytes", "data_packets", "zero_windows")
    }
    fields |= {
        f"{name}_{part}": known.pair(f"{name}_{part}") for name in ("length", "payload") for part in ("min", "max")
    }
    fields |= {f"window_{part}": known.pair(f"window_{part}") for part in ("first", "min", "max")}
    fields["retransmissions"] = known.pair("retransmissions")
    fields |= {
        "protocol": known["protocol"],
        "dst_port": np.nan_to_num(known["dst_port"]).astype(np.uint16),
        "icmp_type": known["icmp_type"],
        "first_ns": start,
        "last_ns": known["duration_s"] * NS_PER_S,
        "length_sq": nothing(2),
        "payload_sq": nothing(2),
        "first_payload_s": nothing(2),
    }
    return fields | _gaps(known) | _handshake(known)


def _gaps(known: _Known) -> Fields:
    """Return the sums of gaps: of the flow its duration, of a side from the mean the source gives."""
    counts = [known[f"{side}_packets"] - 1 for side in SIDES] + [known.total("packets") - 1]
    means = [known[f"{prefix}gap_mean_s"] * NS_PER_S for prefix in ("fwd_", "bwd_", "")]
    stds = [known[f"{prefix}gap_std_s"] * NS_PER_S for prefix in ("fwd_", "bwd_", "")]
    sums = [mean * count for mean, count in zip(means, counts, strict=True)]
    sums[2] = known["duration_s"] * NS_PER_S
    squares = [
        (std * std + (total / np.where(count > 0, count, np.nan)) ** 2) * count
        for std, total, count in zip(stds, sums, counts, strict=True)
    ]
    nothing = np.broadcast_to(np.float64(np.nan), (known.rows, 3))
    return {
        "gap_sum": np.stack(sums, axis=1),
        "gap_sq": np.stack(squares, axis=1),
        "gap_min_s": nothing,
        "gap_max_s": nothing,
    }


def _handshake(known: _Known) -> Fields:
    """Return handshake times that only say whether there was one, and flags with resets as seen."""
    flags = np.broadcast_to(np.float64(np.nan), (known.rows, 2, len(TCP_FLAGS))).copy()
    for side, seen in enumerate(SIDES):
        for bit, flag in enumerate(TCP_FLAGS):
            flags[:, side, bit] = known[f"{seen}_{flag}_packets"]
    resets = flags[:, :, TCP_FLAGS.index("rst")]
    resets[:] = np.where(np.isnan(resets), np.stack([known[f"{side}_reset_seen"] for side in SIDES], axis=1), resets)
    times = {
        field: np.where(known[name] == 1, 0, NEVER)
        for field, name in (("syn_ns", "syn_seen"), ("syn_ack_ns", "syn_ack_seen"), ("handshake_ns", "handshake_seen"))
    }
    return {**times, "established": (known["syn_seen"] == 1) & (known["handshake_seen"] == 1), "flags": flags}


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
    unknown |= {
        "tcp_established": syn | handshake,
        "tcp_unanswered": syn | np.isnan(known["bwd_packets"]),
        "tcp_refused": syn | syn_ack | resets[1],
        "tcp_half_open": syn_ack | handshake,
        "tcp_mid_flow": syn | syn_ack,
        "tcp_fwd_reset": resets[0],
        "tcp_bwd_reset": resets[1],
    }
    every = np.ones(known.rows, bool)
    unknown |= {f"{side}_rst_packets": every for side in SIDES}
    return unknown | {"syn_ack_delay_s": every, "handshake_ack_delay_s": every}


def _ruled(columns: dict[str, Floats], known: _Known) -> dict[str, Floats]:
    """Return the columns without values that the schema's null rules forbid, whoever gave them."""
    rules = {prefix: forbidden for prefix, forbidden in _null_rules(known).items() if forbidden.any()}
    return {
        name: np.where(_any_of(rules, name), np.nan, values) if name.startswith(tuple(rules)) else values
        for name, values in columns.items()
    }


def _any_of(rules: dict[str, Mask], name: str) -> Mask:
    return np.any([forbidden for prefix, forbidden in rules.items() if name.startswith(prefix)], axis=0)


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
