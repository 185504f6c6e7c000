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
_REQUEST = re.compile(rb"(%b) (?=[/*h\w])([!-~\x80-\xff]*)( HTTP/1\.\d\r?(?:\n|\Z))?" % b"|".join(
    method.encode() for method in METHODS
))  # fmt: skip
_STATUS = re.compile(rb"HTTP/1\.\d ([1-5]\d\d)[ \r\n]")
_HOST = re.compile(rb"\n[Hh][Oo][Ss][Tt]:[ \t]*([^\r\n]*?)[ \t]*(?::\d{1,5})?[ \t]*\r?\n")
_HEAD_END = re.compile(rb"\n\r?\n")


def http_request_facts(stream: bytes) -> Facts:
    """Return http_method, http_uri_length and http_host (lower case, without the port) of the first request.

    A target that is not followed by HTTP/1 is either cut (then the bytes end there) or none of a request's.
    """
    request = _REQUEST.match(stream)
    if request is None or (request[3] is None and not _may_be_cut(stream, request.end())):
        return {}
    facts: Facts = {"http_method": request[1].decode("ascii")}
    if request[3] is None:
        return facts
    facts["http_uri_length"] = len(request[2])
    ended = _HEAD_END.search(stream)
    host = _HOST.search(stream, 0, ended.end() if ended else len(stream))
    if host and host[1]:
        facts["http_host"] = safe_text(host[1]).lower()
    return facts


def http_response_facts(stream: bytes) -> Facts:
    """Return http_status of the first response."""
    status = _STATUS.match(stream)
    if status is None:
        return {}
    code = int(status[1])
    return {"http_status": code, "http_failed": int(code >= 400)}


def _may_be_cut(stream: bytes, at: int) -> bool:
    return b" HTTP/1.".startswith(stream[at : at + 8]) and len(stream) - at < 10
