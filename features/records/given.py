"""Which feature columns a source of records can give, told by computing them of one flow that has all it can have."""

from collections.abc import Collection

import numpy as np

from features.columns import TCP
from features.records.derive import feature_columns
from features.records.rows import has_addresses, has_times, number_targets, row_schema
from features.schema import COLUMNS

CONTEXT_NEEDS = {
    "failed_share": ("bwd_packets",),
    "log_bytes": ("fwd_bytes",),
    "request_sizes": ("fwd_payload_bytes",),
    "response_sizes": ("bwd_payload_bytes",),
}
"""Context columns by a part of their name, and the targets without which they would say nothing."""
CONTEXT = tuple(column.name for column in COLUMNS if column.group == "context")
SEVERAL = 3.0
"""What every number of the probing flow is: packets enough for gaps, a duration, a port, facts that hold."""


def given_features(targets: set[str]) -> frozenset[str]:
    """Return the feature columns that rows with these targets can have a value in.

    A table may still be null throughout in one of them: TCP's columns where there was no TCP.
    """
    numbers = {name: np.full(1, SEVERAL) for name in number_targets(targets)}
    computed = feature_columns({**numbers, "protocol": np.full(1, float(TCP))}, 1)
    own = {name for name, values in computed.items() if not np.isnan(values).any()}
    if "protocol" not in targets:
        own -= {"is_tcp", "is_udp", "is_icmp", "is_icmp_echo"}
    if not (has_times(targets) and has_addresses(targets)):
        return frozenset(own)
    known = set(row_schema(targets).names)
    return frozenset(own | {name for name in CONTEXT if says_something(name, known)})


def says_something(name: str, known: Collection[str]) -> bool:
    """Tell whether a context column has a meaning where only some targets are known."""
    return all(set(known).issuperset(needs) for part, needs in CONTEXT_NEEDS.items() if part in name)
