"""UNSW-NB15: the four raw files (49 columns, no header) and the two partitions (no addresses or times).

Source: NUSW-NB15_features.csv of the data set. sbytes and dbytes are of frames as Argus counts them: 14 bytes of
Ethernet a packet are taken off. Gaps are milliseconds; handshake times are seconds, 0 where there was none.
"""

import numpy as np
import pyarrow as pa

from features.records.adapter import Adapter, Given, Numbers, Records
from features.records.sources.letters import has, only_tcp

ETHERNET = 14
MILLISECOND = 1e-3
UNSET = (0.0,)
RAW_COLUMNS = (
    "srcip sport dstip dsport proto state dur sbytes dbytes sttl dttl sloss dloss service Sload Dload Spkts Dpkts swin "
    "dwin stcpb dtcpb smeansz dmeansz trans_depth res_bdy_len Sjit Djit Stime Ltime Sintpkt Dintpkt tcprtt synack "
    "ackdat is_sm_ips_ports ct_state_ttl ct_flw_http_mthd is_ftp_login ct_ftp_cmd ct_srv_src ct_srv_dst ct_dst_ltm "
    "ct_src_ltm ct_src_dport_ltm ct_dst_sport_ltm ct_dst_src_ltm attack_cat Label"
)


def _more(records: Records) -> Numbers:
    """Return the handshake: its times are set where there was one, REQ and RST states had none."""
    numbers = records.numbers
    state = records.raw.get("state", pa.nulls(len(numbers["protocol"]), pa.string()))
    nothing = np.full(len(numbers["protocol"]), np.nan)
    delays = (numbers.get(f"{name}_delay_s", nothing) for name in ("syn_ack", "handshake_ack"))
    acknowledged, completed = (~np.isnan(delay) for delay in delays)
    answered = acknowledged | completed
    requested = has(state, lambda text: text == "REQ") == 1
    facts = {
        "syn_seen": np.where(answered | requested, 1, np.nan),
        "syn_ack_seen": np.where(answered, 1, np.where(requested & (numbers["bwd_packets"] == 0), 0, np.nan)),
        "handshake_seen": np.where(completed, 1, np.where(requested & ~answered, 0, np.nan)),
    }
    return {name: only_tcp(values.astype(np.float64), numbers["protocol"]) for name, values in facts.items()}


UNSW_NB15 = Adapter(
    name="unsw_nb15",
    needs=(("dur",), ("proto",), ("spkts", "Spkts"), ("dpkts", "Dpkts"), ("tcprtt",), ("ct_state_ttl",)),
    given=(
        Given("source_label", ("attack_cat", "Label", "label")),
        Given("start", ("Stime",)),
        Given("src_ip", ("srcip",)),
        Given("src_port", ("sport",)),
        Given("dst_ip", ("dstip",)),
        Given("dst_port", ("dsport",)),
        Given("protocol", ("proto",)),
        Given("duration_s", ("dur",)),
        Given("fwd_packets", ("spkts", "Spkts")),
        Given("bwd_packets", ("dpkts", "Dpkts")),
        Given("fwd_bytes", ("sbytes",), 1, ("spkts", "Spkts"), ETHERNET),
        Given("bwd_bytes", ("dbytes",), 1, ("dpkts", "Dpkts"), ETHERNET),
        Given("fwd_gap_mean_s", ("sinpkt", "Sintpkt"), MILLISECOND),
        Given("bwd_gap_mean_s", ("dinpkt", "Dintpkt"), MILLISECOND),
        Given("syn_ack_delay_s", ("synack",), unset=UNSET),
        Given("handshake_ack_delay_s", ("ackdat",), unset=UNSET),
    ),
    raw=("state",),
    more=_more,
    gives=("syn_seen", "syn_ack_seen", "handshake_seen"),
    without_header=(tuple(RAW_COLUMNS.split()),),
)
