"""TCP's course in Zeek's words: ``conn_state`` and ``history``, from what the meter kept of each flow.

The meter follows both ends through Zeek's states and writes a letter for each kind of packet when it is first seen;
here they become text. Source: Zeek's ``scripts/base/protocols/conn/main.zeek`` (meaning of states and letters) and
``TCPSessionAdapter.cc`` (which packet moves an end to which state).
"""

import enum
import re

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from features.arrow import bitmap, numbers, texts

TCP, UDP = 6, 17
HISTORY_WORDS, LETTERS_PER_WORD, LETTER_BITS = 3, 6, 5
LONGEST_HISTORY = HISTORY_WORDS * LETTERS_PER_WORD
"""Letters kept of a flow; the ones behind are left out, as the letters of a long history repeat."""


class Endpoint(enum.IntEnum):
    """What one end of a TCP connection was last seen to do."""

    INACTIVE = 0
    SYN_SENT = 1
    SYN_ACK_SENT = 2
    PARTIAL = 3  # sent something, but no SYN
    ESTABLISHED = 4
    CLOSED = 5  # sent a FIN
    RESET = 6
    RESET_AFTER_FIN = 7  # RESET to the states; the other end's FIN makes it CLOSED again


class Letter(enum.IntEnum):
    """Codes of a history's letters; the backward side's is one more, and written as a small letter."""

    SYN = 1
    SYN_ACK = 3
    ACK = 5  # without payload
    DATA = 7
    FIN = 9
    RST = 11
    FIN_RST = 13
    SYN_END = 15  # SYN with FIN or RST
    REPEATED = 17  # payload sent before
    ZERO_WINDOW = 19
    TURNED = 21  # the direction is the other one than the first packet's


SIGNS = np.frombuffer(b"\0SsHhAaDdFfRrIiQqTtWw^".ljust(1 << LETTER_BITS, b"\0"), np.uint8)
REFUSED_HALF_WAY = re.compile(r"\^?S[^HAFGIQ]*R")
Flows = npt.NDArray[np.void]


def histories(flows: Flows) -> pa.Array:
    """Return Zeek's history of each flow: of TCP and UDP, null for others and where there is nothing to tell.

    A capital is the forward side's. ``S`` SYN, ``H`` SYN-ACK, ``A`` pure ACK, ``D`` payload, ``F`` FIN, ``R`` RST,
    ``I`` FIN with RST, ``Q`` SYN with FIN or RST, ``T`` payload sent before, ``W`` zero window, ``^`` turned round.
    ``F`` and ``R`` come again with another sequence number, ``T`` and ``W`` at the 10th, 100th ... packet, the others
    once a side. Zeek's ``C`` (checksums), ``G`` (gaps) and ``X`` are not metered. For example ``ShADadFf``.
    """
    shifts = np.arange(LETTERS_PER_WORD, dtype=np.uint32) * LETTER_BITS
    codes = flows["history"][:, :, None] >> shifts & (1 << LETTER_BITS) - 1
    signs = SIGNS[codes.reshape(len(flows), LONGEST_HISTORY)]
    udp = flows["protocol"] == UDP
    signs[udp, 0] = ord("D")
    signs[udp & (flows["packets"][:, 1] > 0), 1] = ord("d")
    lengths = np.count_nonzero(signs, axis=1)
    ends = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    buffers = [bitmap(lengths > 0), pa.py_buffer(ends), pa.py_buffer(signs[signs != 0])]
    return pa.Array.from_buffers(pa.string(), len(flows), buffers)


def conn_states(flows: Flows, told: pa.Array) -> pa.Array:
    """Return Zeek's conn_state of each flow, such as SF; OTH for protocols other than TCP and UDP.

    Args:
        flows: FLOW rows, shape (n,).
        told: Their histories.
    """
    ends = flows["endpoint"].astype(np.int64)
    ends = np.where(ends == Endpoint.RESET_AFTER_FIN, Endpoint.RESET, ends)
    states = _STATES[ends[:, 0], ends[:, 1]]
    silent = flows["payload_bytes"].sum(axis=1) == 0
    states[(ends == Endpoint.RESET).all(axis=1) & silent] = STATES.index("REJ")
    half_way = states == STATES.index("RSTOS0")
    if half_way.any():
        seen = [
            bool(REFUSED_HALF_WAY.match(text or ""))
            for text in told.take(numbers(np.flatnonzero(half_way))).to_pylist()
        ]
        states[half_way] = np.where(seen, STATES.index("RSTOS0"), STATES.index("OTH"))
    udp = np.where(flows["packets"][:, 1] > 0, STATES.index("SF"), STATES.index("S0"))
    protocol = flows["protocol"]
    states = np.select([protocol == TCP, protocol == UDP], [states, udp], STATES.index("OTH"))
    return texts(STATES).take(numbers(states))


ANY = tuple(Endpoint)
NO_SYN = (Endpoint.INACTIVE, Endpoint.PARTIAL)
ASKED = (Endpoint.SYN_SENT, Endpoint.SYN_ACK_SENT)
RULES = (
    (ASKED, (Endpoint.RESET,), "REJ"),
    (NO_SYN, (Endpoint.RESET,), "RSTRH"),
    (ANY, (Endpoint.RESET,), "RSTR"),
    ((Endpoint.RESET,), NO_SYN, "RSTOS0"),
    ((Endpoint.RESET,), ANY, "RSTO"),
    ((Endpoint.CLOSED,), (Endpoint.CLOSED,), "SF"),
    ((Endpoint.CLOSED,), NO_SYN, "SH"),
    ((Endpoint.CLOSED,), ANY, "S2"),
    (NO_SYN, (Endpoint.CLOSED,), "SHR"),
    (ANY, (Endpoint.CLOSED,), "S3"),
    ((Endpoint.SYN_SENT,), (Endpoint.INACTIVE,), "S0"),
    ((Endpoint.ESTABLISHED,), (Endpoint.ESTABLISHED,), "S1"),
    (ANY, ANY, "OTH"),
)
"""States of the forward and the backward end, and what they are called together; the first rule that fits counts."""


def _state(forward: Endpoint, backward: Endpoint) -> str:
    return next(name for ours, theirs, name in RULES if forward in ours and backward in theirs)


STATES = tuple(sorted({name for _, _, name in RULES}))
_STATES = np.array([[STATES.index(_state(forward, backward)) for backward in Endpoint] for forward in Endpoint])
