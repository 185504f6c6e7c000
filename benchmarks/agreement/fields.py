"""The fields of a flow that both know: whether they agree and, where they do not, by which rule of theirs.

Asked only of flows that agree in packets and bytes. A rule is named only if it gives their value from the frames.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.agreement.flows import Flow
from benchmarks.agreement.frames import TCP, End, Frame, locate
from benchmarks.agreement.joining import Pair
from features.kernel_types import NEVER
from features.metering.flow_record import TCP_FLAGS
from features.metering.zeek_state import conn_states, histories

SECOND, MILLISECOND = 1_000_000_000, 1_000_000
SYN, FIN, RST = 2, 1, 4
NEVER_AGAIN = 1 << 62
GAP_RULES = (
    (False, NEVER_AGAIN, "theirs: the first zeros are forgotten"),
    (True, NEVER_AGAIN, "theirs: SYN, FIN and RST of the answering side are left out"),
    (True, 10, "theirs: times are forgotten every 10 packets"),
)
"""ndpiReader's rules on gaps, each with the ones before: whether flags are left out, packets until it starts again."""

UNMETERED = str.maketrans("", "", "GgCcXx")
REPEATS = str.maketrans("", "", "Tt")

HANDSHAKES = {
    "established": {"S1", "S2", "S3", "SF", "RSTO", "RSTR"},
    "unanswered": {"S0", "SH"},
    "refused": {"REJ"},
    "other": {"OTH", "RSTRH", "RSTOS0", "SHR"},
}


@dataclass(frozen=True)
class Comparison:
    """One field of one flow.

    Attributes:
        name: Of the field.
        agrees: Our value is theirs.
        rule: Rule of theirs that gives their value where it is not ours; empty if none does.
    """

    name: str
    agrees: bool
    rule: str = ""


def compare(pair: Pair, flow: Flow, frames: Sequence[Frame], tool: str) -> Iterator[Comparison]:
    """Yield the comparisons of a pair that agrees in packets and bytes; none for a tool that tells no other field."""
    if tool in COMPARERS and flow.frames:
        yield from COMPARERS[tool](pair, flow, frames)


def _ndpi(pair: Pair, flow: Flow, frames: Sequence[Frame]) -> Iterator[Comparison]:
    details = pair.theirs.details
    yield _direction(pair, flow)
    yield Comparison("duration", *_ndpi_duration(str(details["duration_s"]), flow, frames))
    # ndpiReader divides in single precision, by one more than the bytes
    shares = np.array(_payload(pair, flow), np.float32) / (np.array(pair.theirs.bytes, np.float32) + 1)
    ours = "/".join(f"{100 * float(one):.0f}" for one in shares)
    yield Comparison("payload share", ours == details["payload_share"])
    if "lengths" in details:
        yield Comparison("lengths", *_ndpi_lengths(pair, flow, frames))
        yield Comparison("gaps", *_ndpi_gaps(pair, flow, frames))


def _direction(pair: Pair, flow: Flow) -> Comparison:
    """Compare who sent first; we turn a flow round that begins with a SYN-ACK, Zeek turns more."""
    if flow.src == pair.sender:
        return Comparison("direction", agrees=True)
    if flow.row["first_backward"] & 1:
        return Comparison("direction", False, "ours: the first packet is a SYN-ACK, so its sender is the server")
    flipped = "^" in (pair.theirs.details.get("history") or "")
    return Comparison(
        "direction", False, "theirs: turned round by the server's port (likely_server_ports)" if flipped else ""
    )


def _payload(pair: Pair, flow: Flow) -> tuple[int, int]:
    ours, theirs = flow.side(pair.sender or flow.src)
    return int(flow.row["payload_bytes"][ours]), int(flow.row["payload_bytes"][theirs])


