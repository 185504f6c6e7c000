"""Frames to packets: one row a packet, or a reason why a frame has no place in a flow."""

import numpy as np

from features.captures.fragment_kernel import join_fragments
from features.captures.frames import FRAME
from features.captures.link_kernel import LINK_ETHERNET, strip_links
from features.captures.packet_kernel import decode_packets, try_packets
from features.captures.packet_record import PACKET, Fragments, SkipReason, Tunnel, Tunnels, new_fragments, new_tunnels
from features.captures.tunnel_kernel import enter_tunnels, keep_inner

__all__ = [
    "PACKET",
    "Fragments",
    "SkipReason",
    "Tunnel",
    "Tunnels",
    "decode_bytes",
    "decode_frames",
    "new_fragments",
    "new_tunnels",
]


def decode_frames(
    block: np.ndarray,
    rows: np.ndarray,
    packets: np.ndarray,
    skipped: np.ndarray,
    fragments: Fragments,
    tunnels: Tunnels | None = None,
) -> int:
    """Decode the frames of a block.

    Args:
        block: Bytes, uint8.
        rows: FRAME rows into it, used up: they come to hold where the datagrams lie.
        packets: PACKET rows to fill, as many as frames at least.
        skipped: Count a SkipReason, shape (len(SkipReason),), added to.
        fragments: First fragments seen, kept from call to call.
        tunnels: Room for as many frames, counts added to; None to take the packets outside of tunnels.

    Returns:
        Number of packets filled in.
    """
    strip_links(block, rows)
    if tunnels:
        _unwrap(block, rows, packets, tunnels)
    kept, has_fragments = decode_packets(block, rows, packets, skipped)
    return join_fragments(packets[:kept], skipped, fragments) if has_fragments else kept


def _unwrap(block: np.ndarray, rows: np.ndarray, packets: np.ndarray, tunnels: Tunnels) -> None:
    """Put the innermost packet that can be decoded in the place of each outer one; every round is a tunnel deeper."""
    candidates = np.arange(len(rows), dtype=np.int32)
    while found := enter_tunnels(block, rows, candidates, tunnels):
        strip_links(block, tunnels.rows[:found])
        reasons = np.empty(found, dtype=np.uint8)
        try_packets(block, tunnels.rows[:found], packets, reasons)
        candidates = tunnels.places[: keep_inner(rows, found, reasons, tunnels)].copy()


def decode_bytes(
    frame: bytes, link_type: int = LINK_ETHERNET, original: int | None = None, tunnels: Tunnels | None = None
) -> tuple[SkipReason, np.void]:
    """Decode one frame given as bytes: the reason, and the PACKET row (all zero unless the reason is NONE)."""
    rows = np.zeros(1, dtype=FRAME)
    rows["captured"], rows["original"], rows["link_type"] = len(frame), original or len(frame), link_type
    packets = np.zeros(1, dtype=PACKET)
    skipped = np.zeros(len(SkipReason), dtype=np.int64)
    fragments = new_fragments(1, np.zeros(6, dtype=np.uint64))
    kept = decode_frames(np.frombuffer(frame, dtype=np.uint8), rows, packets, skipped, fragments, tunnels)
    return SkipReason(int(skipped.argmax())), packets[0] if kept else np.zeros(1, dtype=PACKET)[0]
