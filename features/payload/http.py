"""HTTP/1: the first request's method, host and length of target, and the first response's status.

Source: RFC 9112, 3 (request line), 4 (status line), 5 (header fields); RFC 9110, 7.2 (host) and 9 (methods), RFC 5789,
RFC 4918 (WebDAV).
"""

import numpy as np

from features.kernel_types import NEVER, Int, Record, kernel, part
from features.payload.said import Sides

METHODS = (
    *("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"),
    *("PROPFIND", "PROPPATCH", "MKCOL", "COPY", "MOVE", "LOCK", "UNLOCK", "REPORT", "SEARCH"),
)
LONGEST_METHOD = max(map(len, METHODS))
LONGEST_PORT = 5
_METHODS = np.array([list(name.encode().ljust(LONGEST_METHOD)) for name in METHODS], np.uint8)
_VERSION, _STATUS_LINE = np.frombuffer(b" HTTP/1.", np.uint8), np.frombuffer(b"HTTP/1.", np.uint8)
_HOST_FIELD = np.frombuffer(b"host:", np.uint8)
TAB, NEWLINE, RETURN, SPACE = b"\t\n\r "
ZERO, NINE, COLON, SLASH, STAR, UNDERSCORE, TILDE = b"09:/*_~"


@part
def _is_digit(byte: Int) -> bool:
    return bool(ZERO <= byte <= NINE)


@part
def _is_blank(byte: Int) -> bool:
    return byte in (SPACE, TAB)


@part
def _begins_target(byte: Int) -> bool:
    folded = byte | 32
    return bool(_is_digit(byte) or 97 <= folded <= 122 or byte in (SLASH, STAR, UNDERSCORE))


@part
def _begins(raw: np.ndarray, at: Int, stop: Int, word: np.ndarray) -> bool:
    """Tell whether a word is next, in whatever case if it is in lower case."""
    if stop - at < len(word):
        return False
    for i in range(len(word)):
        byte = np.int64(raw[at + i])
        if byte != word[i] and (not 97 <= word[i] <= 122 or byte + 32 != word[i]):
            return False
    return True


@part
def _find(raw: np.ndarray, at: Int, stop: Int, byte: Int) -> Int:
    """Return the index of the next such byte, stop where there is none."""
    while at < stop and raw[at] != byte:
        at += 1
    return at


@part
def _method(raw: np.ndarray, at: Int, stop: Int) -> Int:
    """Return the index in METHODS of the word before the next space, NEVER if it is none."""
    if at == stop or not 65 <= raw[at] <= 90:
        return NEVER
    size = _find(raw, at, min(stop, at + LONGEST_METHOD + 1), SPACE) - at
    if size > LONGEST_METHOD or at + size == stop:
        return NEVER
    for method in range(len(_METHODS)):
        same = size == LONGEST_METHOD or _METHODS[method, size] == SPACE
        for i in range(size):
            same = same and _METHODS[method, i] == raw[at + i]
        if same:
            return method
    return NEVER


@part
def _is_printed(raw: np.ndarray, at: Int, stop: Int) -> bool:
    """Tell whether a line, its return aside, has no control characters."""
    if stop > at and raw[stop - 1] == RETURN:
        stop -= 1
    while at < stop and (SPACE <= raw[at] <= TILDE or raw[at] >= 128):
        at += 1
    return at == stop


@part
def _version_at(raw: np.ndarray, at: Int, end: Int) -> Int:
    """Return the index of the space before HTTP/1 at the end of a line, NEVER if it ends otherwise."""
    if end > at and raw[end - 1] == RETURN:
        end -= 1
    size = len(_VERSION) + 1
    return (
        end - size
        if end - size >= at and _begins(raw, end - size, end, _VERSION) and _is_digit(raw[end - 1])
        else NEVER
    )


@part
def _head_end(raw: np.ndarray, at: Int, stop: Int) -> Int:
    """Return the index behind the empty line that ends a head, stop where there is none."""
    while at < stop:
        at = _find(raw, at, stop, NEWLINE) + 1
        if at < stop and raw[at] == NEWLINE:
            return at + 1
        if at + 1 < stop and raw[at] == RETURN and raw[at + 1] == NEWLINE:
            return at + 2
    return stop