def _ndpi_duration(text: str, flow: Flow, frames: Sequence[Frame]) -> tuple[bool, str]:
    """Compare to their hundredth of a second; their clock is the capture's in milliseconds and never runs back."""
    theirs = 0.0 if text.startswith("<") else float(text)
    ours = (int(flow.row["last_ns"]) // MILLISECOND - int(flow.row["first_ns"]) // MILLISECOND) / 1000
    tolerance = 0.0101 + theirs * 1e-7  # told in single precision
    if abs(theirs - ours) < tolerance:
        return True, ""
    clock = np.maximum.accumulate([frame.time_ns // MILLISECOND for frame in frames])
    forced = float(clock[flow.frames[-1]] - clock[flow.frames[0]]) / 1000
    return False, "theirs: the capture's clock never runs back" if abs(theirs - forced) < tolerance else ""


def _ndpi_lengths(pair: Pair, flow: Flow, frames: Sequence[Frame]) -> tuple[bool, str]:
    """Compare least, mean, most and deviation of both directions, shifted by what the frames add to each datagram."""
    told = numbers(pair.theirs.details["lengths"])
    padded = False
    for way, side in enumerate(flow.side(pair.sender or flow.src)):
        mine = [index for index, forward in zip(flow.frames, flow.forward, strict=True) if forward == (side == 0)]
        added = {len(frames[index].data) - frames[index].length for index in mine}
        if not mine:
            continue
        padded = padded or len(added) > 1
        ours = statistics(
            flow.row["length_min"][side],
            flow.row["length_max"][side],
            (float(flow.row["bytes"][side]), float(flow.row["length_sq"][side])),
            len(mine),
        )
        shift = min(added)
        if not close(told[way], (ours[0] + shift, ours[1] + shift, ours[2] + shift, ours[3]), 1):
            sizes = np.array([len(frames[index].data) for index in mine], dtype=float)
            same = close(told[way], (sizes.min(), sizes.mean(), sizes.max(), sizes.std()), 1)
            return False, "theirs: frame bytes, with padding and trailers" if same and padded else ""
    return True, ""


def _ndpi_gaps(pair: Pair, flow: Flow, frames: Sequence[Frame]) -> tuple[bool, str]:
    """Compare least, mean, most and deviation of the gaps of both directions, to a millisecond."""
    told = numbers(pair.theirs.details["gaps_ms"])
    sides = flow.side(pair.sender or flow.src)
    agrees = []
    for way, side in enumerate(sides):
        count = int(flow.row["packets"][side]) - 1
        whole = float(flow.row["dir_last_ns"][side]) - float(flow.row["dir_first_ns"][side])
        extremes = (float(flow.row[f"gap_{part}_s"][side]) * SECOND for part in ("min", "max"))
        ours = statistics(*extremes, (whole, float(flow.row["gap_sq"][side])), count)
        agrees.append(close(told[way], tuple(value / MILLISECOND for value in ours) if count > 0 else (0.0,) * 4, 1))
    if all(agrees):
        return True, ""
    for skip_ends, restart, rule in GAP_RULES:
        gaps = ndpi_gaps(flow, frames, sides, (skip_ends, restart))
        if all(close(told[way], _as_ndpi(one), 1) for way, one in enumerate(gaps)):
            return False, rule
    if max(told[0] + told[1]) > 1 << 62:
        return False, "theirs: a gap back in time is a huge number without a sign"
    without = all(close(told[way][:3], _as_ndpi(one)[:3], 1) for way, one in enumerate(gaps))
    return False, "theirs: the deviation is lost in single precision" if without else ""


def ndpi_gaps(
    flow: Flow, frames: Sequence[Frame], sides: tuple[int, int], rule: tuple[bool, int]
) -> tuple[list[int], list[int]]:
    """Return the gaps in milliseconds that ndpiReader adds up, a list a direction, the first side's first.

    Args:
        flow: Ours.
        frames: Of the capture.
        sides: Indices of the directions, the first side's first.
        rule: Whether SYN, FIN and RST of the second side are left out, and after how many packets it starts again.
    """
    gaps: tuple[list[int], list[int]] = ([], [])
    last: list[int | None] = [None, None]
    for place, (index, forward) in enumerate(zip(flow.frames, flow.forward, strict=True), 1):
        way, frame = sides.index(0 if forward else 1), frames[index]
        time_us, before = frame.time_ns // 1000, last[way]
        left_out = time_us < before if way == 0 and before else rule[0] and frame.flags & (SYN | FIN | RST)
        if before is not None and not left_out:
            gaps[way].append((time_us - before) // 1000)
        last[way] = time_us if time_us >= 1_000_000 else None  # a second of 0 means never to it
        if place % rule[1] == 0:
            last = [None, None]
    return gaps


def _as_ndpi(gaps: list[int]) -> tuple[float, ...]:
    """Return least, mean, most and deviation; zeros before the first other gap do not count as the least."""
    if not any(gaps):
        return 0.0, 0.0, 0.0, 0.0
    values = np.array(gaps, dtype=float)
    return values[values.nonzero()[0][0] :].min(), values.mean(), values.max(), values.std()


def numbers(text: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return both directions' numbers of an nDPI statistic: "1/2 3/4" is ((1, 3), (2, 4))."""
    pairs = [part.split("/") for part in text.split()]
    return tuple(float(one) for one, _ in pairs), tuple(float(other) for _, other in pairs)


def statistics(least: int, most: int, totals: tuple[float, float], count: int) -> tuple[float, float, float, float]:
    """Return least, mean, most and deviation, given the sum and the sum of squares."""
    mean = totals[0] / count if count > 0 else 0.0
    deviation = math.sqrt(max(totals[1] / count - mean * mean, 0.0)) if count > 0 else 0.0
    return float(least), mean, float(most), deviation


def close(told: Sequence[float], ours: Sequence[float], tolerance: float) -> bool:
    """Tell whether numbers that were told without decimals are ours."""
    return all(abs(one - other) <= tolerance + other * 1e-7 for one, other in zip(told, ours, strict=True))


def _zeek(pair: Pair, flow: Flow, frames: Sequence[Frame]) -> Iterator[Comparison]:
    details = pair.theirs.details
    yield _direction(pair, flow)
    if details.get("duration"):
        yield Comparison("duration", *_zeek_duration(float(details["duration"]), flow, frames))
        told = tuple(int(details[name] or 0) for name in ("orig_bytes", "resp_bytes"))
        yield Comparison("payload bytes", *_zeek_payload(told, pair, flow, frames))
    if flow.key.protocol == TCP:
        group = next((name for name, states in HANDSHAKES.items() if details["conn_state"] in states), "")
        same = handshake(flow) == group
        yield Comparison("handshake", same, "" if same else _state_rule(details, flow))
    yield from _course(details, flow, frames)


def _course(details: dict[str, str | None], flow: Flow, frames: Sequence[Frame]) -> Iterator[Comparison]:
    """Compare conn_state and history, if the log has them."""
    if "conn_state" not in details or "history" not in details:
        return
    row = np.array([flow.row])
    texts = histories(row)
    state, ours, theirs = conn_states(row, texts)[0].as_py(), texts[0].as_py() or "", details["history"] or ""
    turned = _turning(ours, theirs)
    yield Comparison("conn_state", state == details["conn_state"], turned if state != details["conn_state"] else "")
    yield Comparison("history", ours == theirs, _history_rule(ours, theirs, flow, frames) if ours != theirs else "")


def _history_rule(ours: str, theirs: str, flow: Flow, frames: Sequence[Frame]) -> str:
    if ours == theirs.translate(UNMETERED):
        return "not metered: gaps, wrong checksums, analyses given up (G, C, X)"
    if sorted(ours) == sorted(theirs) and ours.translate(REPEATS) == theirs.translate(REPEATS):
        in_part = repeats_in_part(flow, frames)
        return "ours: payload repeated in part counts for the 10th retransmission (T) too" if in_part else ""
    return _turning(ours, theirs)


def _turning(ours: str, theirs: str) -> str:
    """Say who turned the connection round, if the histories are each other's otherwise."""
    if theirs == "^" + ours.swapcase():
        return "theirs: turned round by the server's port (likely_server_ports)"
    if ours == "^" + theirs.swapcase():
        return "ours: the first packet is a SYN-ACK, so its sender is the server"
    return ""


def _state_rule(details: dict[str, str | None], flow: Flow) -> str:
    """Name the rule of Zeek's that makes its state another one, if the history shows one."""
    history = details["history"] or ""
    if "^" in history or flow.row["first_backward"] & 1:
        return "theirs: the connection was turned round"
    if flow.row["syn_ack_ns"] != NEVER and not flow.row["established"]:
        return "theirs: established by the SYN-ACK alone"
    return "theirs: SF without a handshake once both sides closed" if "S" not in history and "h" not in history else ""


def handshake(flow: Flow) -> str:
    """Return what became of the handshake, in the words of HANDSHAKES."""
    row = flow.row
    resets = int(row["flags"][1][TCP_FLAGS.index("rst")])
    if row["established"]:
        return "established"
    if row["syn_ns"] != NEVER and row["packets"][1] == 0:
        return "unanswered"
    return "refused" if row["syn_ns"] != NEVER and row["syn_ack_ns"] == NEVER and resets else "other"


def _zeek_duration(theirs: float, flow: Flow, frames: Sequence[Frame]) -> tuple[bool, str]:
    """Compare to a microsecond; Zeek's time stands still once both sides have sent FIN or RST."""
    if abs(theirs - (int(flow.row["last_ns"]) - int(flow.row["first_ns"])) / SECOND) < 2e-6:
        return True, ""
    closed: set[bool] = set()
    for index, forward in zip(flow.frames, flow.forward, strict=True):
        if frames[index].flags & (FIN | RST):
            closed.add(forward)
        if len(closed) == 2:
            until = (frames[index].time_ns - int(flow.row["first_ns"])) / SECOND
            return False, "theirs: ends with the second FIN or RST" if abs(theirs - until) < 2e-6 else ""
    return False, ""


def _zeek_payload(told: tuple[int, ...], pair: Pair, flow: Flow, frames: Sequence[Frame]) -> tuple[bool, str]:
    if told == _payload(pair, flow):
        return True, ""
    sender = pair.sender or flow.src
    other = next(end for end in (flow.key.low, flow.key.high) if end != sender or flow.key.low == flow.key.high)
    spans = sequence_spans(flow, frames, sender, other) if flow.key.protocol == TCP else (-1, -1)
    return False, "theirs: from sequence numbers, lost data counted, repeated data not" if told == spans else ""


def sequence_spans(flow: Flow, frames: Sequence[Frame], sender: End, other: End) -> tuple[int, ...]:
    """Return how far each direction's sequence numbers go beyond its first, without SYN and FIN."""
    reach, fins, last = [0, 0], [0, 0], [-1, -1]
    for seen in locate([frames[index] for index in flow.frames], TCP, sender, other):
        data, at, way = frames[flow.frames[seen.index]].data, seen.transport, seen.way
        flags, payload = data[at + 13], seen.length - (at - seen.at) - (data[at + 12] >> 4) * 4
        start = int.from_bytes(data[at + 4 : at + 8]) + (1 if flags & SYN else 0)
        end = start + payload + (flags & FIN)
        if last[way] < 0:
            last[way] = start
        step = (end - last[way] + (1 << 31)) % (1 << 32) - (1 << 31)
        if step > 0:
            reach[way], last[way] = reach[way] + step, end % (1 << 32)
        fins[way] |= flags & FIN
    return reach[0] - fins[0], reach[1] - fins[1]


def repeats_in_part(flow: Flow, frames: Sequence[Frame]) -> int:
    """Return the segments that begin before the end of what their side has sent, and end behind it."""
    count, reach = 0, [-1, -1]
    mine = [frames[index] for index in flow.frames]
    for seen in locate(mine, TCP, flow.key.low, flow.key.high):
        data, at, way = mine[seen.index].data, seen.transport, seen.way
        size = (
            seen.length - (at - seen.at) - (data[at + 12] >> 4) * 4 + (data[at + 13] & FIN) + (data[at + 13] >> 1 & 1)
        )
        start = int.from_bytes(data[at + 4 : at + 8])
        count += size > 0 and start < reach[way] < start + size
        reach[way] = max(reach[way], start + size)
    return count


COMPARERS = {"nDPI": _ndpi, "Zeek": _zeek}
