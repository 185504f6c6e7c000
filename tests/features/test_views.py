"""Views: which columns they have, and which sources give them."""

from itertools import pairwise

import pytest

from features.errors import ModelMismatch
from features.records.given import given_features
from features.records.sources.argus import ARGUS
from features.records.sources.aws import AWS_VPC
from features.records.sources.suricata import SURICATA_EVE
from features.records.sources.zeek import ZEEK_CONN
from features.schema import FEATURE_NAMES, OWN_FEATURE_NAMES
from features.views import AUTO, OWN, VIEW_NAMES, name_of, view_of, views


def test_views_nest() -> None:
    """Each view has all columns of the next smaller one and more; the largest is what packets give."""
    known = views()
    assert known[0].columns == FEATURE_NAMES
    assert [view.name for view in known] == list(VIEW_NAMES[:-1])
    for larger, smaller in pairwise(known):
        assert set(larger.columns) > set(smaller.columns)


def test_what_the_views_of_records_have() -> None:
    """Payload and TCP's outcome from biflows on, the other direction from counters on, its sender's with NetFlow."""
    columns = {view.name: set(view.columns) for view in views()}
    assert {"bwd_payload_bytes", "tcp_established", "src_failed_share_60s"} <= columns["biflow"]
    assert not {"first_payload_01", "fwd_gap_std_s", "fwd_ttl_spread"} & columns["biflow"]
    assert {"bwd_bytes", "bwd_packet_share", "gap_mean_s"} <= columns["counters"]
    assert not {"fwd_payload_bytes", "tcp_established", "same_request_sizes_per_flow_60s"} & columns["counters"]
    assert {"fwd_bytes", "fwd_bytes_per_s", "src_hosts_60s", "service_web", "is_tcp"} <= columns["netflow"]
    assert not {"bwd_bytes", "bytes_per_s", "length_mean"} & columns["netflow"]


@pytest.mark.parametrize(
    ("adapter", "view"),
    [(ZEEK_CONN, "biflow"), (SURICATA_EVE, "counters"), (ARGUS, "biflow"), (AWS_VPC, "netflow")],
)
def test_tools_give_their_view(adapter: object, view: str) -> None:
    """A full file of each tool is of the view that its documentation promises."""
    everything = frozenset(adapter.named())  # type: ignore[attr-defined]
    assert view_of(given_features(adapter.targets(everything))).name == view  # type: ignore[attr-defined]


def test_packets_give_everything() -> None:
    """The largest view is chosen where all is given, whatever is null in the table."""
    assert view_of(FEATURE_NAMES).name == "packets"
    assert name_of(FEATURE_NAMES) == "packets"


def test_a_source_of_no_view_has_its_own() -> None:
    """Where not even the smallest view fits, what is given is the view, in schema order."""
    own = view_of({"bwd_bytes", "fwd_bytes"}, AUTO)
    assert (own.name, own.columns) == (OWN, ("fwd_bytes", "bwd_bytes"))
    assert name_of(own.columns) == OWN


def test_a_view_that_is_asked_for_must_be_given() -> None:
    """Columns that are missing are shown, and the view that fits is named."""
    with pytest.raises(ModelMismatch, match="- first_payload_01") as raised:
        view_of(given_features(ZEEK_CONN.targets(frozenset(ZEEK_CONN.named()))), "packets")
    assert "--view biflow" in str(raised.value)


def test_tables_without_neighbours_have_a_view_of_their_own() -> None:
    """What was ingested without context is no named view, and a message says how to get what lacks."""
    assert view_of(OWN_FEATURE_NAMES).name == "own"
    with pytest.raises(ModelMismatch, match="- src_flows_60s") as raised:
        view_of(OWN_FEATURE_NAMES, "packets")
    assert "ingest.context=true" in str(raised.value)
    assert "--view own" in str(raised.value)
    with pytest.raises(ModelMismatch) as raised:
        view_of(OWN_FEATURE_NAMES[1:], "packets")
    assert "ingest.context=true" not in str(raised.value)
