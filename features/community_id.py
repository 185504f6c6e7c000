"""Community ID v1: the flow hash Zeek, Suricata, Wireshark and others join on.

Source: https://github.com/corelight/community-id-spec, version 1; FIPS 180-4 for SHA-1, of a message that always fits
in one block; RFC 4648 for base64.
"""

from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from features.metering.flow_record import Fields

_ICMP_PAIRS = ((8, 0), (13, 14), (15, 16), (17, 18), (10, 9))
_ICMPV6_PAIRS = ((128, 129), (133, 134), (135, 136), (130, 131), (144, 145), (139, 140))
COUNTERPARTS = {
    protocol: {**dict(pairs), **{answer: request for request, answer in pairs}}
    for protocol, pairs in ((1, _ICMP_PAIRS), (58, _ICMPV6_PAIRS))
}
"""By protocol, message types that have a counterpart: type of one direction to type of the other."""

WITH_PORTS = (6, 17, 132)

_NO_MESSAGES, _NO_COUNTERPART = -2, -1
_PREFIX = np.frombuffer(b"1:", np.uint8)
_ALPHABET = np.frombuffer(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", np.uint8)
_ID_BYTES = 30
_FIRST_STATE = np.array([0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0], np.uint32)
_ROUND_KEYS = np.array([0x5A827999, 0x6ED9EBA1, 0x8F1BBCDC, 0xCA62C1D6], np.uint32)
_LANES = 16
"""Flows hashed at once."""
_Bytes = npt.NDArray[np.uint8]
_Words = npt.NDArray[np.uint32]
_Integers = npt.NDArray[np.int64]


def _counterpart_table() -> _Integers:
    """Return by protocol and ICMP type the type of the other direction, shape (256, 256)."""
    table = np.full((256, 256), _NO_MESSAGES, np.int64)
    for protocol, types in COUNTERPARTS.items():
        table[protocol] = _NO_COUNTERPART
        table[protocol, list(types)] = list(types.values())
    return table


class _Tables(NamedTuple):
    """What holds for every flow."""

    counterparts: _Integers  # shape (256, 256)
    has_ports: npt.NDArray[np.bool_]  # shape (256,)
    seed: int


_COUNTERPARTS = _counterpart_table()
_HAS_PORTS = np.isin(np.arange(256), (*WITH_PORTS, *COUNTERPARTS))


def community_ids(flows: Fields | npt.NDArray[np.void], seed: int = 0) -> pa.Array:
    """Return the Community ID v1 of each flow as a string, such as 1:LQU9qZlK+B5F3KDmev6m5PMibrg=."""
    rows = len(flows["src"])
    text = np.empty((rows, _ID_BYTES), np.uint8)
    text[:, :2] = _PREFIX
    key = np.empty((rows, 6), np.int64)
    for at, name in enumerate(("ip_version", "protocol", "src_port", "dst_port", "icmp_type", "icmp_code")):
        key[:, at] = flows[name]
    ends = np.stack([flows["src"], flows["dst"]])
    _fill_ids(ends, key, _Tables(_COUNTERPARTS, _HAS_PORTS, seed), text)
    offsets = np.arange(0, text.size + 1, _ID_BYTES, dtype=np.int32)
    return pa.Array.from_buffers(pa.string(), rows, [None, pa.py_buffer(offsets), pa.py_buffer(text)])


@numba.njit(nogil=True)
def _comes_after(ends: _Bytes, row: int, begin: int, src_port: int, dst_port: int) -> bool:
    for at in range(begin, 16):
        if ends[0, row, at] != ends[1, row, at]:
            return ends[0, row, at] > ends[1, row, at]
    return src_port > dst_port


@numba.njit(nogil=True)
def _fill_message(ends: _Bytes, key: _Integers, row: int, tables: _Tables, block: _Bytes) -> None:
    """Write what is hashed of a row, and SHA-1's padding, to a block of 64 bytes."""
    protocol, first_port, second_port = key[row, 1], key[row, 2], key[row, 3]
    other = tables.counterparts[protocol, key[row, 4] & 0xFF]
    if other != _NO_MESSAGES:
        first_port, second_port = key[row, 4], key[row, 5] if other == _NO_COUNTERPART else other
    first, begin = 0, 12 if key[row, 0] == 4 else 0
    if other != _NO_COUNTERPART and _comes_after(ends, row, begin, first_port, second_port):
        first, first_port, second_port = 1, second_port, first_port
    for byte in range(64):
        block[byte] = 0
    block[0], block[1] = tables.seed >> 8, tables.seed & 0xFF
    size = 16 - begin
    for byte in range(size):
        block[2 + byte] = ends[first, row, begin + byte]
        block[2 + size + byte] = ends[1 - first, row, begin + byte]
    at = 2 + 2 * size
    block[at] = protocol
    at += 2
    if tables.has_ports[protocol]:
        block[at], block[at + 1] = first_port >> 8, first_port & 0xFF
        block[at + 2], block[at + 3] = second_port >> 8, second_port & 0xFF
        at += 4
    block[at] = 0x80
    block[62], block[63] = 8 * at >> 8, 8 * at & 0xFF


@numba.njit(nogil=True)
def _turned(word: np.uint32, bits: int) -> np.uint32:
    return np.uint32(word << np.uint32(bits) | word >> np.uint32(32 - bits))


@numba.njit(nogil=True)
def _put_words(block: _Bytes, lane: int, words: _Words) -> None:
    """Write a padded block's 16 big-endian words to a lane."""
    for at in range(16):
        high, low = np.uint32(block[4 * at]) << 24, np.uint32(block[4 * at + 1]) << 16
        words[at * _LANES + lane] = np.uint32(high | low | np.uint32(block[4 * at + 2]) << 8 | block[4 * at + 3])


@numba.njit(nogil=True)
def _hash(words: _Words, state: _Words) -> None:
    """Leave the SHA-1 of every lane in state; words holds 16 words of each and has room for 80.

    Word n of lane l is at n * _LANES + l in both, so that one instruction does the same for several lanes.
    """
    for at in range(16, 80):
        for lane in range(_LANES):
            mixed = words[(at - 3) * _LANES + lane] ^ words[(at - 8) * _LANES + lane]
            mixed ^= words[(at - 14) * _LANES + lane] ^ words[(at - 16) * _LANES + lane]
            words[at * _LANES + lane] = _turned(np.uint32(mixed), 1)
    for at in range(5 * _LANES):
        state[at] = _FIRST_STATE[at // _LANES]
    for at in range(80):
        key = _ROUND_KEYS[at // 20]
        for lane in range(_LANES):
            a, b, c = state[lane], state[_LANES + lane], state[2 * _LANES + lane]
            d, e = state[3 * _LANES + lane], state[4 * _LANES + lane]
            if at < 20:
                chosen = b & c | ~b & d
            elif at < 40 or at >= 60:
                chosen = b ^ c ^ d
            else:
                chosen = b & c | b & d | c & d
            state[4 * _LANES + lane], state[3 * _LANES + lane] = d, c
            state[2 * _LANES + lane], state[_LANES + lane] = _turned(b, 30), a
            state[lane] = np.uint32(_turned(a, 5) + np.uint32(chosen) + e + key + words[at * _LANES + lane])
    for at in range(5 * _LANES):
        state[at] += _FIRST_STATE[at // _LANES]


@numba.njit(nogil=True)
def _put_base64(state: _Words, lane: int, text: _Bytes, row: int) -> None:
    """Write 20 bytes as 28 characters behind a row's prefix: six bits each, the last one padding."""
    for at in range(27):
        word, bit = 6 * at // 32, 6 * at % 32
        low = state[(word + 1) * _LANES + lane] if word < 4 else np.uint32(0)
        pair = np.uint64(state[word * _LANES + lane]) << np.uint64(32) | np.uint64(low)
        text[row, 2 + at] = _ALPHABET[np.int64(pair >> np.uint64(58 - bit) & np.uint64(63))]
    text[row, 29] = 61  # =


@numba.njit(cache=True, nogil=True)
def _fill_ids(ends: _Bytes, key: _Integers, tables: _Tables, text: _Bytes) -> None:
    block = np.empty(64, np.uint8)
    words, state = np.zeros(80 * _LANES, np.uint32), np.empty(5 * _LANES, np.uint32)
    for first in range(0, len(key), _LANES):
        lanes = min(_LANES, len(key) - first)
        for lane in range(lanes):
            _fill_message(ends, key, first + lane, tables, block)
            _put_words(block, lane, words)
        _hash(words, state)
        for lane in range(lanes):
            _put_base64(state, lane, text, first + lane)
