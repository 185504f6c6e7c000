"""nfdump's CSV (`-o csv` of 1.6 and 1.7, `-o csv-fast`) and JSON (`-o json`, `-o ndjson`).

Source: nfdump(1), and its output_csv.c, output_csv_fast.c and output_json.c for the names. Bytes are IP bytes as
NetFlow counts them. One direction a record unless made with -B; a backward count of 0 is what a record of one direction
has, so it is read as no value. Times of csv-fast are milliseconds.
"""

from functools import partial

import numpy as np
import pyarrow as pa

from features.columns import ICMP, ICMPV6
from features.records.adapter import Adapter, Given, Numbers, Records
from features.records.sources.letters import has, only_tcp, read

ONE_WAY = (0.0,)
PORT_COLUMNS = ("dp", "dstPort")
PACKETS = ("ipkt", "pkt", "packets", "in_packets", "inPackets")
WITHOUT_HEADER = (
    "ts te td sa da sp dp pr flg fwd stos ipkt ibyt opkt obyt in out sas das smk dmk dtos dir nh nhb svln dvln ismc "
    "odmc idmc osmc mpls1 mpls2 mpls3 mpls4 mpls5 mpls6 mpls7 mpls8 mpls9 mpls10 cl sl al ra eng exid tr"
)
"""What `-q -o csv` of 1.6 and 1.7.1 leaves out."""


def _more(records: Records) -> Numbers:
    column = next((records.raw[name] for name in ("flg", "flags", "tcp_flags") if name in records.raw), None)
    if column is None:
        column = pa.nulls(len(records.version), pa.string())
    reset = has(column, lambda text: "R" in text.upper())
    unset = has(column, lambda text: not any(letter in text.upper() for letter in "UAPRSF")) == 1
    numbers = records.numbers
    resets = only_tcp(np.where(unset, np.nan, reset), numbers["protocol"])
    return {"fwd_reset_seen": resets} | ({} if "icmp_type" in numbers else _icmp(records))


def _icmp(records: Records) -> Numbers:
    """Return type and code, which the CSV writes into the destination port: as 2048 or, since 1.7.2, as 8.0."""
    numbers = records.numbers
    icmp = np.isin(numbers["protocol"], (ICMP, ICMPV6))
    written = next((records.raw[name] for name in PORT_COLUMNS if name in records.raw), None)
    if written is None:
        return {}
    parts = {"icmp_type": 0, "icmp_code": 1}
    return {name: np.where(icmp, read(written, partial(_part, at=at)), np.nan) for name, at in parts.items()}


def _part(text: str, at: int) -> float:
    kind, dot, code = text.strip().partition(".")
    if dot:
        return float((kind, code)[at])
    return float(divmod(int(text), 256)[at])


NFDUMP = Adapter(
    name="nfdump",
    needs=(
        ("ts", "firstSeen", "first", "t_first"),
        ("pr", "proto"),
        ("sa", "srcAddr", "src4_addr", "src6_addr"),
        PACKETS,
    ),
    given=(
        Given("start", ("ts", "firstSeen", "first", "t_first")),
        Given("end", ("te", "lastSeen", "last", "t_last")),
        Given("duration_s", ("td", "duration")),
        Given("src_ip", ("sa", "srcAddr", "src4_addr", "src6_addr")),
        Given("src_port", ("sp", "srcPort", "src_port")),
        Given("dst_ip", ("da", "dstAddr", "dst4_addr", "dst6_addr")),
        Given("dst_port", ("dp", "dstPort", "dst_port")),
        Given("protocol", ("pr", "proto")),
        Given("icmp_type", ("icmp_type", "icmpTYpe")),
        Given("icmp_code", ("icmp_code", "icmpCode")),
        Given("fwd_packets", PACKETS),
        Given("fwd_bytes", ("ibyt", "byt", "bytes", "in_bytes", "inBytes")),
        Given("bwd_packets", ("opkt", "out_packets", "outPackets"), unset=ONE_WAY),
        Given("bwd_bytes", ("obyt", "out_bytes", "outBytes"), unset=ONE_WAY),
    ),
    raw=("flg", "flags", "tcp_flags", *PORT_COLUMNS),
    more=_more,
    gives=("fwd_reset_seen", "icmp_type", "icmp_code"),
    without_header=(tuple(WITHOUT_HEADER.split()),),
)
