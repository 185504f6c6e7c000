"""Which of our flows is which of theirs: by 5-tuple, whichever side sent, and by order in time.

No reference tells absolute times (they are masked in Zeek's baselines and absent from the others), so several flows of
one 5-tuple are told apart by their packets and bytes first and by their order second.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.agreement.flows import Flow
from benchmarks.agreement.frames import End, Key, address_bytes
from benchmarks.agreement.references import Reference


@dataclass(frozen=True)
class Measure:
    """What a byte is to a tool: the size of every frame to it, and to us."""

    sizes: Sequence[int]
    lengths: Sequence[int]


@dataclass(frozen=True)
class Pair:
    """A flow of theirs, and ours if there is one of the same 5-tuple.

    Attributes:
        theirs: The reference.
        ours: Our flow.
        sender: End that they hold for the sender.
        same_packets: Both directions agree.
        same_bytes: Likewise.
    """

    theirs: Reference
    ours: Flow | None
    sender: End | None
    same_packets: bool = False
    same_bytes: bool = False

    @property
    def agrees(self) -> bool:
        """Packets and bytes agree."""
        return self.same_packets and self.same_bytes


def keys_of(theirs: Reference) -> list[tuple[Key, End, End]]:
    """Return every 5-tuple that a reference can mean, each with the sender's end and the other."""
    found = []
    for src in address_bytes(theirs.src[0]):
        for dst in address_bytes(theirs.dst[0]):
            sender, receiver = End(src, theirs.src[1]), End(dst, theirs.dst[1])
            found.append((Key.of(theirs.protocol, sender, receiver), sender, receiver))
    return found


def join(references: Sequence[Reference], flows: Sequence[Flow], measure: Measure) -> tuple[list[Pair], list[Flow]]:
    """Return a pair a reference, in their order, and those of our flows that are in none."""
    free: dict[Key, list[Flow]] = defaultdict(list)
    for flow in flows:
        free[flow.key].append(flow)
    pairs: dict[int, Pair] = {}
    for wanted in ("agrees", "same_packets", ""):
        for place, theirs in enumerate(references):
            if place not in pairs and (pair := _partner(theirs, free, measure, wanted)):
                pairs[place] = pair
    joined = [pairs.get(place, Pair(theirs, None, None)) for place, theirs in enumerate(references)]
    return joined, [flow for rest in free.values() for flow in rest]


def _partner(theirs: Reference, free: dict[Key, list[Flow]], measure: Measure, wanted: str) -> Pair | None:
    """Return the first free flow of the reference's 5-tuple that is alike in what is wanted, and take it."""
    for key, sender, _ in keys_of(theirs):
        for flow in free.get(key, []):
            pair = compared(theirs, flow, sender, measure)
            if not wanted or getattr(pair, wanted):
                free[key].remove(flow)
                return pair
    return None


def compared(theirs: Reference, flow: Flow, sender: End, measure: Measure) -> Pair:
    """Return the pair of a reference and one of our flows."""
    size = flow.bytes(sender, measure.sizes, measure.lengths)
    return Pair(theirs, flow, sender, flow.packets(sender) == theirs.packets, size == theirs.bytes)


def join_by_totals(
    references: Sequence[Reference], flows: Sequence[Flow], measure: Measure
) -> tuple[list[Pair], list[Flow]]:
    """Join where only totals are told: equal packets and bytes make a pair, flow for flow."""
    free: dict[tuple[int, int], list[Flow]] = defaultdict(list)
    for flow in flows:
        total = sum(flow.packets(flow.src)), sum(flow.bytes(flow.src, measure.sizes, measure.lengths))
        free[total].append(flow)
    pairs = []
    for theirs in references:
        same = free.get((theirs.packets[0], theirs.bytes[0]), [])
        found = same.pop(0) if same else None
        pairs.append(Pair(theirs, found, found.src if found else None, found is not None, found is not None))
    return pairs, [flow for rest in free.values() for flow in rest]
