"""The feature schema: every column's name, type, unit, meaning and null rule, its version and its fingerprint.

Identity columns tell which flow a row is; they never enter a network, because addresses, ports and times give the
labels away. Metadata columns are text and numbers for people and joins; they never enter one either. Feature columns
are what a network may see. A detector remembers the fingerprint it was trained with.
"""

import difflib
import hashlib
import json
from collections.abc import Iterator
from dataclasses import astuple, dataclass

import pyarrow as pa

from features.context import LONG_S, SHORT_S
from features.metering.flow_record import FIRST_PACKETS, TCP_FLAGS
from features.service import SERVICES

SCHEMA_VERSION = 2


@dataclass(frozen=True)
class Column:
    """One column of the feature table.

    Attributes:
        name: The column's name; a unit other than a count or a share is part of it.
        type: Arrow type: string, bool-like int8, int32, int64, float32 or timestamp[ns, tz=UTC].
        unit: Unit of the values, "1" for shares and flags.
        meaning: One line for a person.
        null: When the value is null although packets were seen; "never" where they always give it.
        role: "identity" (which flow), "metadata" (for people and joins) or "feature" (what a network may see).
        group: The part of the schema it belongs to.
    """

    name: str
    type: str
    unit: str
    meaning: str
    null: str
    role: str
    group: str


SIDES = {"fwd": "from the side that sent the first packet", "bwd": "from the side that was addressed"}
ALWAYS = "never"


def _identity() -> Iterator[Column]:
    def column(name: str, kind: str, meaning: str, null: str = ALWAYS) -> Column:
        return Column(name, kind, "", meaning, null, "identity", "identity")

    yield column("capture", "string", "name of the capture or record file the flow was read from")
    yield column("flow_id", "int64", "number of the flow in order of its end within one extraction, from 0")
    yield column("community_id", "string", "Community ID v1 with seed 0, the key other tools join on")
    yield column("start", "timestamp[ns, tz=UTC]", "time of the first packet")
    yield column("end", "timestamp[ns, tz=UTC]", "time of the last packet")
    yield column("src_ip", "string", "address of the side that sent the first packet")
    yield column("src_port", "int32", "its port", "protocols without ports")
    yield column("dst_ip", "string", "address of the side that was addressed")
    yield column("dst_port", "int32", "its port", "protocols without ports")
    yield column("protocol", "int32", "IANA protocol number")
    yield column(
        "vlan",
        "int64",
        "ids of the two innermost VLAN tags, 4096 times the outer one's plus the inner one's",
        "untagged, or VLANs are no part of the key",
    )
    yield column("end_reason", "string", "why the flow ended: idle, active, tcp_end, capture_end, forced (IPFIX)")
    yield column("icmp_type", "int32", "ICMP or ICMPv6 type of the first packet", "other protocols")
    yield column("icmp_code", "int32", "ICMP or ICMPv6 code of the first packet", "other protocols")


def _course() -> Iterator[Column]:
    def text(name: str, meaning: str, null: str) -> Column:
        return Column(name, "string", "", meaning, null, "metadata", "course")

    yield text(
        "conn_state", "how the connection went, as Zeek's conn_state: S0, SF, REJ ...; OTH for no TCP or UDP", ALWAYS
    )
    yield text(
        "history",
        "what each side sent, in the letters of Zeek's history: ShADadFf",
        "neither TCP nor UDP, or no letter",
    )
    yield text("uid", "Zeek's uid of the connection, which its other logs share", "sources other than Zeek's logs")
    yield text("source_label", "the label that the flow's own record carries", "sources without labels")


def _feature(name: str, unit: str, meaning: str, group: str, null: str = ALWAYS) -> Column:
    return Column(name, "float32", unit, meaning, null, "feature", group)


def _protocol() -> Iterator[Column]:
    for name in ("tcp", "udp", "icmp"):
        yield _feature(f"is_{name}", "1", f"1 for {name.upper()} over IPv4 or IPv6, else 0", "protocol")
    yield _feature("is_icmp_echo", "1", "1 when an ICMP flow began with an echo request or reply", "protocol")
    for name, (meaning, _) in SERVICES.items():
        yield _feature(f"service_{name}", "1", f"1 when the destination port belongs to: {meaning}", "protocol")


