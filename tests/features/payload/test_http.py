"""HTTP/1: request and status lines, and what is cut of them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.payload.facts import Facts
from features.payload.flow_facts import TCP, flow_facts

REQUEST = b"GET /a/b?c HTTP/1.1\r\nUser-Agent: x\r\nHost: Foo.bar:8080\r\n\r\nHost: body\r\n"


def said(stream: bytes) -> Facts:
    """Return what one side of a flow says."""
    return flow_facts(TCP, (50_000, 80), stream, b"")


def test_request() -> None:
    """A request gives its method, the length of its target, and its host without the port."""
    expected = {"http_method": "GET", "http_uri_length": 6, "http_host": "foo.bar"}
    assert said(REQUEST) == expected


@pytest.mark.parametrize(
    ("line", "host"),
    [(b"HOST:[2001:DB8::1]:443", "[2001:db8::1]"), (b"host: \x00\xff", "\\x00\\xff"), (b"Host:", None)],
)
def test_host(line: bytes, host: str | None) -> None:
    """The field's name has any case, an IPv6 literal its brackets, other bytes are escaped, nothing is null."""
    assert said(b"GET / HTTP/1.0\r\n" + line + b"\r\n\r\n").get("http_host") == host


def test_host_of_the_head() -> None:
    """A body that looks like a host is none."""
    assert "http_host" not in said(b"POST / HTTP/1.1\r\n\r\nx\r\nHost: body\r\n")


def test_cut_request() -> None:
    """Cut anywhere, a request says what is whole: method, then length of target, then host; never another value."""
    whole = said(REQUEST)
    seen = [said(REQUEST[:size]) for size in range(len(REQUEST))]
    assert all(one.items() <= whole.items() for one in seen)
    assert [len(one) for one in seen] == sorted(len(one) for one in seen)


@pytest.mark.parametrize(
    ("line", "length"),
    [(b"GET /a;cat /etc/passwd|?b HTTP/1.1", 21), (b"GET     /a HTTP/1.1", 2), (b"GET /a HTTP/1.1", 2)],
)
def test_blanks_in_the_target(line: bytes, length: int) -> None:
    """Blanks before the target are passed over, those in it are part of it, as servers read on."""
    expected = {"http_method": "GET", "http_uri_length": length, "http_host": "b"}
    assert said(line + b"\r\nHost: b\r\n\r\n") == expected


@pytest.mark.parametrize("stream", [b"GET lost\r\n", b"GET /x SIP/2.0\r\n", b"GETTING /", b"get / HTTP/1.1\r\n", b""])
def test_no_request(stream: bytes) -> None:
    """A line without HTTP/1 behind the target is no request."""
    assert said(stream) == {}


@pytest.mark.parametrize("line", [b"GET HTTP/1.1", b"GET  HTTP/1.1"])
def test_no_target(line: bytes) -> None:
    """A request without a target has one of no length."""
    assert said(line + b"\r\nHost: b\r\n\r\n") == {"http_method": "GET", "http_uri_length": 0, "http_host": "b"}


def test_response() -> None:
    """A status line gives its code, and whether it says failure."""
    assert said(b"HTTP/1.1 404 Not Found\r\n") == {"http_status": 404, "http_failed": 1}
    assert said(b"HTTP/1.0 302\r\n") == {"http_status": 302, "http_failed": 0}


@pytest.mark.parametrize("stream", [b"HTTP/1.1 40", b"HTTP/1.1 404", b"HTTP/1.1 999 x", b"HTTP/2 200 \r\n", b""])
def test_no_response(stream: bytes) -> None:
    """A code that may go on, is none, or is of another version is not believed."""
    assert said(stream) == {}


@given(st.binary(max_size=500))
@settings(deadline=None)
def test_any_bytes(raw: bytes) -> None:
    """Any bytes end in facts of printable ASCII."""
    facts = said(raw) | said(b"GET /" + raw) | said(b"HTTP/1." + raw)
    assert all(str(value).isascii() and str(value).isprintable() for value in facts.values())
