"""Frames to packets: one row a packet, or a reason why a frame has no place in a flow."""

import numpy as np

from features.frames import FRAME
from features.packet_kernel import LINK_ETHERNET, decode_frames
from features.packet_record import PACKET, Fragments, SkipReason, new_fragments

__all__ = ["PACKET", "Fragments", "SkipReason", "decode_bytes", "decode_frames", "new_fragments"]


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
