"""The raw flow: what the meter fills in packet by packet and hands out when the flow ends.

A row holds sums, extremes and firsts, nothing derived: means, rates and shares are computed from finished rows, whole
columns at a time. Index 0 of every pair is the forward direction (from the side that sent the first packet), 1 is
the backward one (RFC 5103). Lengths are IP datagram lengths in bytes taken from the headers, never captured bytes.
Times are nanoseconds, UTC. A sum of squares is a float because it outgrows 64 bits.

A live flow is a row of this, so every field is as narrow as its range allows: a flow ends at MOST_PACKETS, which no
counter of packets can outgrow; a length fits the 32 bits of a captured frame's. Durations that reach the feature table
as they are, in seconds of 32-bit floats, are held as such: extremes of rounded values are the rounded extremes. What
follows from other fields is left out: the gaps of a direction add up to its last time minus its first.
"""

import enum
from typing import Any

import numpy as np
import numpy.typing as npt

from features.metering.zeek_state import HISTORY_WORDS

Fields = dict[str, npt.NDArray[Any]]

FIRST_PACKETS = 16
"""How many packets of a flow keep their own length, gap and payload size."""

TCP_FLAGS = ("fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr")
"""TCP flag names in the order of their bits, lowest first (RFC 9293, RFC 3168)."""


class EndReason(enum.IntEnum):
    """Why a flow left the meter: the IPFIX information element flowEndReason (RFC 5102, 5.11.3) in words."""

    IDLE = 1
    ACTIVE = 2
    TCP_END = 3
    CAPTURE_END = 4
    FORCED = 5


MOST_PACKETS = (1 << 31) - 1
"""A flow of so many packets ends, as after the active timeout: its counters have 32 bits."""

LARGEST_FIRST_PAYLOAD = 65_535
"""A larger payload among a flow's first packets, which only segmentation offload makes, is kept as this."""

FLOW = np.dtype(
    [
        # the key, as the first packet had it
        ("src", "u1", (16,)),  # network order; IPv4 as ::ffff:a.b.c.d (RFC 4291, 2.5.5.2)
        ("dst", "u1", (16,)),
        ("src_port", "u2"),  # 0 where the protocol has none
        ("dst_port", "u2"),
        ("protocol", "u1"),  # IANA protocol number; IPv6's upper-layer protocol
        ("ip_version", "u1"),
        ("end_reason", "u1"),
        ("established", "u1"),  # TCP: SYN, SYN-ACK and the closing ACK were all seen
        ("vlan", "u4"),  # ids of the innermost tags, twelve bits each; 0 where there are none or they are no part of it
        (
            "facts",
            "i4",
        ),  # number of the row that says what its payload says, given when it is handed out; NEVER without
        # time and volumes, per direction
        ("packets", "i4", (2,)),
        ("first_ns", "i8"),
        ("last_ns", "i8"),
        ("bytes", "i8", (2,)),
        ("length_sq", "f8", (2,)),
        ("payload_bytes", "i8", (2,)),  # transport payload
        ("payload_sq", "f8", (2,)),
        ("dir_first_ns", "i8", (2,)),  # NEVER where the direction is empty
        ("dir_last_ns", "i8", (2,)),
        # gaps between packets: of one direction, and of the flow whatever the direction (index 2)
        ("gap_sq", "f8", (3,)),  # square nanoseconds
        ("gap_min_s", "f4", (3,)),  # infinite until the second packet
        ("gap_max_s", "f4", (3,)),
        ("length_min", "u4", (2,)),
        ("length_max", "u4", (2,)),
        ("payload_max", "u4", (2,)),
        ("data_packets", "i4", (2,)),  # packets that carry payload
        ("out_of_order", "i4", (2,)),  # packets whose time is before last_ns
        ("fragments", "i4", (2,)),
        ("ttl_min", "u1", (2,)),  # hop limit for IPv6; 255 until the first packet
        ("ttl_max", "u1", (2,)),
        ("icmp_type", "i2"),  # of the first packet; NEVER for other protocols
        ("icmp_code", "i2"),
        # TCP
        ("flags", "i4", (2, 8)),  # packets with the flag, in TCP_FLAGS order
        ("next_seq", "u4", (2,)),  # highest sequence number expected next
        ("window_first", "u2", (2,)),  # unscaled, 0 before the first TCP packet
        ("window_min", "u2", (2,)),  # 65535 before the first TCP packet
        ("window_max", "u2", (2,)),
        ("first_backward", "u2"),  # a bit for each of the first packets that went backward, the lowest for the first
        ("reset_seq", "u1", (2,)),  # low bits of the latest RST's sequence number
        ("zero_windows", "i4", (2,)),  # packets other than RST that advertise no room
        ("retransmissions", "i4", (2,)),  # data, SYN or FIN below next_seq
        ("syn_ns", "i8"),  # first SYN of the forward side
        ("syn_ack_ns", "i8"),  # first SYN-ACK of the backward side
        ("handshake_ns", "i8"),  # first forward ACK after the SYN-ACK
        ("first_payload_s", "f4", (2,)),  # since first_ns; infinite without payload
        # TCP as Zeek tells it (features.metering.zeek_state)
        ("endpoint", "u1", (2,)),  # Endpoint of each side
        ("letters_seen", "u1", (2,)),  # a bit for each kind of packet that each side has sent
        ("history", "u4", (HISTORY_WORDS,)),  # Letter codes of 5 bits each, the first in the lowest
        # activity: runs of packets with no gap above MeterSettings.activity_gap_s, and the gaps between such runs
        ("active_start_ns", "i8"),
        ("idle_sum", "i8"),
        ("active_count", "i4"),  # runs completed, the one in progress left out
        ("active_max_s", "f4"),
        # the first packets, in order of arrival; 0 behind the last one
        ("first_payload", "u2", (FIRST_PACKETS,)),  # at most LARGEST_FIRST_PAYLOAD
        ("first_gap_s", "f4", (FIRST_PACKETS,)),  # since the packet before; 0 for the first
    ],
    align=True,
)
"""One flow, a row of the meter's table and of every batch it hands out: the fields that every packet changes first."""
