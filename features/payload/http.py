"""HTTP/1: the first request's method, host and length of target, and the first response's status.

Source: RFC 9112, 3 (request line), 4 (status line), 5 (header fields); RFC 9110, 7.2 (host) and 9 (methods), RFC 5789,
RFC 4918 (WebDAV).
"""

import re

from features.payload.facts import Facts
from features.payload.text import safe_text

METHODS = (
    *("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"),
    *("PROPFIND", "PROPPATCH", "MKCOL", "COPY", "MOVE", "LOCK", "UNLOCK", "REPORT", "SEARCH"),
)
_METHOD = re.compile(rb"(%b) +(?=[/*h\w])" % b"|".join(method.encode() for method in METHODS))
_VERSION = re.compile(rb" HTTP/1\.\d\r?")
_PRINTED = re.compile(rb"[ -~\x80-\xff]*\r?")
_STATUS = re.compile(rb"HTTP/1\.\d ([1-5]\d\d)[ \r\n]")
_LONGEST_PORT = 5
_HOST_FIELD = b"\nhost:"


def http_request_facts(stream: bytes) -> Facts:
    """Return http_method, http_uri_length and http_host (lower case, without the port) of the first request.

    What stands between the method and HTTP/1 at the line's end is the target, blanks included: attacks have them, and
    servers read on (RFC 9112, 3). A line without that end is either cut or none of a request's.
    """
    method = _METHOD.match(stream)
    if method is None:
        return {}
    line, newline, _ = stream.partition(b"\n")
    version = _VERSION.fullmatch(line, line.rfind(b" "))
    if version is None:
        return {} if newline or not _PRINTED.fullmatch(line) else {"http_method": method[1].decode("ascii")}
    facts: Facts = {"http_method": method[1].decode("ascii"), "http_uri_length": version.start() - method.end()}
    host = _host(stream)
    if host:
        facts["http_host"] = safe_text(host).lower()
    return facts


def _host(stream: bytes) -> bytes:
    """Return the first host of a request's head, empty if there is none."""
    ends = [at + len(mark) for mark in (b"\n\r\n", b"\n\n") if (at := stream.find(mark)) >= 0]
    head = stream[: min(ends, default=len(stream))]
    folded = head.lower()
    at = folded.find(_HOST_FIELD)
    while at >= 0:
        value, newline, _ = head[at + len(_HOST_FIELD) :].partition(b"\n")
        value = value.removesuffix(b"\r")
        if newline and b"\r" not in value:
            return _without_port(value.strip(b" \t"))
        at = folded.find(_HOST_FIELD, at + 1)
    return b""


def _without_port(host: bytes) -> bytes:
    name, _, port = host.rpartition(b":")
    return name.rstrip(b" \t") if port.isdigit() and len(port) <= _LONGEST_PORT and b":" in host else host


def http_response_facts(stream: bytes) -> Facts:
    """Return http_status of the first response."""
    status = _STATUS.match(stream)
    if status is None:
        return {}
    code = int(status[1])
    return {"http_status": code, "http_failed": int(code >= 400)}
