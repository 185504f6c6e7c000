"""Which side of a flow is read as what."""

import numpy as np

from features.payload.flow_facts import TCP, UDP, flow_facts, read_payloads
from features.payload.said import joined_sides

REQUEST, RESPONSE = b"GET /a HTTP/1.1\r\nHost: b\r\n\r\n", b"HTTP/1.1 404 Not Found\r\n\r\n"


def test_whichever_side_asked() -> None:
    """A flow whose beginning was not recorded may begin with the response: request and status are read all the same."""
    facts = flow_facts(TCP, (50_000, 80), REQUEST, RESPONSE)
    assert facts == {"http_method": "GET", "http_uri_length": 2, "http_host": "b", "http_status": 404, "http_failed": 1}
    assert flow_facts(TCP, (80, 50_000), RESPONSE, REQUEST) == facts


def test_flows_that_say_nothing_are_left_out() -> None:
    """Of flows of every kind only those come back whose bytes mean something, each with what it says."""
    banner, noise = b"SSH-2.0-OpenSSH_9.6\r\n", b"\0" * 18
    sides = joined_sides([(noise, b""), (noise, banner), (b"", noise), (REQUEST, RESPONSE), (noise, noise)])
    protocols = np.array([UDP, TCP, TCP, TCP, UDP], np.uint8)
    flows, rows = read_payloads(protocols, np.full((5, 2), 9000, np.uint16), sides)
    assert flows.tolist() == [1, 3]
    assert rows["ssh_server_software"].to_pylist() == ["OpenSSH_9.6", None]
    assert rows["http_host"].to_pylist() == [None, "b"]
    flows, rows = read_payloads(protocols[:0], np.zeros((0, 2), np.uint16), joined_sides([]))
    assert len(flows) == rows.num_rows == 0
