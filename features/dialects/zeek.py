"""Zeek's conn.log, as tab-separated values with its header, and as JSON lines.

Columns, types and rules are those of base/protocols/conn/main.zeek: duration and payload are unset where a connection
lasted no time, an ICMP type and its counterpart (or code) stand in the ports, what is unknown is unset: local ends,
services, missed bytes, tunnels. Two columns of newer or additional scripts follow, ip_proto and community_id. The uid
is made of the flow's place in its table, so that the same table always gives the same log.
"""

import hashlib
import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.columns import ICMP, ICMPV6, TCP, UDP
from features.community_id import COUNTERPARTS
from features.dialects.dialect import Dialect, Field, Floats, Rows, always, column, same, whole

PROTOCOLS = {TCP: "tcp", UDP: "udp", ICMP: "icmp", ICMPV6: "icmp"}
UNSAFE = r"[^ -\[\]-~]"
"""Control characters, what is not ASCII, and the backslash: escaped in Zeek's ASCII logs."""


def _microseconds_text(nanoseconds: pa.Array) -> pa.Array:
    """Return seconds with six decimals, cut and not rounded: 1500000000.000001."""
    micros = pc.divide(nanoseconds, 1000)
    seconds = pc.divide(micros, 1_000_000)
    rest = pc.subtract(micros, pc.multiply(seconds, 1_000_000)).cast(pa.string())
    return pc.binary_join_element_wise(seconds.cast(pa.string()), pc.utf8_lpad(rest, 6, "0"), ".")


def _decimal(texts: pa.Array) -> pa.Array:
    return texts.cast(pa.decimal128(20, 6))


def _uid(rows: Rows) -> pa.Array:
    names = pc.binary_join_element_wise(
        rows.array("capture"), rows.array("flow_id").cast(pa.string()), rows.moment("start").cast(pa.string()), "/",
        null_handling="replace", null_replacement="",
    )  # fmt: skip
    return pa.array(
        [f"C{hashlib.blake2b(name.encode(), digest_size=9).hexdigest()[:17]}" for name in names.to_pylist()]
    )


def _protocol(rows: Rows) -> pa.Array:
    number = rows["protocol"]
    names = np.select([number == known for known in PROTOCOLS], list(PROTOCOLS.values()), "unknown_transport")
    return pa.array(names, pa.string(), mask=np.isnan(number))


def _port(rows: Rows, side: str) -> pa.Array:
    """Return a port: of ICMP the type and its counterpart or code, 0 for other protocols without ports."""
    number, kind, code = rows["protocol"], rows["icmp_type"], rows["icmp_code"]
    icmp = np.isin(number, (ICMP, ICMPV6))
    instead = np.where(icmp, kind if side == "src" else _counterpart(number, kind, code), 0.0)
    ported = np.isin(number, (TCP, UDP, 132)) | np.isnan(number)
    return whole(np.where(ported, rows[f"{side}_port"], instead))


def _counterpart(number: Floats, kind: Floats, code: Floats) -> Floats:
    other = code.copy()
    for protocol, pairs in COUNTERPARTS.items():
        for one, answer in pairs.items():
            other[(number == protocol) & (kind == one)] = answer
    return other


def _duration(rows: Rows) -> pa.Array:
    nanoseconds = rows.duration_ns()
    return _decimal(_microseconds_text(pc.if_else(pc.greater(nanoseconds, 0), nanoseconds, None)))


def _payload(rows: Rows, side: str) -> pa.Array:
    lasted = pc.greater(rows.duration_ns(), 0)
    return pc.if_else(lasted, whole(rows[f"{side}_payload_bytes"]), None)


def _escaped(name: str, rows: Rows) -> pa.Array:
    """Return texts with bytes escaped in hexadecimal as Zeek does: other tools' records may hold anything."""
    texts = rows.array(name).cast(pa.string())
    if not pc.any(pc.match_substring_regex(texts, UNSAFE)).as_py():
        return texts
    return pa.array([text and re.sub(UNSAFE, _hexadecimal, text) for text in texts.to_pylist()], pa.string())


def _hexadecimal(found: re.Match[str]) -> str:
    return "".join(f"\\x{byte:02x}" for byte in found[0].encode())


FIELDS = (
    Field("ts", lambda rows: _decimal(_microseconds_text(rows.moment("start"))), "time"),
    Field("uid", _uid, "string"),
    Field("id.orig_h", same("src_ip"), "addr"),
    Field("id.orig_p", lambda rows: _port(rows, "src"), "port"),
    Field("id.resp_h", same("dst_ip"), "addr"),
    Field("id.resp_p", lambda rows: _port(rows, "dst"), "port"),
    Field("proto", _protocol, "enum"),
    Field("service", always(None), "string"),
    Field("duration", _duration, "interval"),
    Field("orig_bytes", lambda rows: _payload(rows, "fwd"), "count"),
    Field("resp_bytes", lambda rows: _payload(rows, "bwd"), "count"),
    Field("conn_state", lambda rows: _escaped("conn_state", rows), "string"),
    Field("local_orig", always(None), "bool"),
    Field("local_resp", always(None), "bool"),
    Field("missed_bytes", always(None), "count"),
    Field("history", lambda rows: _escaped("history", rows), "string"),
    Field("orig_pkts", column("fwd_packets"), "count"),
    Field("orig_ip_bytes", column("fwd_bytes"), "count"),
    Field("resp_pkts", column("bwd_packets"), "count"),
    Field("resp_ip_bytes", column("bwd_bytes"), "count"),
    Field("tunnel_parents", always(None), "set[string]"),
    Field("ip_proto", column("protocol"), "count"),
    Field("community_id", lambda rows: _escaped("community_id", rows), "string"),
)


def _header(opened: str) -> str:
    names, kinds = ("\t".join(words) for words in zip(*((field.name, field.kind) for field in FIELDS), strict=True))
    return (
        "#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n#path\tconn\n"
        f"#open\t{opened}\n#fields\t{names}\n#types\t{kinds}\n"
    )


def _footer(closed: str) -> str:
    return f"#close\t{closed}\n"


ZEEK_DIALECT = Dialect("zeek", FIELDS, delimiter="\t", unset="-", header=_header, footer=_footer)
ZEEK_JSON_DIALECT = Dialect("zeek-json", FIELDS, form="json")
