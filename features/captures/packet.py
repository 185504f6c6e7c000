"""Frames to packets: one row a packet, or a reason why a frame has no place in a flow."""

import numpy as np

from features.captures.fragment_kernel import join_fragments
from features.captures.frames import FRAME
from features.captures.link_kernel import LINK_ETHERNET, strip_links
from features.captures.packet_kernel import decode_packets
from features.captures.packet_record import PACKET, Fragments, SkipReason, new_fragments

__all__ = ["PACKET", "Fragments", "SkipReason", "decode_bytes", "decode_frames", "new_fragments"]


def decode_frames(
    block: np.ndarray, rows: np.ndarray, packets: np.ndarray, skipped: np.ndarray, fragments: Fragments
) -> int:
    """Decode the frames of a block.

    Args:
        block: Bytes, uint8.
        rows: FRAME rows into it, used up: they come to hold where the datagrams lie.
        packets: PACKET rows to fill, as many as frames at least.
        skipped: Count a SkipReason, shape (len(SkipReason),), added to.
        fragments: First fragments seen, kept from call to call.

    Returns:
        Number of packets filled in.
    """
    strip_links(block, rows)
    kept, has_fragments = decode_packets(block, rows, packets, skipped)
    return join_fragments(packets[:kept], skipped, fragments) if has_fragments else kept


def decode_bytes(
    frame: bytes, link_type: int = LINK_ETHERNET, original: int | None = None
) -> tuple[SkipReason, np.void]:
    """Decode one frame given as bytes: the reason, and the PACKET row (all zero unless the reason is NONE)."""
    rows = np.zeros(1, dtype=FRAME)
    rows["captured"], rows["original"], rows["link_type"] = len(frame), original or len(frame), link_type
    packets = np.zeros(1, dtype=PACKET)
    skipped = np.zeros(len(SkipReason), dtype=np.int64)
    fragments = new_fragments(1, np.zeros(6, dtype=np.uint64))
    kept = decode_frames(np.frombuffer(frame, dtype=np.uint8), rows, packets, skipped, fragments)
    return SkipReason(int(skipped.argmax())), packets[0] if kept else np.zeros(1, dtype=PACKET)[0]
