"""TLS hellos: what a client offers and a server chooses, out of one side's records or out of QUIC's CRYPTO frames.

Sources: RFC 8446, 4.1 and 5.1 (hellos, records; RFC 5246 and 6101 before it), RFC 6066, 3 (server name), RFC 7301
(ALPN), RFC 8701 (GREASE); Shell 1959 with Ciura's gaps, to sort lists as long as a sender likes.
"""

from typing import NamedTuple, TypeAlias

import numpy as np

from features.kernel_types import NEVER, Int, Record, kernel, part
from features.payload.said import Sides
from features.payload.text import LONGEST_TEXT
from features.payload.tls import COUNT_SHOWN, KEY_BYTES, VERSIONS

HANDSHAKE_RECORD = 22
CLIENT_HELLO, SERVER_HELLO = 1, 2
LONGEST_SESSION_ID = 32
SERVER_NAME, SIGNATURE_ALGORITHMS, ALPN, SUPPORTED_VERSIONS = 0, 13, 16, 43
FIRST_VERSION, TLS_1_3, TLS_1_3_CIPHERS = min(VERSIONS), max(VERSIONS), 0x13
COMMA = 0x2C
GAPS = (701, 301, 132, 57, 23, 10, 4, 1)
Hello: TypeAlias = tuple[Int, Int, Int]
"""Of a hello behind its handshake header: the first byte, the one behind the last that is there, its whole length."""


class Scratch(NamedTuple):
    """Room to work in, and how the parts of the hello in hand lie in it."""

    numbers: np.ndarray  # int64, one for every two bytes of the longest hello
    spans: np.ndarray  # int64, shape (SUPPORTED_VERSIONS + 1, 2): the first extension of each of the lowest numbers


