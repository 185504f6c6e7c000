"""NetFlow 5, NetFlow 9 and IPFIX from export packets: one direction a record, unless reverse elements are there.

Source: IANA's registry of IPFIX information elements; RFC 3954; RFC 5103. Counts of octets are of whole IP datagrams.
Counts are multiplied by the sampling that the record, its sampler (told of by options records) or version 5's header
states.
"""

import numpy as np

from features.columns import ICMP, ICMPV6
from features.records.adapter import Adapter, Floats, Given, Numbers, Records
from features.records.sources.letters import bits, only_tcp

SYN, RST, ACK = 0x02, 0x04, 0x10
MILLISECOND = 1e-3
REASONS = (("1", "idle"), ("2", "active"), ("3", "tcp_end"), ("4", "forced"), ("5", "forced"))
"""flowEndReason: idle and active timeout, end of flow, forced end, lack of resources."""
COUNTED = ("fwd_packets", "fwd_bytes", "bwd_packets", "bwd_bytes")


def _more(records: Records) -> Numbers:
    numbers = records.numbers
    sampling = _floats(records, "sampling")
    counted = {name: numbers[name] * sampling for name in COUNTED if name in numbers}
    return counted | _icmp(records) | _flags(records)


def _floats(records: Records, name: str) -> Floats:
    if name not in records.raw:
        return np.full(len(records.version), np.nan)
    return records.raw[name].to_numpy(zero_copy_only=False)


def _icmp(records: Records) -> Numbers:
    """Return type and code from the fields for them, else from the destination port, where exporters write them."""
    protocol = records.numbers.get("protocol", np.full(len(records.version), np.nan))
    joined = records.numbers.get("dst_port", np.full(len(records.version), np.nan))
    for version in ("4", "6"):
        stated = _floats(records, f"icmpTypeCodeIPv{version}")
        joined = np.where(np.isnan(stated), joined, stated)
        parted = _floats(records, f"icmpTypeIPv{version}") * 256 + _floats(records, f"icmpCodeIPv{version}")
        joined = np.where(np.isnan(parted), joined, parted)
    icmp = np.isin(protocol, (ICMP, ICMPV6))
    return {"icmp_type": np.where(icmp, joined // 256, np.nan), "icmp_code": np.where(icmp, joined % 256, np.nan)}


def _flags(records: Records) -> Numbers:
    """Return resets, and the handshake where both directions are in one record."""
    forward, backward = (_floats(records, name) for name in ("tcpControlBits", "reverseTcpControlBits"))
    facts = {"fwd_reset_seen": bits(forward, RST), "bwd_reset_seen": bits(backward, RST)}
    if "reverseTcpControlBits" in records.raw:
        facts |= {
            "syn_seen": np.where(np.isnan(backward), np.nan, bits(forward, SYN)),
            "syn_ack_seen": bits(backward, SYN | ACK),
            "handshake_seen": np.minimum(bits(backward, SYN | ACK), bits(forward, ACK)),
        }
    protocol = records.numbers.get("protocol", np.full(len(forward), np.nan))
    return {name: only_tcp(values, protocol) for name, values in facts.items()}


EXPORTS = Adapter(
    name="netflow_export",
    needs=(("flowStartMilliseconds",), ("sourceIPv4Address", "sourceIPv6Address")),
    given=(
        Given("start", ("flowStartMilliseconds",), MILLISECOND),
        Given("end", ("flowEndMilliseconds",), MILLISECOND),
        Given("src_ip", ("sourceIPv4Address", "sourceIPv6Address")),
        Given("src_port", ("sourceTransportPort",)),
        Given("dst_ip", ("destinationIPv4Address", "destinationIPv6Address")),
        Given("dst_port", ("destinationTransportPort",)),
        Given("protocol", ("protocolIdentifier",)),
        Given("end_reason", ("flowEndReason",), words=REASONS),
        Given("fwd_packets", ("packetDeltaCount", "packetTotalCount", "initiatorPackets")),
        Given("fwd_bytes", ("octetDeltaCount", "octetTotalCount", "initiatorOctets")),
        Given("bwd_packets", ("reversePacketDeltaCount", "reversePacketTotalCount", "responderPackets")),
        Given("bwd_bytes", ("reverseOctetDeltaCount", "reverseOctetTotalCount", "responderOctets")),
    ),
    raw=(
        *("sampling", "tcpControlBits", "reverseTcpControlBits", "icmpTypeCodeIPv4", "icmpTypeCodeIPv6"),
        *("icmpTypeIPv4", "icmpCodeIPv4", "icmpTypeIPv6", "icmpCodeIPv6"),
    ),
    more=_more,
    gives=("icmp_type", "icmp_code", "fwd_reset_seen", "bwd_reset_seen", "syn_seen", "syn_ack_seen", "handshake_seen"),
)
