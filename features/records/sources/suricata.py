"""Suricata's EVE: `flow` events (both directions) and `netflow` events (one record a direction).

Source: Suricata's documentation of the EVE JSON format. Its byte counts are of frames: 14 bytes of Ethernet a packet
are taken off, so padding of short frames and VLAN tags stay in. A netflow event says nothing of the other direction.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from features.records.adapter import Adapter, Given, Numbers, Records
from features.records.sources.letters import bit, only_tcp

ETHERNET = 14
SYN, RST, ACK = 0x02, 0x04, 0x10
ACK_AND_SYN = SYN | ACK
FACTS = ("syn_seen", "syn_ack_seen", "handshake_seen", "fwd_reset_seen", "bwd_reset_seen")
"""What flag_facts gives."""
REASONS = (("timeout", "idle"), ("forced", "forced"), ("shutdown", "capture_end"))
"""Words of Suricata's flow.reason; tcp_end has none, because it calls a closed flow's removal a timeout too."""


def _is_flow(raw: Mapping[str, pa.Array]) -> npt.NDArray[np.bool_]:
    wanted = pc.is_in(raw["event_type"], pa.array(["flow", "netflow"]))
    return pc.fill_null(wanted, False).to_numpy(zero_copy_only=False)


def flag_facts(records: Records) -> Numbers:
    """Return what the TCP flags of both sides say."""
    forward, backward = (records.raw.get(f"tcp|tcp_flags_{side}") for side in ("ts", "tc"))
    if forward is None or backward is None:
        return {}
    facts = {
        "syn_seen": bit(forward, SYN),
        "syn_ack_seen": bit(backward, ACK_AND_SYN),
        "handshake_seen": np.minimum(bit(backward, ACK_AND_SYN), bit(forward, ACK)),
        "fwd_reset_seen": bit(forward, RST),
        "bwd_reset_seen": bit(backward, RST),
    }
    return {name: only_tcp(values, records.numbers["protocol"]) for name, values in facts.items()}


SURICATA_EVE = Adapter(
    name="suricata_eve",
    needs=(("event_type",), ("src_ip", "stats|uptime"), ("dest_ip", "timestamp")),
    given=(
        Given("start", ("flow|start", "netflow|start")),
        Given("end", ("flow|end", "netflow|end")),
        Given("src_ip", ("src_ip",)),
        Given("src_port", ("src_port",)),
        Given("dst_ip", ("dest_ip",)),
        Given("dst_port", ("dest_port",)),
        Given("protocol", ("proto",)),
        Given("icmp_type", ("icmp_type",)),
        Given("icmp_code", ("icmp_code",)),
        Given("community_id", ("community_id",)),
        Given("end_reason", ("flow|reason",), words=REASONS),
        Given("fwd_packets", ("flow|pkts_toserver", "netflow|pkts")),
        Given("bwd_packets", ("flow|pkts_toclient",)),
        Given(
            "fwd_bytes", ("flow|bytes_toserver", "netflow|bytes"), 1, ("flow|pkts_toserver", "netflow|pkts"), ETHERNET
        ),
        Given("bwd_bytes", ("flow|bytes_toclient",), 1, ("flow|pkts_toclient",), ETHERNET),
    ),
    raw=("event_type", "tcp|tcp_flags_ts", "tcp|tcp_flags_tc"),
    nulls=(),
    more=flag_facts,
    gives=FACTS,
    keep=_is_flow,
)
