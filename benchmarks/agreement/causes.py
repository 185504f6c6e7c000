"""Why a flow of theirs is not one of ours, shown on the frames.

Every packet of their flow is looked for in the capture by its 5-tuple. A cause holds only if the packets that it leaves
over are exactly their flow: their packets and bytes, in both directions. What none explains stays unexplained.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from benchmarks.agreement.flows import Flow
from benchmarks.agreement.frames import Frame, Key, Sighting, locate
from benchmarks.agreement.joining import Pair, keys_of
from benchmarks.agreement.references import Reference
from benchmarks.agreement.rules import Cause, LeaveOut, Reason, Rules, misread_offsets, otherwise
from features.metering.flow_record import EndReason

SECOND = 1_000_000_000
FIN, RST = 1, 4
DNS = (53).to_bytes(2)


@dataclass(frozen=True)
class Selection:
    """Packets that together are a flow of theirs, and what had to be left out to get them."""

    packets: tuple[Sighting, ...]
    reasons: frozenset[Reason] = frozenset()


@dataclass(frozen=True)
class Case:
    """A flow of theirs beside the capture.

    Attributes:
        theirs: The reference.
        frames: Of the capture.
        rules: Of the other tool.
    """

    theirs: Reference
    frames: Sequence[Frame]
    rules: Rules

    def is_flow(self, packets: Sequence[Sighting]) -> bool:
        """Tell whether packets are their flow: those and bytes of each direction, or in total if only that is told."""
        count, size = [0, 0], [0, 0]
        for one in packets:
            count[one.way] += 1
            size[one.way] += self.rules.size(self.frames[one.index], one)
        if len(self.theirs.packets) == 1:
            return (sum(count), sum(size)) == (self.theirs.packets[0], self.theirs.bytes[0])
        return tuple(count) == self.theirs.packets and tuple(size) == self.theirs.bytes


@dataclass(frozen=True)
class Finding:
    """Why a flow of theirs is not one of ours, and its frames."""

    reasons: frozenset[Reason]
    frames: frozenset[int] = frozenset()

    @property
    def explained(self) -> bool:
        """A rule gives their numbers."""
        return Reason(Cause.UNKNOWN) not in self.reasons


def explain(pair: Pair, case: Case, flows: Sequence[Flow]) -> Finding:
    """Return why a flow of theirs is not one of ours.

    Args:
        pair: The flow, joined with ours or not.
        case: The same beside the capture.
        flows: Every flow of ours in the capture.
    """
    for key, sender, receiver in keys_of(pair.theirs):
        seen = locate(case.frames, key.protocol, sender, receiver)
        ours = [flow for flow in flows if flow.key == key]
        for chosen in _selections(case, seen):
            if reasons := chosen.reasons | _ours(chosen, seen, key, case, ours):
                return Finding(reasons, frozenset(one.index for one in chosen.packets))
    return Finding(frozenset({Reason(Cause.UNKNOWN)}))


def explain_misread(theirs: Reference, frames: Sequence[Frame], rules: Rules) -> Finding:
    """Return the frames without IP that together are a flow of theirs if their bytes are read as IP nevertheless."""
    groups: dict[bytes, list[Sighting]] = defaultdict(list)
    for index, frame in enumerate(frames):
        for at in misread_offsets(frame):
            data, size = frame.data, 4 if frame.data[at] >> 4 == 4 else 16
            start = at + (12 if size == 4 else 8)
            ends = sorted((data[start : start + size], data[start + size : start + 2 * size]))
            groups[b"".join(ends) + data[at + 9 : at + 10]].append(Sighting(index, 0, at, 0, 0, at, False, None))
    for packets in groups.values():
        if Case(theirs, frames, rules).is_flow(packets):
            return Finding(frozenset({Reason(Cause.MISREAD)}), frozenset(one.index for one in packets))
    return Finding(frozenset({Reason(Cause.UNKNOWN)}))


def explain_ours(
    flow: Flow, frames: Sequence[Frame], told: Mapping[Key, frozenset[Reason]], rules: Rules
) -> frozenset[Reason]:
    """Return why one of our flows is none of theirs.

    Args:
        flow: Ours.
        frames: Of the capture.
        told: Why flows of theirs are not ours, by key.
        rules: Of the other tool: they may leave out every packet of it.
    """
    if flow.key in told:
        return told[flow.key]
    seen = [one for one in locate(frames, flow.key.protocol, flow.key.low, flow.key.high) if one.index in flow.frames]
    left_out = [[reason for rule in rules.leave_out if (reason := rule(one, frames[one.index]))] for one in seen]
    if left_out and all(left_out):
        return frozenset(reasons[0] for reasons in left_out)
    return frozenset({Reason(Cause.UNKNOWN)})


def _selections(case: Case, seen: Sequence[Sighting]) -> Iterator[Selection]:
    """Yield the ways to make their flow of the packets seen, the simplest first."""
    narrowed = list(_narrowed(case, seen))
    for chosen in narrowed:
        if case.is_flow(chosen.packets):
            yield chosen
        yield from _of_one_vlan(case, chosen)
    for chosen in narrowed if case.rules.timers else ():
        yield from _stretches(case, chosen)
        yield from _flipped(case, chosen)


def _narrowed(case: Case, seen: Sequence[Sighting]) -> Iterator[Selection]:
    """Yield all packets, and then those that are left when one rule is followed, two rules, and so on."""
    wholes = [Selection(tuple(one for one in seen if not one.later_fragment))]
    if case.rules.puts_together:
        reasons = frozenset({Reason(Cause.FRAGMENTS)})
        wholes.append(Selection(put_together(seen, case.frames), reasons))
        wholes.append(Selection(_in_whole_packets(case, seen), reasons))
    for whole in wholes:
        left_out = [_left_out(case, whole, rule) for rule in case.rules.leave_out]
        for count in range(len(left_out) + 1):
            for chosen in combinations(left_out, count):
                yield _without(whole, chosen)


def _in_whole_packets(case: Case, seen: Sequence[Sighting]) -> tuple[Sighting, ...]:
    """Leave out what lies in an outer packet of which not every fragment was seen."""
    whole: set[int] = set()
    for outer in {key for one in seen if (key := case.frames[one.index].key)}:
        fragments = locate(case.frames, outer.protocol, outer.low, outer.high)
        whole |= {one.index for one in put_together(fragments, case.frames)}
    return tuple(one for one in seen if one.index in whole and not one.later_fragment)


def _left_out(case: Case, whole: Selection, rule: LeaveOut) -> dict[int, Reason]:
    """Return the packets, by place, that a rule leaves out."""
    found = ((place, rule(one, case.frames[one.index])) for place, one in enumerate(whole.packets))
    return {place: reason for place, reason in found if reason}


def _without(whole: Selection, chosen: Sequence[dict[int, Reason]]) -> Selection:
    out = {place: reason for rule in chosen for place, reason in rule.items()}
    kept = tuple(one for place, one in enumerate(whole.packets) if place not in out)
    # a link header that neither takes explains nothing
    return Selection(kept, whole.reasons | {reason for reason in out.values() if reason.cause is not Cause.LINK})


def _of_one_vlan(case: Case, chosen: Selection) -> Iterator[Selection]:
    tags = {one.vlan for one in chosen.packets}
    if case.rules.vlans and len(tags) > 1:
        for tag in tags if case.theirs.vlan is None else {case.theirs.vlan}:
            packets = tuple(one for one in chosen.packets if one.vlan == tag)
            if case.is_flow(packets):
                yield Selection(packets, chosen.reasons | {Reason(Cause.VLAN)})


def _stretches(case: Case, chosen: Selection) -> Iterator[Selection]:
    """Yield the runs of packets without a gap that are their flow and that a timer of theirs can have cut out."""
    count = sum(case.theirs.packets)
    for start in range(len(chosen.packets) - count + 1 if 0 < count < len(chosen.packets) else 0):
        packets = chosen.packets[start : start + count]
        if case.is_flow(packets) and (timers := _timers(case, chosen.packets, (start, start + count))):
            yield Selection(packets, chosen.reasons | timers)


def _timers(case: Case, packets: Sequence[Sighting], cuts: tuple[int, int]) -> set[Reason]:
    """Say by which of Zeek's timers a stretch begins and ends, as far as the packets show it."""
    times = [case.frames[one.index].time_ns for one in packets]
    ports = case.frames[packets[0].index].data[packets[0].transport :][:4]
    reasons = set()
    for at in cuts:
        if 0 < at < len(times):
            quiet_s, flags = (times[at] - times[at - 1]) / SECOND, 0
            for one in packets[:at]:
                flags |= case.frames[one.index].flags
            unanswered = len({one.way for one in packets[:at]}) == 1
            if DNS in (ports[:2], ports[2:]) and quiet_s >= 9:
                reasons.add(Reason(Cause.TIMER, "dns_session_timeout, 10 s"))
            elif unanswered and not flags & (FIN | RST) and times[at] - times[0] >= 5 * SECOND:
                reasons.add(Reason(Cause.TIMER, "tcp_attempt_delay, 5 s"))
            elif flags & RST and quiet_s >= 5:
                reasons.add(Reason(Cause.TIMER, "tcp_close_delay, 5 s"))
            elif flags & FIN and quiet_s >= 3:
                reasons.add(Reason(Cause.TIMER, "tcp_partial_close_delay, 3 s"))
    return reasons


