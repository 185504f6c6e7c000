"""Zeek's conn.log, as TSV, JSON lines (with other logs among them where `_path` tells which) or CSV made from it.

The network sets of TON_IoT and UWF-ZeekData are such CSV with columns of other names.

Source: Zeek's documentation of base/protocols/conn/main.zeek. Zeek leaves duration and bytes unset when a connection
lasted no time at all, which is what one packet does; its IP bytes are IP bytes as ours are. Its payload comes from
sequence numbers: where it is more than the IP bytes, they jumped, and there is no value.
"""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.columns import ICMP, ICMPV6, UDP
from features.community_id import COUNTERPARTS
from features.records.adapter import Adapter, Floats, Given, Numbers, Records, every_row
from features.records.cells import Mask
from features.records.sources.letters import has, only_tcp

SYN_STATES = ("S0", "S1", "SF", "REJ", "S2", "S3", "RSTO", "RSTR", "RSTOS0", "SH")
SYN_ACK_STATES = ("S1", "SF", "S2", "S3", "RSTO", "RSTR", "RSTRH", "SHR")
HANDSHAKE_STATES = ("S1", "SF", "S2", "S3", "RSTO", "RSTR")
FWD_RESET_STATES = ("RSTO", "RSTOS0")
BWD_RESET_STATES = ("REJ", "RSTR", "RSTRH")
ORIGIN, RESPONDER = ("id.orig_h", "src_ip", "src_ip_zeek"), ("id.resp_h", "dst_ip", "dest_ip_zeek")
LABELS = ("detailed-label", "type", "label_tactic", "label", "tunnel_parents   label   detailed-label")
IP_HEADER = {4: 20, 6: 40}
LONGEST_TCP_HEADER = 60
UDP_HEADER = 8


FACTS = (
    *("icmp_type", "icmp_code", "syn_seen", "syn_ack_seen", "handshake_seen", "fwd_reset_seen", "bwd_reset_seen"),
    *("fwd_payload_bytes", "bwd_payload_bytes"),
)
"""What connection_facts gives."""


def _is_connection(raw: Mapping[str, pa.Array]) -> Mask:
    """Return True for rows of conn.log where a stream of all logs says of which each is."""
    if "_path" not in raw:
        return every_row(raw)
    return pc.fill_null(pc.equal(raw["_path"].cast(pa.string()), "conn"), True).to_numpy(zero_copy_only=False)


def connection_facts(records: Records) -> Numbers:
    """Return what Zeek's history and state say of a connection, and the payload that it leaves unset."""
    numbers = dict(records.numbers)
    numbers["protocol"] = np.where(
        (numbers["protocol"] == ICMP) & (records.version == 6), float(ICMPV6), numbers["protocol"]
    )
    if "duration_s" in numbers:
        numbers["duration_s"] = np.nan_to_num(numbers["duration_s"])
    return {**numbers, **_icmp(numbers), **_handshake(records, numbers["protocol"]), **_payload(records, numbers)}


def _icmp(numbers: Numbers) -> Numbers:
    """Return type and code, which Zeek writes into the ports, if they are there; a type's counterpart is no code."""
    icmp = np.isin(numbers["protocol"], (ICMP, ICMPV6))
    unknown = np.full(len(icmp), np.nan)
    kind, other = (numbers.get(name, unknown) for name in ("src_port", "dst_port"))
    paired = np.zeros(len(kind), bool)
    for protocol, pairs in COUNTERPARTS.items():
        paired |= (numbers["protocol"] == protocol) & np.isin(kind, list(pairs))
    return {
        "icmp_type": np.where(icmp, kind, np.nan),
        "icmp_code": np.where(icmp, np.where(paired, 0, other), np.nan),
    }


