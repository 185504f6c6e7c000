"""NFStream's flows as CSV, with statistical analysis or without.

Source: NFStream's flow.py and its accounting mode 0, the default: sizes are of frames, so 14 bytes of Ethernet a packet
are taken off. Deviations are of the sample and become ours of the population; statistics of nothing are 0, ours null.
"""

import numpy as np

from features.records.adapter import Adapter, Given, Numbers, Records
from features.records.sources.letters import only_tcp

MILLISECOND = 1e-3
ETHERNET = 14.0
SIDES = {"fwd": "src2dst", "bwd": "dst2src"}
FLAGS = ("syn", "cwr", "ece", "urg", "ack", "psh", "rst", "fin")


def _more(records: Records) -> Numbers:
    numbers = records.numbers
    counts = {f"{side}_": numbers[f"{side}_packets"] for side in SIDES}
    counts[""] = counts["fwd_"] + counts["bwd_"]
    made: Numbers = {}
    for prefix, packets in counts.items():
        for statistic in ("min", "mean", "max"):
            if (name := f"{prefix}length_{statistic}") in numbers:
                made[name] = numbers[name] - ETHERNET
        for name, count in ((f"{prefix}length_std", packets), (f"{prefix}gap_std_s", packets - 1)):
            if name in numbers:
                made[name] = numbers[name] * np.sqrt(np.maximum(count - 1, 0) / np.maximum(count, 1))
    return made | _handshake(numbers)


def _handshake(numbers: Numbers) -> Numbers:
    """Return what the numbers of flags tell; whether a lone ACK beside a RST is the RST's own is unknown."""
    if not {"fwd_syn_packets", "bwd_syn_packets", "fwd_ack_packets", "fwd_rst_packets"} <= numbers.keys():
        return {}
    acks, resets = numbers["fwd_ack_packets"], numbers["fwd_rst_packets"]
    answered = numbers["bwd_syn_packets"] > 0
    facts = {
        "syn_seen": (numbers["fwd_syn_packets"] > 0).astype(np.float64),
        "syn_ack_seen": answered.astype(np.float64),
        "handshake_seen": np.where(~answered | (acks == 0), 0.0, np.where(acks > resets, 1.0, np.nan)),
    }
    return {name: only_tcp(values, numbers["protocol"]) for name, values in facts.items()}


def _sides() -> tuple[Given, ...]:
    return tuple(
        given
        for side, way in SIDES.items()
        for given in (
            Given(f"{side}_packets", (f"{way}_packets",)),
            Given(f"{side}_bytes", (f"{way}_bytes",), minus=(f"{way}_packets",), minus_factor=ETHERNET),
            *(Given(f"{side}_{flag}_packets", (f"{way}_{flag}_packets",)) for flag in FLAGS),
        )
    )


def _statistics() -> tuple[Given, ...]:
    words = {"min": "min", "max": "max", "mean": "mean", "std": "stddev"}
    ways = {"fwd_": "src2dst", "bwd_": "dst2src", "": "bidirectional"}
    gaps = (
        Given(f"{prefix}gap_{name}_s", (f"{way}_{word}_piat_ms",), MILLISECOND)
        for prefix, way in ways.items()
        for name, word in words.items()
    )
    sizes = (
        Given(f"{prefix}length_{name}", (f"{way}_{word}_ps",))
        for prefix, way in ways.items()
        for name, word in words.items()
        if prefix or name in ("mean", "std")
    )
    return (*gaps, *sizes)


NFSTREAM = Adapter(
    name="nfstream",
    needs=(("bidirectional_first_seen_ms",), ("src2dst_packets",), ("dst2src_packets",), ("src2dst_bytes",)),
    given=(
        Given("start", ("bidirectional_first_seen_ms",), MILLISECOND),
        Given("duration_s", ("bidirectional_duration_ms",), MILLISECOND),
        Given("src_ip", ("src_ip",)),
        Given("src_port", ("src_port",)),
        Given("dst_ip", ("dst_ip",)),
        Given("dst_port", ("dst_port",)),
        Given("protocol", ("protocol",)),
        *_sides(),
        *_statistics(),
    ),
    more=_more,
    gives=("syn_seen", "syn_ack_seen", "handshake_seen"),
)