def scratch_for(sides: Sides) -> Scratch:
    """Return room for a hello as long as all sides together."""
    return Scratch(np.empty(int(sides.stops[-1]) // 2 + 1, np.int64), np.empty((SUPPORTED_VERSIONS + 1, 2), np.int64))


@part
def _number(raw: np.ndarray, at: Int, stop: Int, size: Int) -> Int:
    """Return the number in the next bytes, of as many of them as there are."""
    value: Int = 0
    for i in range(at, min(at + size, stop)):
        value = value << 8 | np.int64(raw[i])
    return value


@part
def _is_grease(number: Int) -> bool:
    return number & 0x0F0F == 0x0A0A and number >> 8 == number & 0xFF


@part
def _sort(numbers: np.ndarray, count: Int) -> None:
    for gap in GAPS:
        for i in range(gap, count):
            number, k = numbers[i], i
            while k >= gap and numbers[k - gap] > number:
                numbers[k] = numbers[k - gap]
                k -= gap
            numbers[k] = number


@part
def _list(raw: np.ndarray, at: Int, stop: Int, numbers: np.ndarray) -> Int:
    """Fill the whole numbers of a list, but for GREASE, and return how many they are."""
    count = 0
    while at + 2 <= stop:
        number = _number(raw, at, stop, 2)
        if not _is_grease(number):
            numbers[count] = number
            count += 1
        at += 2
    return count


@part
def _put(raw: np.ndarray, to: Int, numbers: np.ndarray, count: Int) -> Int:
    """Write numbers of 16 bits, and return the index behind them."""
    for i in range(count):
        raw[to], raw[to + 1] = numbers[i] >> 8, numbers[i] & 0xFF
        to += 2
    return to


@part
def _find_extensions(raw: np.ndarray, at: Int, end: Int, scratch: Scratch) -> tuple[Int, bool]:
    """List the numbers of the whole extensions from an index on, and where those lie that are looked into.

    Returns:
        How many there are, and whether all are whole and end where the hello does.
    """
    for number in range(len(scratch.spans)):
        scratch.spans[number, 0] = scratch.spans[number, 1] = NEVER
    count: Int = 0
    if at >= end:
        return count, at == end
    listed = at + 2 + _number(raw, at, end, 2)
    at += 2
    while at + 4 <= min(listed, end):
        number, size = _number(raw, at, end, 2), _number(raw, at + 2, end, 2)
        if at + 4 + size > min(listed, end):
            break
        if number <= SUPPORTED_VERSIONS and scratch.spans[number, 0] == NEVER:
            scratch.spans[number, 0], scratch.spans[number, 1] = at + 4, at + 4 + size
        scratch.numbers[count] = number
        count += 1
        at += 4 + size
    return count, at == listed == end


@part
def _without_repeats(numbers: np.ndarray, count: Int) -> Int:
    """Sort numbers, leave out GREASE and what comes again, and return how many are left."""
    _sort(numbers, count)
    kept = 0
    for i in range(count):
        if not _is_grease(numbers[i]) and (kept == 0 or numbers[kept - 1] != numbers[i]):
            numbers[kept] = numbers[i]
            kept += 1
    return kept


@part
def _add_server_name(raw: np.ndarray, scratch: Scratch, row: Record) -> None:
    """Add the first host name of the extension, if there is one."""
    at, stop = scratch.spans[SERVER_NAME, 0], scratch.spans[SERVER_NAME, 1]
    if stop - at > 5 and raw[at + 2] == 0:
        end = min(stop, at + 5 + _number(raw, at + 3, stop, 2))
        if end > at + 5:
            row.tls_server_name[0], row.tls_server_name[1] = at + 5, end


@part
def _add_protocols(raw: np.ndarray, scratch: Scratch, row: Record, to: Int) -> Int:
    """Write the names that the client offers with commas between them, as many as are shown; return what is free."""
    at, stop = scratch.spans[ALPN, 0] + 2, scratch.spans[ALPN, 1]
    if at >= stop:
        return to
    row.tls_alpn[0] = to
    full = to + LONGEST_TEXT
    first = True
    while at < stop and to < full:
        if not first:
            raw[to] = COMMA
            to += 1
        first = False
        for i in range(at + 1, min(at + 1 + raw[at], stop)):
            if to < full:
                raw[to] = raw[i]
                to += 1
        at += 1 + np.int64(raw[at])
    row.tls_alpn[1] = to
    return to


@part
def _key_protocol(raw: np.ndarray, scratch: Scratch, to: Int) -> None:
    """Write whether the first protocol's name has bytes, and the first and last of them."""
    at, stop = scratch.spans[ALPN, 0] + 2, scratch.spans[ALPN, 1]
    raw[to] = raw[to + 1] = raw[to + 2] = 0
    if scratch.spans[ALPN, 0] != NEVER and at < stop:
        last = min(at + np.int64(raw[at]), stop - 1)
        if last > at:
            raw[to], raw[to + 1], raw[to + 2] = 1, raw[at + 1], raw[last]


@part
def _offered_version(raw: np.ndarray, scratch: Scratch, legacy: Int) -> Int:
    """Return the highest of the versions that are offered, the old field's where there is no list of them."""
    at, stop, found = scratch.spans[SUPPORTED_VERSIONS, 0] + 1, scratch.spans[SUPPORTED_VERSIONS, 1], NEVER
    while at > 0 and at + 2 <= stop:
        number = _number(raw, at, stop, 2)
        if not _is_grease(number):
            found = max(found, number)
        at += 2
    return legacy if found == NEVER else found


@part
def _add_fingerprint(raw: np.ndarray, hello: tuple[Int, Int, Int, Int], scratch: Scratch, row: Record, to: Int) -> Int:
    """Write what JA4 is made of (tls.ja4) and add the counts; returns the index behind it."""
    version, begin, stop, listed = hello
    numbers = scratch.numbers
    key, to = to, to + KEY_BYTES
    extensions = _without_repeats(numbers, listed)
    shown = 0
    for i in range(extensions):
        if numbers[i] not in (SERVER_NAME, ALPN):
            raw[to + 2 * shown], raw[to + 2 * shown + 1] = numbers[i] >> 8, numbers[i] & 0xFF
            shown += 1
    to += 2 * shown
    ciphers = _list(raw, begin, stop, numbers)
    _sort(numbers, ciphers)
    to = _put(raw, to, numbers, ciphers)
    at = scratch.spans[SIGNATURE_ALGORITHMS, 0]
    if at != NEVER:
        to = _put(raw, to, numbers, _list(raw, at + 2, scratch.spans[SIGNATURE_ALGORITHMS, 1], numbers))
    offered = _offered_version(raw, scratch, version)
    row.tls_names_server = scratch.spans[SERVER_NAME, 0] != NEVER
    row.tls_cipher_count, row.tls_extension_count = ciphers, extensions
    raw[key], raw[key + 1] = offered >> 8, offered & 0xFF
    raw[key + 2] = scratch.spans[SERVER_NAME, 0] != NEVER
    raw[key + 3], raw[key + 4] = min(ciphers, COUNT_SHOWN), min(extensions, COUNT_SHOWN)
    _key_protocol(raw, scratch, key + 5)
    raw[key + 8], raw[key + 9] = shown >> 8, shown & 0xFF
    raw[key + 10], raw[key + 11] = ciphers >> 8, ciphers & 0xFF
    row.tls_ja4[0], row.tls_ja4[1] = key, to
    return to


@part
def _read_client_hello(raw: np.ndarray, hello: Hello, scratch: Scratch, row: Record, to: Int) -> Int:
    body, end, size = hello
    at = body + 35 + np.int64(raw[body + 34])
    ciphers = at + 2
    at = ciphers + _number(raw, at, end, 2)
    stop = min(at, end)
    at += 1 + (np.int64(raw[at]) if at < end else 0)
    if at - body > size:
        return to
    listed, whole = _find_extensions(raw, at, end, scratch)
    _add_server_name(raw, scratch, row)
    if scratch.spans[ALPN, 0] != NEVER:
        to = _add_protocols(raw, scratch, row, to)
    if whole and end - body == size:
        to = _add_fingerprint(raw, (_number(raw, body, end, 2), ciphers, stop, listed), scratch, row, to)
    return to


@part
def _read_server_hello(raw: np.ndarray, hello: Hello, scratch: Scratch, row: Record) -> None:
    """Add the version: 1.3, and drafts of it, have cipher suites of their own, and say it in an extension too."""
    body, end, size = hello
    at = body + 35 + np.int64(raw[body + 34])
    if at + 2 > end or at + 3 - body > size:
        return
    _find_extensions(raw, at + 3, end, scratch)
    chosen, stop = scratch.spans[SUPPORTED_VERSIONS, 0], scratch.spans[SUPPORTED_VERSIONS, 1]
    version = _number(raw, chosen, stop, 2) if stop > chosen else _number(raw, body, end, 2)
    if raw[at] == TLS_1_3_CIPHERS:
        version = TLS_1_3
    if FIRST_VERSION <= version <= TLS_1_3:
        row.tls_version = version


@part
def _read_hello(raw: np.ndarray, at: Int, stop: Int, scratch: Scratch, row: Record, to: Int) -> Int:
    """Add what the hello at the beginning of some handshake bytes says; returns the first index that is free."""
    if stop - at < 4:
        return to
    kind, size, body = np.int64(raw[at]), _number(raw, at + 1, stop, 3), at + 4
    end = min(stop, body + size)
    if end - body < 35 or raw[body + 34] > LONGEST_SESSION_ID or raw[body] != FIRST_VERSION >> 8:
        return to
    if kind == CLIENT_HELLO:
        return _read_client_hello(raw, (body, end, size), scratch, row, to)
    if kind == SERVER_HELLO:
        _read_server_hello(raw, (body, end, size), scratch, row)
    return to


@part
def _out_of_records(raw: np.ndarray, at: Int, stop: Int, to: Int) -> Int:
    """Copy the handshake bytes of the records at the beginning of a stream, and return the index behind them."""
    while stop - at > 5 and raw[at] == HANDSHAKE_RECORD:
        end = at + 5 + _number(raw, at + 3, stop, 2)
        for i in range(at + 5, min(end, stop)):
            raw[to] = raw[i]
            to += 1
        at = end
    return to


@kernel
def read_tls(sides: Sides, which: np.ndarray, scratch: Scratch, said: np.ndarray) -> Int:
    """Fill what the hello at the beginning of each side says; where both sides say it, the backward one.

    Args:
        sides: First payload bytes of the flows; what is made of them is written behind.
        which: The flows that may speak TLS, indices of said.
        scratch: Room to work in.
        said: SAID rows. Of a ClientHello the name and the protocols are filled as far as its bytes reach, the
            fingerprint and the counts once all of it is there; of a ServerHello the version.

    Returns:
        The index behind what was written.
    """
    raw, stops = sides
    to = stops[-1]
    for flow in which:
        for side in (2 * flow, 2 * flow + 1):
            at, stop = stops[side], stops[side + 1]
            if stop - at < 6 or raw[at] != HANDSHAKE_RECORD or raw[at + 1] != FIRST_VERSION >> 8 or raw[at + 2] > 4:
                continue
            behind = _out_of_records(raw, at, stop, to)
            to = _read_hello(raw, to, behind, scratch, said[flow], behind)
    return to


@kernel
def read_hellos(raw: np.ndarray, stops: np.ndarray, which: np.ndarray, scratch: Scratch, said: np.ndarray) -> None:
    """Fill what hellos say that lie one behind the other in raw; what is made of them is written behind the last.

    Args:
        raw: Bytes of the handshakes, and room.
        stops: Where each lies, from stops[i] to stops[i + 1].
        which: Of each the flow that sent it, an index of said.
        scratch: Room to work in.
        said: SAID rows.
    """
    to = stops[-1]
    for i, flow in enumerate(which):
        to = _read_hello(raw, stops[i], stops[i + 1], scratch, said[flow], to)
