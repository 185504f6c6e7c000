"""The comparison of one traffic through packets and through a conn.log, on a capture whose log is written by hand."""

from pathlib import Path

import numpy as np
import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.l2 import Ether
from scapy.utils import wrpcap

from benchmarks.views import Tally, compared, count, main, page

CLIENT = IP(src="192.0.2.1", dst="198.51.100.2")
SERVER = IP(src="198.51.100.2", dst="192.0.2.1")
FIELDS = (
    *("ts", "uid", "id.orig_h", "id.orig_p", "id.resp_h", "id.resp_p", "proto", "duration", "orig_bytes", "resp_bytes"),
    *("conn_state", "history", "orig_pkts", "orig_ip_bytes", "resp_pkts", "resp_ip_bytes"),
)
ENDS = ("192.0.2.1", "40000", "198.51.100.2")
ROWS = (
    ("X.X", "C1", *ENDS, "53", "udp", "0.500000", "5", "7", "SF", "Dd", "1", "33", "1", "35"),
    ("X.X", "C2", *ENDS, "80", "tcp", "-", "-", "-", "S0", "S", "1", "40", "0", "0"),
    ("X.X", "C3", *ENDS, "81", "tcp", "-", "-", "-", "S0", "S", "1", "40", "0", "0"),
)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder of two flows and a log of three connections, one of which the capture does not have."""
    ether = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
    packets = [
        ether / CLIENT / UDP(sport=40_000, dport=53) / b"query",
        ether / SERVER / UDP(sport=53, dport=40_000) / b"answers",
        ether / CLIENT / TCP(sport=40_000, dport=80, flags="S"),
    ]
    for packet, moment in zip(packets, (100.0, 100.5, 101.0), strict=True):
        packet.time = moment
    wrpcap(str(tmp_path / "two.pcap"), packets)
    lines = ["#separator \\x09", "#unset_field\t-", "#path\tconn", "\t".join(["#fields", *FIELDS])]
    (tmp_path / "conn.log").write_text("\n".join([*lines, *("\t".join(row) for row in ROWS)]) + "\n")
    (tmp_path / "pairs.csv").write_text("pcap,reference,kind,note\ntwo.pcap,conn.log,zeek-conn,rows=3\n")
    return tmp_path


def test_connections_are_compared_with_their_flows(data: Path) -> None:
    """Connections get their flow's time; every feature of both agrees, their neighbours included."""
    tally = compared(data, None)
    assert (tally.captures, tally.rows) == (1, {"compared": 2, "no flow alike": 1, "whole": 2})
    assert {outcome for (_, outcome), number in tally.columns.items() if number} == {"same"}
    assert tally.columns["fwd_payload_bytes", "same"] == tally.columns["src_flows_60s", "same"] == 2


def test_outcomes() -> None:
    """Within a hundredth is the same, and so are two nulls; one null alone is named by its side."""
    tally = Tally()
    packets, log = np.array([100, 100, np.nan, 1, np.nan]), np.array([99.5, 98, np.nan, np.nan, 1])
    count("fwd_bytes", packets, log, tally.columns)
    assert tally.columns == {
        ("fwd_bytes", "same"): 2,
        ("fwd_bytes", "different"): 1,
        ("fwd_bytes", "null in the log"): 1,
        ("fwd_bytes", "null in packets"): 1,
    }
    tally.differences, tally.fired = [0.0, 0.01, 0.06, 0.5], [True, True, True, False]
    assert "| volume | 40.00% | 20.00% | 20.00% | 20.00% |" in page(tally)
    assert "of the 4 in whole captures: 50.00% within 0.05" in page(tally)


def test_the_command(data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The command prints the page."""
    monkeypatch.setattr("sys.argv", ["views.py", str(data)])
    assert main() == 0
    assert "connections compared: 2, of them" in capsys.readouterr().out
