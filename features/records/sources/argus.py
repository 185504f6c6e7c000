"""Argus as `ra` prints it, the CTU sets' .binetflow, and ra's field names in small letters, as Bot-IoT has them.

Source: ra(1) and the CTU-13 description. Byte counts are of frames: 14 bytes of Ethernet a packet are taken off, and
without the packets of a side (SrcPkts) its bytes are no value. TCP states such as S_RA are the flags of either side.
"""

import numpy as np
import pyarrow as pa

from features.columns import ICMP, ICMPV6
from features.records.adapter import Adapter, Floats, Given, Numbers, Records
from features.records.sources.letters import has, only_tcp

ETHERNET = 14


def _side(column: pa.Array, side: int, letters: str) -> Floats:
    """Return 1 where the flags of a side hold all letters, NaN where the state is no pair of flags."""
    known = has(column, _is_pair)
    found = has(column, lambda text: set(letters) <= set(text.split("_")[side] if _is_pair(text) else ""))
    return np.where(known == 1, found, np.nan)


def _is_pair(state: str) -> bool:
    return state.count("_") == 1 and set(state) <= set("FSRPAUEC_")


def _more(records: Records) -> Numbers:
    unknown = np.full(len(records.version), np.nan)
    protocol, port = (records.numbers.get(name, unknown) for name in ("protocol", "src_port"))
    icmp = np.isin(protocol, (ICMP, ICMPV6))
    made = {"icmp_type": np.where(icmp, port % 256, np.nan), "icmp_code": np.where(icmp, port // 256, np.nan)}
    state = records.raw.get("State")
    if state is None:
        return made
    answered = _side(state, 1, "SA")
    facts = {
        "syn_seen": _side(state, 0, "S"),
        "syn_ack_seen": answered,
        "handshake_seen": np.minimum(answered, _side(state, 0, "A")),
        "fwd_reset_seen": _side(state, 0, "R"),
        "bwd_reset_seen": _side(state, 1, "R"),
    }
    return made | {name: only_tcp(values, protocol) for name, values in facts.items()}


ARGUS = Adapter(
    name="argus",
    needs=(("StartTime", "stime"), ("Dur",), ("SrcAddr", "saddr"), ("DstAddr", "daddr"), ("TotPkts", "pkts")),
    given=(
        Given("source_label", ("Label", "category", "attack")),
        Given("start", ("StartTime", "stime")),
        Given("duration_s", ("Dur",)),
        Given("src_ip", ("SrcAddr", "saddr")),
        Given("src_port", ("Sport",)),
        Given("dst_ip", ("DstAddr", "daddr")),
        Given("dst_port", ("Dport",)),
        Given("protocol", ("Proto",)),
        Given("packets", ("TotPkts", "pkts")),
        Given("fwd_packets", ("SrcPkts", "spkts")),
        Given("bwd_packets", ("DstPkts", "dpkts")),
        Given("bytes", ("TotBytes", "bytes"), 1, ("TotPkts", "pkts"), ETHERNET),
        Given("fwd_bytes", ("SrcBytes", "sbytes"), 1, ("SrcPkts", "spkts"), ETHERNET),
        Given("fwd_payload_bytes", ("SAppBytes",)),
        Given("bwd_payload_bytes", ("DAppBytes",)),
    ),
    raw=("State",),
    more=_more,
    gives=("icmp_type", "icmp_code", "syn_seen", "syn_ack_seen", "handshake_seen", "fwd_reset_seen", "bwd_reset_seen"),
)
