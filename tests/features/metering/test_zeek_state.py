"""Zeek's conn_state and history of connections written down packet by packet."""

from pathlib import Path

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.packet import Packet, Raw

from features.metering.zeek_state import conn_states, histories
from tests.features.metering.test_meter import flows_of


def segment(step: str) -> Packet:
    """Return the packet of a step such as "<SA 5 +10 w0": from the server, flags, sequence number, payload, window."""
    flags, *rest = step[1:].split()
    numbers = [word for word in rest if word.isdigit()]
    payload = next((int(word[1:]) for word in rest if word[0] == "+"), 0)
    tcp = TCP(flags=flags, seq=int(numbers[0]) if numbers else 0, window=0 if "w0" in rest else 100)
    ends = {"src": "10.0.0.2", "dst": "10.0.0.1"} if step[0] == "<" else {"src": "10.0.0.1", "dst": "10.0.0.2"}
    tcp.sport, tcp.dport = (80, 1000) if step[0] == "<" else (1000, 80)
    return IP(**ends) / tcp / Raw(b"p" * payload)


def told(folder: Path, packets: list[Packet]) -> tuple[str, str | None]:
    """Return conn_state and history of the one flow of some packets."""
    flows = flows_of(folder, [(at / 1000, packet) for at, packet in enumerate(packets)]).flows
    texts = histories(flows)
    assert len(flows) == 1
    return conn_states(flows, texts)[0].as_py(), texts[0].as_py()


OPEN = [">S 1", "<SA 1", ">A 2"]
SAME_DATA = [">A 2 +5"] * 11


@pytest.mark.parametrize(
    ("state", "history", "steps"),
    [
        ("S0", "S", [">S 1", ">S 1"]),
        ("S1", "ShADad", [*OPEN, ">A 2 +5", "<A 2", "<A 2 +9"]),
        ("SF", "ShADadFf", [*OPEN, ">A 2 +5", "<A 2", "<A 2 +9", ">FA 7", "<FA 11", ">A 8"]),
        ("REJ", "Sr", [">S 1", "<RA 0"]),
        ("S2", "ShAFa", [*OPEN, ">FA 2", "<A 2"]),
        ("S3", "ShAf", [*OPEN, "<FA 2", ">A 2"]),
        ("RSTO", "ShAR", [*OPEN, ">R 2"]),
        ("RSTR", "ShADr", [*OPEN, ">A 2 +5", "<R 2"]),
        ("RSTOS0", "SR", [">S 1", ">R 2"]),
        ("RSTRH", "^hr", ["<SA 1", "<R 2"]),
        ("SH", "SF", [">S 1", ">F 2"]),
        ("SHR", "^hf", ["<SA 1", "<F 2"]),
        ("OTH", "DaA", [">A 2 +5", "<A 2", ">A 7"]),
        ("OTH", "R", [">R 2"]),
        ("SF", "^hAFf", ["<SA 1", ">A 2", ">FA 2", "<FA 2"]),
        ("SF", "ShAFRf", [*OPEN, ">FA 2", ">R 3", "<FA 2"]),
        ("RSTR", "ShAFrf", [*OPEN, ">FA 2", "<R 7", "<FA 2"]),
        ("S1", "ShADTT", [*OPEN, *SAME_DATA]),
        ("S1", "ShAaw", [*OPEN, "<A 2 w0"]),
        ("RSTO", "ShARR", [*OPEN, ">R 2", ">R 9", ">R 9"]),
        ("SF", "ShAFf", [*OPEN, ">FA 2", ">FA 2", "<FA 2"]),
        ("RSTO", "ShAI", [*OPEN, ">FRA 2"]),
        ("SH", "Q", [">SF 1"]),
    ],
)
def test_connection(tmp_path: Path, state: str, history: str, steps: list[str]) -> None:
    """What each side sent becomes the state and the letters of Zeek's documentation."""
    assert told(tmp_path, [segment(step) for step in steps]) == (state, history)


def test_history_is_bounded(tmp_path: Path) -> None:
    """Of 40 resets with different numbers the letters that fit are kept, and nothing else is changed."""
    state, history = told(tmp_path, [segment(step) for step in OPEN] + [segment(f">R {at}") for at in range(2, 42)])
    assert (state, history) == ("RSTO", "ShA" + 15 * "R")


def test_datagrams(tmp_path: Path) -> None:
    """UDP is D and d, SF when it was answered and S0 when not; ICMP has no history and the state OTH."""
    there, back = IP(src="10.0.0.1", dst="10.0.0.2"), IP(src="10.0.0.2", dst="10.0.0.1")
    question, answer = there / UDP(sport=1000, dport=53) / Raw(b"?"), back / UDP(sport=53, dport=1000) / Raw(b"!")
    assert told(tmp_path, [question]) == ("S0", "D")
    assert told(tmp_path, [question, answer]) == ("SF", "Dd")
    assert told(tmp_path, [there / ICMP(type=8)]) == ("OTH", None)
