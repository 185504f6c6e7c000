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
_HOST = re.compile(rb"\n[Hh][Oo][Ss][Tt]:[ \t]*([^\r\n]*?)[ \t]*(?::\d{1,5})?[ \t]*\r?\n")
_HEAD_END = re.compile(rb"\n\r?\n")


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
