"""Community ID v1: the flow hash Zeek, Suricata, Wireshark and others join on.

Source: https://github.com/corelight/community-id-spec, version 1; FIPS 180-4 for SHA-1, of a message that always fits
in one block; RFC 4648 for base64.
"""

from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt
import pyarrow as pa

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


def community_ids(flows: npt.NDArray[np.void], seed: int = 0) -> pa.Array:
    """Return the Community ID v1 of each flow as a string, such as 1:LQU9qZlK+B5F3KDmev6m5PMibrg=."""
    text = np.empty((len(flows), _ID_BYTES), np.uint8)
    text[:, :2] = _PREFIX
    key = np.empty((len(flows), 6), np.int64)
    for at, name in enumerate(("ip_version", "protocol", "src_port", "dst_port", "icmp_type", "icmp_code")):
        key[:, at] = flows[name]
    ends = (np.ascontiguousarray(flows["src"]), np.ascontiguousarray(flows["dst"]))
    _fill_ids(*ends, key, _Tables(_COUNTERPARTS, _HAS_PORTS, seed), text)
    offsets = np.arange(0, text.size + 1, _ID_BYTES, dtype=np.int32)
    return pa.Array.from_buffers(pa.string(), len(flows), [None, pa.py_buffer(offsets), pa.py_buffer(text)])


@numba.njit(nogil=True)
def _comes_after(src: _Bytes, dst: _Bytes, src_port: int, dst_port: int) -> bool:
    for at in range(len(src)):
        if src[at] != dst[at]:
            return src[at] > dst[at]
    return src_port > dst_port


@numba.njit(nogil=True)
def _fill_message(src: _Bytes, dst: _Bytes, key: _Integers, tables: _Tables, block: _Bytes) -> None:
    """Write what is hashed, and SHA-1's padding, to a block of 64 bytes."""
    version, protocol, src_port, dst_port, icmp_type, icmp_code = key
    other = tables.counterparts[protocol, icmp_type & 0xFF]
    if other != _NO_MESSAGES:
        src_port, dst_port = icmp_type, icmp_code if other == _NO_COUNTERPART else other
    skipped = 12 if version == 4 else 0
    first, second = src[skipped:], dst[skipped:]
    if other != _NO_COUNTERPART and _comes_after(first, second, src_port, dst_port):
        first, second, src_port, dst_port = second, first, dst_port, src_port
    block[:] = 0
    block[0], block[1] = tables.seed >> 8, tables.seed & 0xFF
    size = len(first)
    block[2 : 2 + size], block[2 + size : 2 + 2 * size] = first, second
    at = 2 + 2 * size
    block[at] = protocol
    at += 2
    if tables.has_ports[protocol]:
        block[at], block[at + 1] = src_port >> 8, src_port & 0xFF
        block[at + 2], block[at + 3] = dst_port >> 8, dst_port & 0xFF
        at += 4
    block[at] = 0x80
    block[62], block[63] = 8 * at >> 8, 8 * at & 0xFF


@numba.njit(nogil=True)
def _turned(word: np.uint32, bits: int) -> np.uint32:
    return np.uint32(word << np.uint32(bits) | word >> np.uint32(32 - bits))


@numba.njit(nogil=True)
def _hash(block: _Bytes, words: _Words, state: _Words) -> None:
    """Leave the SHA-1 of a padded block in state, shape (5,); words, shape (80,), is room to work in."""
    for at in range(16):
        high, low = np.uint32(block[4 * at]) << 24, np.uint32(block[4 * at + 1]) << 16
        words[at] = np.uint32(high | low | np.uint32(block[4 * at + 2]) << 8 | block[4 * at + 3])
    for at in range(16, 80):
        words[at] = _turned(words[at - 3] ^ words[at - 8] ^ words[at - 14] ^ words[at - 16], 1)
    a, b, c, d, e = _FIRST_STATE
    for at in range(80):
        if at < 20:
            chosen = b & c | ~b & d
        elif at < 40 or at >= 60:
            chosen = b ^ c ^ d
        else:
            chosen = b & c | b & d | c & d
        total = np.uint32(_turned(a, 5) + chosen + e + _ROUND_KEYS[at // 20] + words[at])
        a, b, c, d, e = total, a, _turned(b, 30), c, d
    state[0], state[1], state[2] = _FIRST_STATE[0] + a, _FIRST_STATE[1] + b, _FIRST_STATE[2] + c
    state[3], state[4] = _FIRST_STATE[3] + d, _FIRST_STATE[4] + e


@numba.njit(nogil=True)
def _put_base64(state: _Words, text: _Bytes) -> None:
    """Write 20 bytes as 28 characters: six bits each, the last one padding."""
    for at in range(27):
        word, bit = 6 * at // 32, 6 * at % 32
        pair = np.uint64(state[word]) << np.uint64(32) | np.uint64(state[word + 1] if word < 4 else 0)
        text[at] = _ALPHABET[np.int64(pair >> np.uint64(58 - bit) & np.uint64(63))]
    text[27] = 61  # =


@numba.njit(cache=True, nogil=True)
def _fill_ids(src: _Bytes, dst: _Bytes, key: _Integers, tables: _Tables, text: _Bytes) -> None:
    block, words, state = np.empty(64, np.uint8), np.empty(80, np.uint32), np.empty(5, np.uint32)
    for row in range(len(src)):
        _fill_message(src[row], dst[row], key[row], tables, block)
        _hash(block, words, state)
        _put_base64(state, text[row, 2:])