def _handshake(records: Records, protocol: Floats) -> Numbers:
    """Return what the history says, and the state where there is no history."""
    facts = {
        "syn_seen": ("S", SYN_STATES),
        "syn_ack_seen": ("h", SYN_ACK_STATES),
        "handshake_seen": ("", HANDSHAKE_STATES),
        "fwd_reset_seen": ("R", FWD_RESET_STATES),
        "bwd_reset_seen": ("r", BWD_RESET_STATES),
    }
    return {name: only_tcp(_fact(records, letter, states), protocol) for name, (letter, states) in facts.items()}


def _fact(records: Records, letter: str, states: tuple[str, ...]) -> Floats:
    rows = len(records.version)
    told, state = (records.raw.get(name, pa.nulls(rows, pa.string())) for name in ("history", "conn_state"))
    by_history = has(told, (lambda text: letter in text) if letter else _acknowledged)
    return np.where(np.isnan(by_history), has(state, lambda text: text in states), by_history)


def _acknowledged(history: str) -> bool:
    """Return whether the originator sent an ACK, data or FIN behind the responder's SYN-ACK."""
    return any(letter in history.partition("h")[2] for letter in "ADF")


def _payload(records: Records, numbers: Numbers) -> Numbers:
    """Return payload bytes where Zeek left them unset, as it does for what lasted no time.

    None without data in the history, else UDP's by its headers. SYN, FIN and RST may carry payload without a letter
    for data: where the bytes are more than headers can be, there is no value.
    """
    filled = {}
    told = records.raw.get("history", pa.nulls(len(records.version), pa.string()))
    ip_header = np.where(records.version == 6, IP_HEADER[6], IP_HEADER[4])
    for side, letter in (("fwd", "D"), ("bwd", "d")):
        nothing = np.full(len(ip_header), np.nan)
        given = numbers.get(f"{side}_payload_bytes", nothing)
        silent = has(told, lambda text, letter=letter: letter not in text) == 1  # type: ignore[misc]
        packets, size = (numbers.get(f"{side}_{name}", nothing) for name in ("packets", "bytes"))
        udp = np.where(numbers["protocol"] == UDP, np.maximum(size - (ip_header + UDP_HEADER) * packets, 0), np.nan)
        roomy = size > (ip_header + LONGEST_TCP_HEADER) * packets
        payload = np.where(np.isnan(given), np.where((silent & ~roomy) | (packets == 0), 0, udp), given)
        filled[f"{side}_payload_bytes"] = np.where(payload > size, np.nan, payload)
    return filled


ZEEK_CONN = Adapter(
    name="zeek_conn",
    needs=(("ts",), ORIGIN, RESPONDER, ("proto",), ("conn_state", "duration", "orig_pkts", "orig_bytes")),
    given=(
        Given("source_label", LABELS),
        Given("uid", ("uid",)),
        Given("start", ("ts",)),
        Given("duration_s", ("duration",)),
        Given("src_ip", ORIGIN),
        Given("src_port", ("id.orig_p", "src_port", "src_port_zeek")),
        Given("dst_ip", RESPONDER),
        Given("dst_port", ("id.resp_p", "dst_port", "dest_port_zeek")),
        Given("protocol", ("ip_proto", "proto")),
        Given("community_id", ("community_id",)),
        Given("conn_state", ("conn_state",)),
        Given("history", ("history",)),
        Given("fwd_packets", ("orig_pkts", "src_pkts")),
        Given("bwd_packets", ("resp_pkts", "dst_pkts")),
        Given("fwd_bytes", ("orig_ip_bytes", "src_ip_bytes")),
        Given("bwd_bytes", ("resp_ip_bytes", "dst_ip_bytes")),
        Given("fwd_payload_bytes", ("orig_bytes", "src_bytes")),
        Given("bwd_payload_bytes", ("resp_bytes", "dst_bytes")),
    ),
    raw=("conn_state", "history", "_path"),
    nulls=("-", "(empty)"),
    more=connection_facts,
    keep=_is_connection,
    gives=FACTS,
)
