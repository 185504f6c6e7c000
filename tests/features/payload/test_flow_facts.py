"""Which side of a flow is read as what."""

from features.payload.flow_facts import TCP, flow_facts

REQUEST, RESPONSE = b"GET /a HTTP/1.1\r\nHost: b\r\n\r\n", b"HTTP/1.1 404 Not Found\r\n\r\n"


def test_whichever_side_asked() -> None:
    """A flow whose beginning was not recorded may begin with the response: request and status are read all the same."""
    facts = flow_facts(TCP, (50_000, 80), REQUEST, RESPONSE)
    assert facts == {"http_method": "GET", "http_uri_length": 2, "http_host": "b", "http_status": 404, "http_failed": 1}
    assert flow_facts(TCP, (80, 50_000), RESPONSE, REQUEST) == facts