def _volume() -> Iterator[Column]:
    for side, words in SIDES.items():
        yield _feature(f"{side}_packets", "packets", f"packets {words}", "volume")
        yield _feature(f"{side}_bytes", "bytes", f"IP bytes {words}", "volume")
        yield _feature(f"{side}_payload_bytes", "bytes", f"transport payload {words}", "volume")
        yield _feature(f"{side}_data_packets", "packets", f"packets with payload {words}", "volume")
    yield _feature("bwd_packet_share", "1", "share of the packets that went backward", "volume")
    yield _feature("bwd_byte_share", "1", "share of the IP bytes that went backward", "volume")
    yield _feature("payload_share", "1", "share of the IP bytes that was payload", "volume")
    yield _feature("data_packet_share", "1", "share of the packets that carried payload", "volume")


def _rate() -> Iterator[Column]:
    instant = "a flow of one instant"
    yield _feature("duration_s", "s", "last packet minus first packet", "rate")
    yield _feature("packets_per_s", "packets/s", "packets of both directions over the duration", "rate", instant)
    yield _feature("bytes_per_s", "bytes/s", "IP bytes of both directions over the duration", "rate", instant)
    for side, words in SIDES.items():
        yield _feature(f"{side}_packets_per_s", "packets/s", f"packets {words} over the duration", "rate", instant)
        yield _feature(f"{side}_bytes_per_s", "bytes/s", f"IP bytes {words} over the duration", "rate", instant)
        yield _feature(
            f"{side}_first_payload_delay_s", "s", f"flow start to first payload {words}", "rate", f"no payload {words}"
        )


def _length() -> Iterator[Column]:
    for side, words in SIDES.items():
        empty = f"no packet {words}"
        for statistic in ("min", "max", "mean", "std"):
            yield _feature(f"{side}_length_{statistic}", "bytes", f"{statistic} of IP length {words}", "length", empty)
        for statistic in ("max", "mean", "std"):
            yield _feature(
                f"{side}_payload_{statistic}", "bytes", f"{statistic} of payload per packet {words}", "length", empty
            )
    yield _feature("length_mean", "bytes", "mean IP length, both directions", "length")
    yield _feature("length_std", "bytes", "population standard deviation of IP length, both directions", "length")


def _gap() -> Iterator[Column]:
    for side, words in {**SIDES, "flow": "of either direction"}.items():
        prefix = "" if side == "flow" else f"{side}_"
        single = f"fewer than two packets {words}"
        for statistic in ("min", "max", "mean", "std"):
            yield _feature(
                f"{prefix}gap_{statistic}_s", "s", f"{statistic} of the time between packets {words}", "gap", single
            )
        yield _feature(
            f"{prefix}gap_variation", "1", f"std over mean of the gaps {words}", "gap", f"{single}, or a mean of 0"
        )


def _activity() -> Iterator[Column]:
    yield _feature("active_runs", "runs", "runs of packets without a gap above a second", "activity")
    yield _feature("active_mean_s", "s", "mean length of such a run", "activity")
    yield _feature("active_max_s", "s", "longest such run", "activity")
    yield _feature("idle_mean_s", "s", "mean of the gaps above a second", "activity", "no such gap")
    yield _feature("idle_max_s", "s", "longest gap above a second", "activity", "no such gap")


def _tcp() -> Iterator[Column]:
    other = "protocols other than TCP"
    for side, words in SIDES.items():
        for flag in TCP_FLAGS:
            yield _feature(f"{side}_{flag}_packets", "packets", f"packets with {flag.upper()} {words}", "tcp", other)
        unseen = f"{other}, or no packet {words}"
        for name, meaning in (("first", "first"), ("min", "smallest"), ("max", "largest")):
            yield _feature(f"{side}_window_{name}", "bytes", f"{meaning} unscaled window {words}", "tcp", unseen)
        yield _feature(f"{side}_zero_windows", "packets", f"packets with window 0 and no RST {words}", "tcp", other)
        yield _feature(f"{side}_retransmissions", "packets", f"repeated data, SYN or FIN {words}", "tcp", other)
    yield _feature("tcp_established", "1", "1 when SYN, SYN-ACK and ACK were seen", "tcp", other)
    yield _feature("tcp_unanswered", "1", "1 when a SYN got no packet back", "tcp", other)
    yield _feature("tcp_refused", "1", "1 when a SYN got RST and no SYN-ACK", "tcp", other)
    yield _feature("tcp_half_open", "1", "1 when a SYN-ACK got no ACK", "tcp", other)
    yield _feature("tcp_mid_flow", "1", "1 when no SYN was seen", "tcp", other)
    yield _feature("tcp_fwd_reset", "1", "1 when the forward side sent RST", "tcp", other)
    yield _feature("tcp_bwd_reset", "1", "1 when the backward side sent RST", "tcp", other)
    yield _feature("syn_ack_delay_s", "s", "SYN to SYN-ACK", "tcp", f"{other}, or not both seen")
    yield _feature("handshake_ack_delay_s", "s", "SYN-ACK to ACK", "tcp", f"{other}, or not both seen")


