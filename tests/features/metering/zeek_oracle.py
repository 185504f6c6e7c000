"""Zeek's history and states of a flow's ends once more: letters as text, states as words, packets as a list."""

from collections.abc import Sequence
from dataclasses import dataclass, field

LETTERS = "SHADFRIQTW"
STATES = ("inactive", "syn", "syn-ack", "partial", "established", "closed", "reset", "reset after fin")
LONGEST, FULL = 18, 2**32


@dataclass(frozen=True)
class Segment:
    """What a TCP packet shows: its sender (0 forward, 1 backward), letters of its flags, and numbers."""

    way: int
    flags: str
    seq: int
    payload: int
    window: int


@dataclass
class Side:
    """What is known of one side."""

    state: str = "inactive"
    seen: set[str] = field(default_factory=set)
    highest: int | None = None
    last_reset: int = 0
    again: int = 0
    zeros: int = 0


def follow(segments: Sequence[Segment], turned: bool) -> tuple[str, list[Side]]:
    """Return the history and both sides after a flow's segments."""
    sides, history = [Side(), Side()], "^" if turned else ""
    for one in segments:
        me, peer = sides[one.way], sides[1 - one.way]
        letters = _flag_letters(me, one) + _counted_letters(me, peer, one)
        history += letters.lower() if one.way else letters
        _move(me, peer, one)
        if "R" not in one.flags:
            span = one.payload + one.flags.count("S") + one.flags.count("F")
            me.again += span > 0 and me.highest is not None and (one.seq - me.highest) % FULL >= FULL // 2
            end = (one.seq + one.payload + one.flags.count("S") + one.flags.count("F")) % FULL
            me.highest = end if me.highest is None or 0 < (end - me.highest) % FULL < FULL // 2 else me.highest
    return history[:LONGEST], sides


def _flag_letters(me: Side, one: Segment) -> str:
    ends = [flag for flag in "SFR" if flag in one.flags]
    new = False
    if len(ends) > 1:
        letter = "I" if {"F", "R"} <= set(ends) else "Q"
    elif ends:
        letter = "H" if "S" in ends and "A" in one.flags else ends[0]
    else:
        letter = "D" if one.payload else "A" if "A" in one.flags else ""
    if letter == "F":
        end = (one.seq + one.payload + 1) % FULL
        new = me.highest is not None and end != me.highest
    if letter == "R":
        new, me.last_reset = one.seq % 256 != me.last_reset, one.seq % 256
    kind = "S" if letter == "H" else letter
    new = new or kind not in me.seen
    me.seen |= {kind} - {""}
    return letter if new else ""


def _counted_letters(me: Side, peer: Side, one: Segment) -> str:
    told = ""
    me.zeros += one.window == 0 and "R" not in one.flags
    listening = not me.state.startswith("reset")
    if one.window == 0 and "R" not in one.flags and listening and peer.state != "closed":
        told += "W" if str(me.zeros).strip("0") == "1" else ""
    if one.payload and me.highest is not None and listening:
        span = one.flags.count("S") + one.flags.count("F") + (0 if "R" in one.flags else one.payload)
        if not 0 < (one.seq + span - me.highest) % FULL < FULL // 2:
            tenth = me.again and str(me.again + 1).strip("0") == "1"
            told += "T" if tenth or "T" not in me.seen else ""
            me.seen.add("T")
    return told


def _move(me: Side, peer: Side, one: Segment) -> None:
    """Apply the flags one after the other, as Zeek does: SYN, then FIN, then RST."""
    before = me.state
    if before == "inactive":
        _begin(me, peer, one)
    elif before == "closed":
        me.state = "reset after fin" if "R" in one.flags and peer.state != "closed" else before
    elif before in ("syn", "syn-ack"):
        _end(me, one)
    elif before in ("partial", "established"):
        _go_on(me, peer, one)


def _begin(me: Side, peer: Side, one: Segment) -> None:
    ack = "A" in one.flags
    if "S" in one.flags and one.way == 0:
        me.state = "syn-ack" if ack else "syn"
    elif "S" in one.flags:
        peer.state = "established" if peer.state == "syn" else peer.state
        me.state = "established"
    _end(me, one)
    early = one.way == 1 and not one.payload and peer.state == "syn"
    if me.state == "inactive" and not early:
        me.state = "established" if ack and peer.state == "established" else "partial"


def _go_on(me: Side, peer: Side, one: Segment) -> None:
    if "S" in one.flags and "A" not in one.flags and me.state == "partial" and peer.state == "inactive":
        me.state = "syn"
    if "R" in one.flags:
        me.state = "reset"
    elif "F" in one.flags:
        me.state = "closed"
        peer.state = "closed" if peer.state == "reset after fin" else peer.state


def _end(me: Side, one: Segment) -> None:
    if "F" in one.flags:
        me.state = "closed"
    if "R" in one.flags:
        me.state = "reset after fin" if "F" in one.flags else "reset"


def packed(history: str) -> list[int]:
    """Return a history as the meter packs it: six letters of five bits a word."""
    codes = [21 if letter == "^" else 2 * LETTERS.index(letter.upper()) + 1 + letter.islower() for letter in history]
    codes += [0] * (LONGEST - len(codes))
    return [sum(code << 5 * place for place, code in enumerate(codes[at : at + 6])) for at in (0, 6, 12)]


def fields(segments: Sequence[Segment], turned: bool) -> dict[str, list[int]]:
    """Return the fields of FLOW that the meter keeps for this."""
    history, sides = follow(segments, turned)
    kinds = "STADFRIQ"
    return {
        "endpoint": [STATES.index(side.state) for side in sides],
        "letters_seen": [sum(1 << kinds.index(letter) for letter in side.seen) for side in sides],
        "history": packed(history),
        "reset_seq": [side.last_reset for side in sides],
    }
