"""DNS: the first question and the response code of one message.

The question is read, the answers are not: they would need compression pointers, and a question comes before anything
that a pointer could point to. So a name is at most 255 bytes of labels in order, and reading it always ends.

Sources: RFC 1035, 4.1 (message) and 4.2.2 (length before a message over TCP); RFC 4343 (names ignore case, escapes);
RFC 2929 (opcodes); RFC 6762, 5.3, 5.4.
"""

import math

import numpy as np

from features.kernel_types import NEVER, Int, Record, kernel, part
from features.payload.said import Sides

HEADER_BYTES = 12
LONGEST_NAME = 255
LONGEST_LABEL = 63
LARGEST_OPCODE = 6
MOST_RECORDS = 512
"""A message of up to 64 KB cannot hold many more; a larger count says that it is no DNS message."""
CLASSES = (1, 3, 4, 254, 255)
CUT, IMPOSSIBLE = -1, -2
BACKSLASH = 0x5C
SPECIAL = np.isin(np.arange(256), list(b'."();@$\\'))
"""Bytes that a name shows behind a backslash."""
LONGEST_BYTE = 4
"""Characters that a byte of a name is shown by at most."""


@part
def _u16(raw: np.ndarray, at: Int) -> Int:
    return np.int64(raw[at]) << 8 | np.int64(raw[at + 1])


@part
def _folded(byte: Int) -> Int:
    return byte + 32 if 65 <= byte <= 90 else byte


@part
def _name_end(raw: np.ndarray, at: Int, stop: Int) -> Int:
    """Return the index of the 0 that ends a question's name, CUT if it is cut, IMPOSSIBLE if it cannot be one."""
    begin = at
    while at < stop and raw[at]:
        size = np.int64(raw[at])
        if size > LONGEST_LABEL or at - begin + 2 + size > LONGEST_NAME:
            return IMPOSSIBLE
        at += 1 + size
    if at + 5 > stop:
        return CUT
    return at if _u16(raw, at + 3) & 0x7FFF in CLASSES else IMPOSSIBLE  # the highest bit asks for unicast, RFC 6762


@part
def _entropy_bits(raw: np.ndarray, begin: Int, end: Int, counts: np.ndarray) -> float:
    """Return Shannon's entropy of a name's label bytes, in bits a byte; counts are 0 before and after."""
    total: Int = 0
    at = begin
    while at < end:
        for i in range(at + 1, at + 1 + raw[at]):
            counts[_folded(np.int64(raw[i]))] += 1
        total += np.int64(raw[at])
        at += 1 + np.int64(raw[at])
    bits, at = 0.0, begin
    while at < end:
        for i in range(at + 1, at + 1 + raw[at]):
            byte = _folded(np.int64(raw[i]))
            if counts[byte]:
                bits += counts[byte] / total * math.log2(total / counts[byte])
                counts[byte] = 0
        at += 1 + np.int64(raw[at])
    return bits


@part
def _add_question(raw: np.ndarray, begin: Int, end: Int, row: Record, counts: np.ndarray) -> None:
    longest: Int = 0
    labels, at = 0, begin
    while at < end:
        longest = max(longest, np.int64(raw[at]))
        labels += 1
        at += 1 + np.int64(raw[at])
    row.dns_query[0], row.dns_query[1] = begin, end
    row.dns_query_type = _u16(raw, end + 1)
    row.dns_query_length = max(end - begin - 1, 0)
    row.dns_query_entropy = _entropy_bits(raw, begin, end, counts)
    row.dns_label_count, row.dns_longest_label = labels, longest


@part
def _read_message(raw: np.ndarray, at: Int, stop: Int, row: Record, counts: np.ndarray) -> None:
    """Add what a message says to what another has said."""
    if stop - at < HEADER_BYTES or raw[at + 2] >> 3 & 15 > LARGEST_OPCODE or raw[at + 3] & 0x40:
        return
    for count in range(4, HEADER_BYTES, 2):
        if _u16(raw, at + count) > MOST_RECORDS:
            return
    end: Int = CUT
    if _u16(raw, at + 4):
        end = _name_end(raw, at + HEADER_BYTES, stop)
        if end == IMPOSSIBLE:
            return
    if raw[at + 2] & 0x80 and row.dns_response_code == NEVER:
        row.dns_response_code = raw[at + 3] & 15
        row.dns_failed = row.dns_response_code != 0
    if end != CUT and row.dns_query[0] == NEVER:
        _add_question(raw, at + HEADER_BYTES, end, row, counts)


@kernel
def read_dns(sides: Sides, which: np.ndarray, over_tcp: bool, said: np.ndarray, counts: np.ndarray) -> None:
    """Fill what the first message of each side says, as far as its bytes reach; the forward one's question counts.

    Args:
        sides: First payload bytes of the flows.
        which: The flows that may speak DNS, indices of said.
        over_tcp: Each message stands behind its length.
        said: SAID rows. The whole question must be there, the first of several (multicast DNS asks for several).
        counts: 256 zeros to count bytes in.
    """
    raw, stops = sides
    for flow in which:
        for side in (2 * flow, 2 * flow + 1):
            at, stop = stops[side], stops[side + 1]
            if over_tcp and stop - at > 2:
                stop = min(stop, at + 2 + _u16(raw, at))
                at += 2
            _read_message(raw, at, stop, said[flow], counts)


@part
def _write_byte(byte: Int, out: np.ndarray, to: Int) -> Int:
    if 0x20 < byte < 0x7F:
        if SPECIAL[byte]:
            out[to] = BACKSLASH
            to += 1
        out[to] = byte
        return to + 1
    out[to] = BACKSLASH
    out[to + 1], out[to + 2], out[to + 3] = 48 + byte // 100, 48 + byte // 10 % 10, 48 + byte % 10
    return to + 4


@kernel
def write_names(raw: np.ndarray, spans: np.ndarray, out: np.ndarray, ends: np.ndarray) -> None:
    """Write names in lower case, in RFC 1035's presentation without the last dot, "." for the root.

    Args:
        raw: The bytes in which they lie.
        spans: First byte and the one behind the last of each, shape (n, 2); labels as they are on the wire.
        out: Filled with the texts, one behind the other; LONGEST_BYTE bytes for each of a name's and one more.
        ends: Filled from the second on with where each text ends, shape (n + 1,).
    """
    to = 0
    for i in range(len(spans)):
        at, end = spans[i, 0], spans[i, 1]
        if at == end:
            out[to] = ord(".")
            to += 1
        first = True
        while at < end:
            if not first:
                out[to] = ord(".")
                to += 1
            first = False
            for k in range(at + 1, at + 1 + raw[at]):
                to = _write_byte(_folded(np.int64(raw[k])), out, to)
            at += 1 + np.int64(raw[at])
        ends[i + 1] = to
