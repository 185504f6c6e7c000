"""Feature columns of records: what the source gives, and what follows from it by the definitions of the column kernel.

NaN stands for what a row lacks, and for what does not follow from the rest.
"""

import numpy as np
import numpy.typing as npt

from features.columns import SAID_NAMES, TCP, Columns, said_columns
from features.metering.flow_record import TCP_FLAGS
from features.records.adapter import Floats, Numbers
from features.schema import OWN_FEATURE_NAMES

Mask = npt.NDArray[np.bool_]

SIDES = ("fwd", "bwd")


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
    columns = said_columns({name: numbers[name] for name in SAID_NAMES if name in numbers}, rows)
    given = {name: numbers[name] for name in OWN_FEATURE_NAMES if name in numbers}
    for name, values in _ruled(given, _Known(numbers, rows)).items():
        floats = values.astype(np.float32)
        columns[name] = np.where(np.isnan(floats), columns[name], floats) if name in columns else floats
    return columns


class _Known:
    """The numbers of some rows, NaN for what they lack."""

    def __init__(self, numbers: Numbers, rows: int) -> None:
        self._numbers = numbers
        self._nothing = np.broadcast_to(np.float64(np.nan), (rows,))

    def __getitem__(self, name: str) -> Floats:
        return self._numbers.get(name, self._nothing)


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
    rules: dict[str, Mask] = {"gap_": known["fwd_packets"] + known["bwd_packets"] < 2}
    for side in SIDES:
        packets = known[f"{side}_packets"]
        for part in ("length_", "payload_max", "payload_mean", "payload_std", "ttl_", "window_"):
            rules[f"{side}_{part}"] = packets == 0
        rules[f"{side}_gap_"] = packets < 2
        flags = tuple(f"{side}_{flag}_packets" for flag in TCP_FLAGS)
        rules |= dict.fromkeys((*flags, f"{side}_zero_windows", f"{side}_retransmissions"), not_tcp)
        rules[f"{side}_window"] = not_tcp
    return rules | dict.fromkeys(("tcp_", "syn_ack_delay", "handshake_ack_delay"), not_tcp)