def _flipped(case: Case, chosen: Selection) -> Iterator[Selection]:
    """Yield the packets if Zeek says that it turned the direction, and all of them are one side's to it."""
    one_way = tuple(replace(one, way=0) for one in chosen.packets)
    if "^" in (case.theirs.details.get("history") or "") and case.is_flow(one_way):
        yield Selection(chosen.packets, chosen.reasons | {Reason(Cause.FLIPPED)})


def put_together(seen: Sequence[Sighting], frames: Sequence[Frame]) -> tuple[Sighting, ...]:
    """Return the packets, the fragments of each put together in the place of the last; incomplete ones are left out."""
    groups: dict[tuple[int, bytes], list[Sighting]] = defaultdict(list)
    packets = []
    for one in seen:
        data = frames[one.index].data
        word = int.from_bytes(data[one.at + 6 : one.at + 8]) if data[one.at] >> 4 == 4 else 0
        if not word & 0x3FFF:
            packets.append(one)
            continue
        group = groups[one.way, data[one.at + 4 : one.at + 6]]
        group.append(one)
        rest = sum(part.length - (part.transport - part.at) for part in group)
        if not word & 0x2000 and rest == (word & 0x1FFF) * 8 + one.length - (one.transport - one.at):
            packets.append(replace(group[0], length=rest + group[0].transport - group[0].at, later_fragment=False))
    return tuple(packets)


def _ours(chosen: Selection, seen: Sequence[Sighting], key: Key, case: Case, flows: Sequence[Flow]) -> set[Reason]:
    """Say what our meter did with the packets of their flow instead."""
    frames = case.frames
    reasons = {otherwise(frames[one.index]) for one in chosen.packets if frames[one.index].key != key}
    later = {one.index for one in seen if one.later_fragment and frames[one.index].key == key}
    if later - {one.index for one in chosen.packets}:
        reasons.add(Reason(Cause.FRAGMENTS))
    if any(one.length == 0 and frames[one.index].key == key for one in chosen.packets):
        reasons.add(Reason(Cause.OFFLOAD))
    if not reasons and len(flows) > 1 and any(flow.end_reason is EndReason.TCP_END for flow in flows):
        reasons.add(Reason(Cause.TCP_END))
    return reasons
