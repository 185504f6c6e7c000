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
from features.kernel_types import Int, kernel, part

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
    ends, letters = np.zeros(len(flows) + 1, np.int32), np.empty(len(flows) * LONGEST_HISTORY, np.uint8)
    size = write_histories(flows, SIGNS, ends, letters)
    buffers = [bitmap(np.diff(ends) > 0), pa.py_buffer(ends), pa.py_buffer(letters[:size])]
    return pa.Array.from_buffers(pa.string(), len(flows), buffers)


def conn_states(flows: Flows, told: pa.Array) -> pa.Array:
    """Return Zeek's conn_state of each flow, such as SF; OTH for protocols other than TCP and UDP.

    Args:
        flows: FLOW rows, shape (n,).
        told: Their histories.
    """
    states = np.empty(len(flows), np.int64)
    find_states(flows, _STATES, states)
    half_way = states == STATES.index("RSTOS0")
    if half_way.any():
        seen = [
            bool(REFUSED_HALF_WAY.match(text or ""))
            for text in told.take(numbers(np.flatnonzero(half_way))).to_pylist()
        ]
        states[half_way] = np.where(seen, STATES.index("RSTOS0"), STATES.index("OTH"))
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
_REJ, _SF, _S0, _OTH = (STATES.index(name) for name in ("REJ", "SF", "S0", "OTH"))
_RESET, _RESET_AFTER_FIN = int(Endpoint.RESET), int(Endpoint.RESET_AFTER_FIN)
_DATA, _DATA_BACK = ord("D"), ord("d")
_CODE = (1 << LETTER_BITS) - 1


@kernel
def write_histories(flows: np.ndarray, signs: np.ndarray, ends: np.ndarray, letters: np.ndarray) -> Int:
    """Write the letters of flows one behind the other, and return how many they are.

    Args:
        flows: FLOW rows, shape (n,).
        signs: The letter of each code, 0 for those without, uint8.
        ends: Where each flow's letters end, behind a 0, int32, shape (n + 1,).
        letters: uint8, shape (n * LONGEST_HISTORY,).
    """
    at = 0
    for row in range(len(flows)):
        if flows[row].protocol == UDP:
            letters[at], letters[at + 1] = _DATA, _DATA_BACK
            at += 2 if flows[row].packets[1] > 0 else 1
        else:
            for word in range(HISTORY_WORDS):
                left = np.int64(flows[row].history[word])
                while left:
                    letters[at] = signs[left & _CODE]
                    at += letters[at] != 0
                    left >>= LETTER_BITS
        ends[row + 1] = at
    return at


@part
def _state_of(endpoint: Int) -> Int:
    return _RESET if endpoint == _RESET_AFTER_FIN else np.int64(endpoint)


@kernel
def find_states(flows: np.ndarray, states: np.ndarray, out: np.ndarray) -> None:
    """Write which of STATES each flow is in, as far as both ends' states and volumes tell.

    Args:
        flows: FLOW rows, shape (n,).
        states: By the Endpoint of both ends, shape (8, 8).
        out: int64, shape (n,).
    """
    for row in range(len(flows)):
        flow = flows[row]
        ours, theirs = _state_of(flow.endpoint[0]), _state_of(flow.endpoint[1])
        if flow.protocol == UDP:
            out[row] = _SF if flow.packets[1] > 0 else _S0
        elif flow.protocol != TCP:
            out[row] = _OTH
        elif ours == _RESET and theirs == _RESET and flow.payload_bytes[0] + flow.payload_bytes[1] == 0:
            out[row] = _REJ
        else:
            out[row] = states[ours, theirs]
