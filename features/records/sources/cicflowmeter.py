"""CICFlowMeter CSV in three dialects: CICIDS2017's names, CSE-CIC-IDS2018's short names, and those of version 4.

Source: the tool's code (BasicFlow.java, FlowFeature.java). Its packet lengths are payload lengths; its header length is
the transport header's for TCP and not to be relied on for UDP; deviations are of the sample and become ours of the
population. Its flag counts are of both directions but for PSH, URG and, in some versions, RST and FIN. Times are
microseconds. Activity and idleness have another limit (5 s) than ours and are left out. The Python tool of the same
name writes flow_byts_s and its like in units that changed between versions: not taken.
"""

import numpy as np
import numpy.typing as npt

from features.columns import TCP, UDP
from features.records.adapter import Adapter, Floats, Given, Numbers, Records
from features.records.sources.letters import only_tcp

MICROSECOND = 1e-6
IPV4_HEADER, UDP_HEADER = 20, 8
NO_WINDOW = (-1.0,)


def _more(records: Records) -> Numbers:
    numbers = records.numbers
    made = dict(_populations(numbers))
    for side in ("fwd", "bwd"):
        made |= _ip_bytes(numbers, records.version, side)
    return made | _handshake(numbers)


def _populations(numbers: Numbers) -> Numbers:
    """Return deviations of the population from those of the sample: n values of n - 1."""
    sides = {side: numbers[f"{side}_packets"] for side in ("fwd", "bwd") if f"{side}_packets" in numbers}
    counts = {f"{side}_payload_std": packets for side, packets in sides.items()}
    counts |= {f"{side}_gap_std_s": packets - 1 for side, packets in sides.items()}
    if len(sides) == 2:
        counts["gap_std_s"] = sides["fwd"] + sides["bwd"] - 1
    return {name: _of_population(numbers[name], count) for name, count in counts.items() if name in numbers}


def _of_population(deviation: Floats, count: Floats) -> Floats:
    return deviation * np.sqrt(np.maximum(count - 1, 0) / np.maximum(count, 1))


def _ip_bytes(numbers: Numbers, version: npt.NDArray[np.uint8], side: str) -> Numbers:
    """Return IP bytes: payload, transport headers and IPv4 headers without options."""
    if not {f"{side}_payload_bytes", f"{side}_packets", "protocol"} <= numbers.keys():
        return {}
    packets, protocol = numbers[f"{side}_packets"], numbers["protocol"]
    headers = numbers.get(f"{side}_header_bytes", np.full(len(packets), np.nan))
    transport = np.where(protocol == TCP, headers, np.where(protocol == UDP, UDP_HEADER * packets, np.nan))
    size = numbers[f"{side}_payload_bytes"] + transport + IPV4_HEADER * packets
    return {f"{side}_bytes": np.where((version == 6) | (transport < 0), np.nan, size)}


def _handshake(numbers: Numbers) -> Numbers:
    """Return what the number of SYNs tells, in versions that count flags aright: those that tell RSTs by side."""
    if not {"syn_packets", "fwd_rst_packets", "bwd_packets", "bwd_payload_bytes", "protocol"} <= numbers.keys():
        return {}
    syn, answered = numbers["syn_packets"] > 0, numbers["bwd_packets"] > 0
    served = numbers["bwd_payload_bytes"] > 0
    acknowledged = np.where(syn & served, 1.0, np.where(syn & answered, np.nan, 0.0))
    facts = {"syn_seen": syn.astype(np.float64), "syn_ack_seen": acknowledged, "handshake_seen": acknowledged}
    return {name: only_tcp(values, numbers["protocol"]) for name, values in facts.items()}


def _statistics() -> tuple[Given, ...]:
    """Return the columns that come in minimum, maximum, mean and deviation."""
    words = {"min": "Min", "max": "Max", "mean": "Mean", "std": "Std"}
    gaps = {"fwd_": "Fwd", "bwd_": "Bwd", "": "Flow"}
    return (
        *(
            Given(f"{prefix}gap_{statistic}_s", (f"{side} IAT {word}",), MICROSECOND)
            for prefix, side in gaps.items()
            for statistic, word in words.items()
        ),
        *(
            Given(f"{side}_payload_{statistic}", (f"{name} Packet Length {word}", f"{name} Pkt Len {word}"))
            for side, name in (("fwd", "Fwd"), ("bwd", "Bwd"))
            for statistic, word in words.items()
            if statistic != "min"
        ),
    )


CICFLOWMETER = Adapter(
    name="cicflowmeter",
    needs=(
        ("Flow Duration",),
        ("Total Fwd Packets", "Tot Fwd Pkts", "Total Fwd Packet"),
        ("Flow IAT Mean",),
    ),
    given=(
        Given("source_label", ("Label",)),
        Given("start", ("Timestamp",)),
        Given("duration_s", ("Flow Duration",), MICROSECOND),
        Given("src_ip", ("Src IP", "Source IP")),
        Given("src_port", ("Src Port", "Source Port")),
        Given("dst_ip", ("Dst IP", "Destination IP")),
        Given("dst_port", ("Dst Port", "Destination Port")),
        Given("protocol", ("Protocol",)),
        Given("icmp_type", ("ICMP Type",), unset=(-1.0,)),
        Given("icmp_code", ("ICMP Code",), unset=(-1.0,)),
        Given("fwd_packets", ("Total Fwd Packets", "Tot Fwd Pkts", "Total Fwd Packet")),
        Given("bwd_packets", ("Total Backward Packets", "Tot Bwd Pkts", "Total Bwd packets")),
        Given(
            "fwd_payload_bytes",
            (
                "Total Length of Fwd Packets",
                "TotLen Fwd Pkts",
                "Total Length of Fwd Packet",
                "Fwd Packets Length Total",
            ),
        ),
        Given(
            "bwd_payload_bytes",
            (
                "Total Length of Bwd Packets",
                "TotLen Bwd Pkts",
                "Total Length of Bwd Packet",
                "Bwd Packets Length Total",
            ),
        ),
        Given("fwd_header_bytes", ("Fwd Header Length", "Fwd Header Len")),
        Given("bwd_header_bytes", ("Bwd Header Length", "Bwd Header Len")),
        Given("fwd_data_packets", ("Fwd Act Data Pkts", "act_data_pkt_fwd", "Fwd Act Data Packets")),
        Given(
            "fwd_window_first",
            ("FWD Init Win Bytes", "Init Fwd Win Byts", "Init_Win_bytes_forward", "Init Fwd Win Bytes"),
            unset=NO_WINDOW,
        ),
        Given(
            "bwd_window_first",
            ("Bwd Init Win Bytes", "Init Bwd Win Byts", "Init_Win_bytes_backward", "Init Bwd Win Bytes"),
            unset=NO_WINDOW,
        ),
        Given("syn_packets", ("SYN Flag Count", "SYN Flag Cnt")),
        Given("fwd_rst_packets", ("Fwd RST Flags",)),
        Given("bwd_rst_packets", ("Bwd RST Flags",)),
        *_statistics(),
    ),
    more=_more,
    gives=("fwd_bytes", "bwd_bytes", "syn_seen", "syn_ack_seen", "handshake_seen"),
    foreign=("flow_byts_s",),
)