def _network() -> Iterator[Column]:
    for side, words in SIDES.items():
        yield _feature(
            f"{side}_ttl_spread", "hops", f"largest minus smallest TTL {words}", "network", f"no packet {words}"
        )
        yield _feature(f"{side}_fragments", "packets", f"IP fragments {words}", "network")
        yield _feature(f"{side}_out_of_order", "packets", f"packets older than one before {words}", "network")


def _first() -> Iterator[Column]:
    for number in range(1, FIRST_PACKETS + 1):
        short = f"fewer than {number} packets"
        meaning = f"payload of packet {number}, negative when backward"
        yield _feature(f"first_payload_{number:02}", "bytes", meaning, "first", short)
    for number in range(2, FIRST_PACKETS + 1):
        short = f"fewer than {number} packets"
        yield _feature(f"first_gap_{number:02}_s", "s", f"time from packet {number - 1} to {number}", "first", short)


def _payload() -> Iterator[Column]:
    def text(name: str, meaning: str, kind: str = "string") -> Column:
        return Column(name, kind, "", meaning, unsaid, "metadata", "payload")

    def number(name: str, unit: str, meaning: str) -> Column:
        return _feature(name, unit, meaning, "payload", unsaid)

    unsaid = "no DNS question among the first bytes"
    yield text("dns_query", "name in the first DNS question, lower case, escaped as in RFC 1035")
    yield text("dns_query_type", "its type: A, TXT, HTTPS ...; TYPEnnn for one without a name")
    yield number("dns_query_length", "bytes", "length of the name, dots included")
    yield number("dns_query_entropy", "bits/byte", "entropy of the name's bytes, dots left out")
    yield number("dns_label_count", "labels", "labels of the name")
    yield number("dns_longest_label", "bytes", "length of its longest label")
    unsaid = "no DNS response among the first bytes"
    yield text("dns_response_code", "code of the first DNS response: NOERROR, NXDOMAIN ...")
    yield number("dns_failed", "1", "1 when the code is not NOERROR, else 0")
    unsaid = "no ServerHello among the first bytes"
    yield text("tls_version", "version that the server chose: TLS 1.3, TLS 1.2 ...")
    unsaid = "no ClientHello that says so among the first bytes"
    yield text("tls_server_name", "server name (SNI) that the client asks for, lower case")
    yield text("tls_alpn", "application protocols that the client offers, with commas: h2,http/1.1")
    unsaid = "no whole ClientHello among the first bytes"
    yield text("tls_ja4", "JA4 fingerprint of the client")
    yield number("tls_cipher_count", "suites", "cipher suites that the client offers")
    yield number("tls_extension_count", "extensions", "extensions of the ClientHello")
    yield number("tls_names_server", "1", "1 when the client names the server, else 0")
    unsaid = "no HTTP/1 request that says so among the first bytes"
    yield text("http_method", "method of the first HTTP/1 request")
    yield text("http_host", "its host, lower case, without the port")
    yield number("http_uri_length", "bytes", "length of its target")
    unsaid = "no HTTP/1 response among the first bytes"
    yield text("http_status", "status of the first HTTP/1 response", "int32")
    yield number("http_failed", "1", "1 when the status is 400 or more, else 0")
    unsaid = "no SSH identification among the first bytes"
    yield text("ssh_client_software", "software that the forward side says it is, with its comment")
    yield text("ssh_server_software", "software that the backward side says it is, with its comment")
    unsaid = "no QUIC long header of a known version among the first bytes"
    yield text("quic_version", "QUIC version: 1, 2, draft-29, Q050 ...")


GROUPS = {
    "src": "flows of the same source",
    "endpoint": "flows to the same destination, protocol and port",
    "pair": "flows of the same source and destination",
    "same": "flows of the same source, destination, protocol and port",
}
PARTNERS = {
    "src": {"hosts": "destinations", "services": "protocols and ports", "endpoints": "destinations with port"},
    "endpoint": {"hosts": "sources"},
    "pair": {"services": "protocols and ports"},
    "same": {},
}


OWN = ("src", "pair", "same")
"""Groups of one source: their looks are its own doing."""

REPEATING = ("src", "same")