@part
def _without_port(raw: np.ndarray, at: Int, end: Int) -> Int:
    """Return where a host ends before its port, if it has one, and before the blanks there."""
    colon = end - 1
    while colon >= at and _is_digit(raw[colon]):
        colon -= 1
    if colon < at or raw[colon] != COLON or not 1 <= end - 1 - colon <= LONGEST_PORT:
        return end
    while colon > at and _is_blank(raw[colon - 1]):
        colon -= 1
    return colon


@part
def _add_host(raw: np.ndarray, at: Int, stop: Int, row: Record) -> None:
    """Add the first host of a request's head that is a whole line, unless it is empty."""
    stop = _head_end(raw, at, stop)
    at = _find(raw, at, stop, NEWLINE) + 1
    while at < stop:
        end = _find(raw, at, stop, NEWLINE)
        if end < stop and _begins(raw, at, end, _HOST_FIELD):
            begin, last = at + len(_HOST_FIELD), end - (raw[end - 1] == RETURN)
            if _find(raw, begin, last, RETURN) == last:
                while last > begin and _is_blank(raw[last - 1]):
                    last -= 1
                while begin < last and _is_blank(raw[begin]):
                    begin += 1
                last = _without_port(raw, begin, last)
                if last > begin:
                    row.http_host[0], row.http_host[1] = begin, last
                return
        at = end + 1


@part
def _read_request(raw: np.ndarray, at: Int, stop: Int, row: Record) -> bool:
    """Add the first request, and tell whether there is one.

    What stands between the method and HTTP/1 at the line's end is the target, blanks included: attacks have them, and
    servers read on (RFC 9112, 3). A line without that end is either cut or none of a request's.
    """
    method = _method(raw, at, stop)
    if method == NEVER:
        return False
    target = _find(raw, at, stop, SPACE)
    while target < stop and raw[target] == SPACE:
        target += 1
    if target == stop or not _begins_target(np.int64(raw[target])):
        return False
    end = _find(raw, at, stop, NEWLINE)
    version = _version_at(raw, at, end)
    if version == NEVER:
        if end < stop or not _is_printed(raw, at, end):
            return False
        row.http_method = method
        return True
    row.http_method, row.http_uri_length = method, max(version - target, 0)
    _add_host(raw, at, stop, row)
    return True


@part
def _read_response(raw: np.ndarray, at: Int, stop: Int, row: Record) -> bool:
    """Add the first response's status, and tell whether there is one."""
    at += len(_STATUS_LINE)
    if stop - at < 6 or not _begins(raw, at - len(_STATUS_LINE), stop, _STATUS_LINE):
        return False
    if not _is_digit(raw[at]) or raw[at + 1] != SPACE or not 49 <= raw[at + 2] <= 53:
        return False
    if not _is_digit(raw[at + 3]) or not _is_digit(raw[at + 4]) or raw[at + 5] not in (SPACE, RETURN, NEWLINE):
        return False
    status = (np.int64(raw[at + 2]) * 10 + raw[at + 3]) * 10 + raw[at + 4] - 111 * ZERO
    row.http_status, row.http_failed = status, status >= 400
    return True


@kernel
def read_http(sides: Sides, which: np.ndarray, said: np.ndarray) -> None:
    """Fill the request of the forward side and the response of the backward one, or the other way round.

    A flow whose beginning was not recorded may begin with the response.

    Args:
        sides: First payload bytes of the flows.
        which: The flows that may speak HTTP, indices of said.
        said: SAID rows.
    """
    raw, stops = sides
    for flow in which:
        begin, middle, end, row = stops[2 * flow], stops[2 * flow + 1], stops[2 * flow + 2], said[flow]
        if not _read_request(raw, begin, middle, row):
            _read_request(raw, middle, end, row)
        if not _read_response(raw, middle, end, row):
            _read_response(raw, begin, middle, row)
