"""Views: named sets of feature columns, each what one way of looking at traffic can give.

A detector is trained for a view and scores whatever gives the view's columns, from packets as from flow records. The
columns of a view of records follow from what such a record says, by the code that reads records.
"""

from collections.abc import Collection
from dataclasses import dataclass

from features.errors import ModelMismatch
from features.records.given import given_features
from features.schema import FEATURE_NAMES, OWN_FEATURE_NAMES

AUTO, PACKETS, OWN = "auto", "packets", "own"

_ENDS = ("start", "end", "src_ip", "src_port", "dst_ip", "dst_port", "protocol")
_COUNTERS = (*_ENDS, "fwd_packets", "bwd_packets", "fwd_bytes", "bwd_bytes")
_HANDSHAKE = ("syn_seen", "syn_ack_seen", "handshake_seen", "fwd_reset_seen", "bwd_reset_seen")
SAID = {
    "biflow": (*_COUNTERS, "fwd_payload_bytes", "bwd_payload_bytes", *_HANDSHAKE),
    "counters": _COUNTERS,
    "netflow": (*_ENDS, "fwd_packets", "fwd_bytes"),
}
"""What a record of each view says: both directions with payload and TCP's outcome, as Zeek; both directions' packets
and bytes, as Argus and Suricata; one direction's, as NetFlow."""
NEIGHBOURS_LACK = "all of neighbours: ingest with ingest.context=true, from a source with times and addresses"
VIEW_NAMES = (PACKETS, *SAID, OWN)
"""From the largest to the smallest."""


@dataclass(frozen=True)
class View:
    """A named set of feature columns, in schema order."""

    name: str
    columns: tuple[str, ...]

    def lacking(self, given: Collection[str]) -> tuple[str, ...]:
        """Return the columns that a source does not give."""
        return tuple(name for name in self.columns if name not in given)


def views() -> tuple[View, ...]:
    """Return the named views, the largest first."""
    of_records = (View(name, _in_order(given_features(set(said)))) for name, said in SAID.items())
    return (View(PACKETS, FEATURE_NAMES), *of_records)


def view_of(given: Collection[str], asked: str = AUTO) -> View:
    """Return the view asked for, or for "auto" the largest one whose columns are all given.

    "own" is whatever is given; "auto" comes to it where not even the smallest named view fits.

    Raises:
        ModelMismatch: The view asked for has columns that are not given.
    """
    own = View(OWN, _in_order(given))
    known = {view.name: view for view in (*views(), own)}
    if asked == AUTO:
        return next(view for view in known.values() if not view.lacking(given))
    view = known[asked]
    if missing := view.lacking(given):
        fitting = view_of(given).name
        raise ModelMismatch(
            f"the tables lack columns of the view {asked!r}",
            "training",
            f"{len(view.columns)} columns",
            missing_text(missing),
            f"--view {fitting}, or --view auto",
        )
    return view


def name_of(columns: Collection[str]) -> str:
    """Return what the view with exactly these columns is called."""
    return next((view.name for view in views() if set(view.columns) == set(columns)), OWN)


def missing_text(missing: Collection[str]) -> str:
    """Return how messages show columns that are not there, and where to get them if only those of neighbours lack."""
    shown = f"{len(missing)} of them missing" + "".join(f"\n    - {name}" for name in missing)
    return shown if set(missing) & set(OWN_FEATURE_NAMES) else f"{shown}\n    {NEIGHBOURS_LACK}"


def _in_order(names: Collection[str]) -> tuple[str, ...]:
    return tuple(name for name in FEATURE_NAMES if name in names)
