"""The raw flow: what the meter fills in packet by packet and hands out when the flow ends.

A row holds sums, extremes and firsts, nothing derived: means, rates and shares are computed from finished rows, whole
columns at a time. Index 0 of every pair is the forward direction (from the side that sent the first packet), 1 is
the backward one (RFC 5103). Lengths are IP datagram lengths in bytes taken from the headers, never captured bytes.
Times are nanoseconds, UTC. A sum of squares is a float because it outgrows 64 bits.
"""

import enum

import numpy as np

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
        # time
        ("first_ns", "i8"),
        ("last_ns", "i8"),
        ("dir_first_ns", "i8", (2,)),  # NEVER where the direction is empty
        ("dir_last_ns", "i8", (2,)),
        # volumes, per direction
        ("packets", "i8", (2,)),
        ("bytes", "i8", (2,)),
        ("payload_bytes", "i8", (2,)),  # transport payload
        ("data_packets", "i8", (2,)),  # packets that carry payload
        ("length_min", "i8", (2,)),
        ("length_max", "i8", (2,)),
        ("length_sq", "f8", (2,)),
        ("payload_max", "i8", (2,)),
        ("payload_sq", "f8", (2,)),
        # gaps between packets: of one direction, and of the flow whatever the direction (index 2)
        ("gap_min", "i8", (3,)),  # NEVER until the second packet
        ("gap_max", "i8", (3,)),
        ("gap_sum", "i8", (3,)),
        ("gap_sq", "f8", (3,)),
        # activity: runs of packets with no gap above MeterSettings.activity_gap_s, and the gaps between such runs
        ("active_start_ns", "i8"),
        ("active_count", "i8"),  # runs completed, the one in progress left out
        ("active_sum", "i8"),
        ("active_max", "i8"),
        ("idle_count", "i8"),
        ("idle_sum", "i8"),
        ("idle_max", "i8"),
        # TCP
        ("flags", "i4", (2, 8)),  # packets with the flag, in TCP_FLAGS order
        ("window_first", "i4", (2,)),  # unscaled, NEVER before the first TCP packet
        ("window_min", "i4", (2,)),
        ("window_max", "i4", (2,)),
        ("zero_windows", "i4", (2,)),  # packets other than RST that advertise no room
        ("next_seq", "u4", (2,)),  # highest sequence number expected next
        ("retransmissions", "i4", (2,)),  # data, SYN or FIN below next_seq
        ("out_of_order", "i4", (2,)),  # packets whose time is before last_ns
        ("syn_ns", "i8"),  # first SYN of the forward side
        ("syn_ack_ns", "i8"),  # first SYN-ACK of the backward side
        ("handshake_ns", "i8"),  # first forward ACK after the SYN-ACK
        ("first_payload_ns", "i8", (2,)),
        # network
        ("ttl_min", "u1", (2,)),  # hop limit for IPv6; 255 until the first packet
        ("ttl_max", "u1", (2,)),
        ("fragments", "i4", (2,)),
        ("icmp_type", "i2"),  # of the first packet; NEVER for other protocols
        ("icmp_code", "i2"),
        # the first packets, in order of arrival
        ("first_count", "i4"),
        ("first_length", "i4", (FIRST_PACKETS,)),  # IP length, negative when backward; 0 beyond first_count
        ("first_payload", "i4", (FIRST_PACKETS,)),
        ("first_gap_ns", "i8", (FIRST_PACKETS,)),  # since the packet before; 0 for the first
    ],
    align=True,
)
"""One flow, a row of the meter's table and of every batch it hands out."""
