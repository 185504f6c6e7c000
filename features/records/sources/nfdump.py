"""nfdump's CSV (`-o csv` of 1.6 and 1.7) and JSON lines (`-o ndjson`): one direction a record unless made with -B.

Source: nfdump(1), and its output_csv.c and output_json.c for the names. Bytes are IP bytes as NetFlow counts them. A
backward count of 0 is what a record of one direction has, so it is read as no value.
"""

import numpy as np
import pyarrow as pa

from features.records.adapter import Adapter, Given, Numbers, Records
from features.records.sources.letters import has, only_tcp

ONE_WAY = (0.0,)


def _more(records: Records) -> Numbers:
    column = next((records.raw[name] for name in ("flg", "flags", "tcp_flags") if name in records.raw), None)
    if column is None:
        column = pa.nulls(len(records.version), pa.string())
    reset = has(column, lambda text: "R" in text.upper())
    unset = has(column, lambda text: not any(letter in text.upper() for letter in "UAPRSF")) == 1
    return {"fwd_reset_seen": only_tcp(np.where(unset, np.nan, reset), records.numbers["protocol"])}


NFDUMP = Adapter(
    name="nfdump",
    needs=(
        ("ts", "firstSeen", "first", "t_first"),
        ("pr", "proto"),
        ("sa", "srcAddr", "src4_addr", "src6_addr"),
        ("ipkt", "pkt", "packets", "in_packets"),
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
        Given("icmp_type", ("icmp_type",)),
        Given("icmp_code", ("icmp_code",)),
        Given("fwd_packets", ("ipkt", "pkt", "packets", "in_packets")),
        Given("fwd_bytes", ("ibyt", "byt", "bytes", "in_bytes")),
        Given("bwd_packets", ("opkt", "out_packets"), unset=ONE_WAY),
        Given("bwd_bytes", ("obyt", "out_bytes"), unset=ONE_WAY),
    ),
    raw=("flg", "flags", "tcp_flags"),
    more=_more,
    gives=("fwd_reset_seen",),
)
