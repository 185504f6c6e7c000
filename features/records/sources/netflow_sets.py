"""The NF-* NetFlow data sets, versions 1 and 2 (and 3, which adds times), as CSV or Parquet.

Source: Sarhan, Layeghy, Portmann: Towards a Standard Feature Set for Network Intrusion Detection System Datasets, 2022.
nProbe made them: IN is client to server, bytes are IP bytes. Flags are one byte for the whole flow, and since version 2
one for each side as well, all that it ever set. Copies of the sets often come without addresses.
"""

import numpy as np
import pyarrow as pa

from features.columns import ICMP
from features.records.adapter import Adapter, Floats, Given, Numbers, Records
from features.records.cells import numbers
from features.records.sources.letters import bits, only_tcp

MILLISECOND = 1e-3
SYN, RST, ACK = 0x02, 0x04, 0x10


def _more(records: Records) -> Numbers:
    """Return the handshake by the flags of each side; a side without packets set none."""
    known = records.numbers
    forward, backward = (_flags(records, f"{side}_TCP_FLAGS") for side in ("CLIENT", "SERVER"))
    silent = known["bwd_packets"] == 0
    answered = np.where(silent, 0.0, bits(backward, SYN | ACK))
    facts = {
        "syn_seen": bits(forward, SYN),
        "syn_ack_seen": np.where(np.isnan(forward), np.nan, answered),
        "handshake_seen": np.minimum(answered, bits(forward, ACK)),
        "fwd_reset_seen": bits(forward, RST),
        "bwd_reset_seen": np.where(np.isnan(forward), np.nan, np.where(silent, 0.0, bits(backward, RST))),
    }
    icmp = known["protocol"] == ICMP
    return {name: only_tcp(values, known["protocol"]) for name, values in facts.items()} | {
        name: np.where(icmp, known[name], np.nan) for name in ("icmp_type",) if name in known
    }


def _flags(records: Records, name: str) -> Floats:
    if name not in records.raw:
        return np.full(len(records.version), np.nan)
    return numbers(records.raw[name].cast(pa.string())).values


NF_SETS = Adapter(
    name="nf_sets",
    needs=(("PROTOCOL",), ("IN_PKTS",), ("OUT_PKTS",), ("FLOW_DURATION_MILLISECONDS",)),
    given=(
        Given("source_label", ("Attack", "Label")),
        Given("start", ("FLOW_START_MILLISECONDS",), MILLISECOND),
        Given("end", ("FLOW_END_MILLISECONDS",), MILLISECOND),
        Given("duration_s", ("FLOW_DURATION_MILLISECONDS",), MILLISECOND),
        Given("src_ip", ("IPV4_SRC_ADDR",)),
        Given("src_port", ("L4_SRC_PORT",)),
        Given("dst_ip", ("IPV4_DST_ADDR",)),
        Given("dst_port", ("L4_DST_PORT",)),
        Given("protocol", ("PROTOCOL",)),
        Given("icmp_type", ("ICMP_IPV4_TYPE",)),
        Given("fwd_packets", ("IN_PKTS",)),
        Given("bwd_packets", ("OUT_PKTS",)),
        Given("fwd_bytes", ("IN_BYTES",)),
        Given("bwd_bytes", ("OUT_BYTES",)),
        Given("fwd_retransmissions", ("RETRANSMITTED_IN_PKTS",)),
        Given("bwd_retransmissions", ("RETRANSMITTED_OUT_PKTS",)),
        Given("fwd_window_max", ("TCP_WIN_MAX_IN",)),
        Given("bwd_window_max", ("TCP_WIN_MAX_OUT",)),
        Given("fwd_gap_min_s", ("SRC_TO_DST_IAT_MIN",), MILLISECOND),
        Given("fwd_gap_max_s", ("SRC_TO_DST_IAT_MAX",), MILLISECOND),
        Given("fwd_gap_mean_s", ("SRC_TO_DST_IAT_AVG",), MILLISECOND),
        Given("bwd_gap_min_s", ("DST_TO_SRC_IAT_MIN",), MILLISECOND),
        Given("bwd_gap_max_s", ("DST_TO_SRC_IAT_MAX",), MILLISECOND),
        Given("bwd_gap_mean_s", ("DST_TO_SRC_IAT_AVG",), MILLISECOND),
    ),
    raw=("CLIENT_TCP_FLAGS", "SERVER_TCP_FLAGS"),
    more=_more,
    gives=("syn_seen", "syn_ack_seen", "handshake_seen", "fwd_reset_seen", "bwd_reset_seen"),
)
