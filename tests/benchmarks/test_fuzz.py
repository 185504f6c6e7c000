"""The fuzzing campaign on two small captures: what it counts, and that it notices what does not hold."""

import random
from pathlib import Path

import pytest
from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import GRE, Ether
from scapy.utils import wrpcap

from benchmarks.fuzz import bounds_are_checked, campaign, changed, main, page, samples
from features.captures.link_kernel import LINKS

ETHER = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
INSIDE = IP(src="10.0.0.1", dst="10.0.0.2") / TCP(flags="S")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A capture of three packets, one of them in a tunnel, and one that is damaged at its first record."""
    packets = [ETHER / INSIDE, ETHER / INSIDE, ETHER / IP(src="192.0.2.1", dst="192.0.2.2") / GRE() / INSIDE]
    wrpcap(str(tmp_path / "good.pcap"), packets)
    content = (tmp_path / "good.pcap").read_bytes()
    (tmp_path / "damaged.pcap").write_bytes(content[:32] + b"\xff" * 8 + content[40:])
    return tmp_path


def test_campaign(folder: Path) -> None:
    """Each round reads every capture, or makes as many packets as it is told, and the page says so."""
    tallies = campaign(folder, 300, seed=3)
    whole, files, packets = tallies.values()
    assert (whole.files // 2, whole.packets, whole.flows, whole.errors.total() // 2) == (2, 3, 3, 1)
    assert (whole.counts["packets_metered"], whole.counts["tunnels.gre"]) == (3, 1)
    assert files.files // 2 == 2
    assert packets.packets == 300
    assert "| as they are | 2 | 3 | 3 | 1 |" in page(tallies, 300, 3)


def test_changed(folder: Path) -> None:
    """The same seed makes the same change, and most frames are another one than before."""
    pool = samples([folder / "damaged.pcap", folder / "good.pcap"])
    assert len(pool) == 3
    first, again = (
        [changed(pool[0], sorted(LINKS), chance) for _ in range(50)]
        for chance in (random.Random(1), random.Random(1))  # noqa: S311 (nothing secret)
    )
    assert first == again
    assert sum(one != pool[0] for one in first) > 40


@pytest.mark.skipif(bounds_are_checked(), reason="compiled code checks bounds in this run")
def test_without_bounds_checks(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without bounds checks the command makes no page: its numbers would prove nothing."""
    monkeypatch.setattr("sys.argv", ["fuzz.py", str(folder)])
    assert main() == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert "NUMBA_BOUNDSCHECK=1" in told.err