def _context() -> Iterator[Column]:
    def near(name: str, unit: str, meaning: str, seconds: int = LONG_S, null: str = ALWAYS) -> Column:
        return _feature(name, unit, f"{meaning} that ended within {seconds} s of this one", "context", null)

    for group, flows in GROUPS.items():
        for seconds in (SHORT_S, LONG_S):
            yield near(f"{group}_flows_{seconds}s", "flows", f"number of {flows}", seconds)
            if group in OWN:
                yield near(f"{group}_failed_share_{seconds}s", "1", f"share without answer of {flows}", seconds)
        if group in OWN:
            yield near(f"{group}_log_bytes_mean_60s", "ln(1+bytes)", f"mean log size of {flows}")
            yield near(f"{group}_log_bytes_std_60s", "ln(1+bytes)", f"standard deviation of log size of {flows}")
        for partner, words in PARTNERS[group].items():
            yield near(f"{group}_{partner}_60s", words, f"different {words} among {flows}")
            yield near(f"{group}_{partner}_per_flow_60s", "1", f"different {words} over number of {flows}")
        if group in REPEATING:
            yield near(
                f"{group}_request_sizes_per_flow_60s", "1", f"different payload sizes forward over number of {flows}"
            )
            yield near(
                f"{group}_response_sizes_per_flow_60s", "1", f"different payload sizes backward over number of {flows}"
            )
    lone = "fewer than two such flows"
    yield near("same_gap_mean_s_60s", "s", f"mean time between starts of {GROUPS['same']}", null=lone)
    yield near("same_gap_variation_60s", "1", f"std over mean of those times for {GROUPS['same']}", null=lone)
    for whole in ("src", "endpoint"):
        yield near(f"same_share_of_{whole}_60s", "1", f"share {GROUPS['same']} have in {GROUPS[whole]}")


COLUMNS: tuple[Column, ...] = (
    *_identity(), *_course(), *_protocol(), *_volume(), *_rate(), *_length(), *_gap(),
    *_activity(), *_tcp(), *_network(), *_first(), *_payload(), *_context(),
)  # fmt: skip
FEATURE_NAMES: tuple[str, ...] = tuple(column.name for column in COLUMNS if column.role == "feature")
OWN_FEATURE_NAMES: tuple[str, ...] = tuple(
    column.name for column in COLUMNS if column.role == "feature" and column.group != "context"
)
"""Those that need no neighbours."""
IDENTITY_NAMES: tuple[str, ...] = tuple(column.name for column in COLUMNS if column.role == "identity")

_ARROW_TYPES = {
    "string": pa.string(),
    "int32": pa.int32(),
    "int64": pa.int64(),
    "float32": pa.float32(),
    "timestamp[ns, tz=UTC]": pa.timestamp("ns", tz="UTC"),
}


def arrow_schema() -> pa.Schema:
    """Return the Arrow schema of a feature table, version and fingerprint in its metadata.

    Every column may be null: flow records of other tools lack what only packets can tell.
    """
    fields = [pa.field(column.name, _ARROW_TYPES[column.type]) for column in COLUMNS]
    metadata = {"flowtag.schema_version": str(SCHEMA_VERSION), "flowtag.schema_fingerprint": fingerprint()}
    return pa.schema(fields, metadata)


def fingerprint() -> str:
    """Return 16 hexadecimal digits that change with any column's name, type, unit, meaning, null rule or order."""
    text = json.dumps([SCHEMA_VERSION, [astuple(column) for column in COLUMNS]])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def difference(other: pa.Schema) -> str:
    """Return the unified diff from this schema's columns to `other`'s; empty when a table of `other` can be used."""
    ours = [f"{field.name}: {field.type}" for field in arrow_schema()]
    theirs = [f"{field.name}: {field.type}" for field in other if field.name not in (*LABEL_NAMES, WEIGHT_NAME)]
    return "\n".join(difflib.unified_diff(ours, theirs, "this version", "the table", lineterm="", n=0))


LABEL_NAMES = ("tags", "rules")
"""Columns that labelling adds behind the schema's own."""
WEIGHT_NAME = "weight"
"""A column that a labelled table may have beside them: how much each flow counts in training."""


def labelled_schema() -> pa.Schema:
    """Return the schema of a labelled table: the feature table's, then tags and the names of the rules behind them."""
    schema = arrow_schema()
    for name in LABEL_NAMES:
        schema = schema.append(pa.field(name, pa.list_(pa.string()), nullable=False))
    return schema
