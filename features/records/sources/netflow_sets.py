"""The NF-* NetFlow data sets, versions 1 and 2 (and 3, which adds times), as CSV or Parquet.

Source: Sarhan, Layeghy, Portmann: Towards a Standard Feature Set for Network Intrusion Detection System Datasets, 2022.
nProbe made them: IN is client to server, bytes are IP bytes, flags are one byte for the whole flow.
"""

from features.records.adapter import Adapter, Given

MILLISECOND = 1e-3
NF_SETS = Adapter(
    name="nf_sets",
    needs=(("IPV4_SRC_ADDR",), ("PROTOCOL",), ("IN_PKTS",), ("OUT_PKTS",), ("FLOW_DURATION_MILLISECONDS",)),
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
)
