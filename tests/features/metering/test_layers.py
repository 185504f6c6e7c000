"""Which packet is metered, and what parts flows of equal ends: tunnels and VLANs from the capture to the flow."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.l2 import ARP, GRE, Dot1Q, Ether
from scapy.layers.vxlan import VXLAN
from scapy.packet import Packet, Raw
from scapy.utils import wrpcap

from features.errors import ConfigError
from features.metering.meter import CaptureMeter, MeterSettings

ETHER = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
THERE, BACK = IP(src="192.0.2.1", dst="192.0.2.2"), IP(src="192.0.2.2", dst="192.0.2.1")
ASK = IP(src="10.0.0.1", dst="10.0.0.2") / UDP(sport=50_000, dport=50_001) / Raw(b"12345")
ANSWER = IP(src="10.0.0.2", dst="10.0.0.1") / UDP(sport=50_001, dport=50_000) / Raw(b"123456789")


def metered(folder: Path, packets: Sequence[Packet], settings: MeterSettings) -> tuple[list[list[int]], dict[str, int]]:
    """Meter packets: of each flow protocol, VLAN, forward and backward packets, forward and backward bytes; counts."""
    path = folder / "made.pcap"
    wrpcap(str(path), list(packets))
    meter = CaptureMeter(settings)
    flows = [
        [int(flow["protocol"]), int(flow["vlan"]), *flow["packets"].tolist(), *flow["bytes"].tolist()]
        for batch in meter.meter([path])
        for flow in batch.flows
    ]
    return flows, meter.counts


def test_layers(tmp_path: Path) -> None:
    """The outer layer is one GRE flow; the inner one is the conversation in it, beside what cannot be taken out."""
    packets = [ETHER / THERE / GRE() / ASK, ETHER / BACK / GRE() / ANSWER, ETHER / THERE / GRE(proto=0x806) / ARP()]
    flows, counts = metered(tmp_path, packets, MeterSettings())
    assert flows == [[47, 0, 2, 1, 24 + 33 + 24 + 28, 24 + 37]]
    assert not any(name.startswith("tunnels.") for name in counts)
    flows, counts = metered(tmp_path, packets, MeterSettings(layer="inner"))
    assert sorted(flows) == [[17, 0, 1, 1, 33, 37], [47, 0, 1, 0, 24 + 28, 0]]
    assert {name: n for name, n in counts.items() if name.startswith("tunnels.") and n} == {
        "tunnels.gre": 2,
        "tunnels.undecoded": 1,
    }
    assert counts["packets_read"] == counts["packets_metered"] == 3


def test_vlans(tmp_path: Path) -> None:
    """Equal ends in two VLANs are one conversation, or two flows if the tag is part of the key."""
    packets = [ETHER / Dot1Q(vlan=5) / ASK, ETHER / Dot1Q(vlan=6) / ASK, ETHER / Dot1Q(vlan=5) / ANSWER]
    assert metered(tmp_path, packets, MeterSettings())[0] == [[17, 0, 2, 1, 66, 37]]
    flows, _ = metered(tmp_path, packets, MeterSettings(vlan_in_key=True))
    assert sorted(flows) == [[17, 5, 1, 1, 33, 37], [17, 6, 1, 0, 33, 0]]


def test_networks(tmp_path: Path) -> None:
    """Two customers with the same addresses in two VXLAN networks are two flows likewise."""
    packets = [
        ETHER / THERE / UDP(sport=50_000, dport=4789) / VXLAN(vni=network, flags=8) / ETHER / ASK for network in (7, 8)
    ]
    flows, _ = metered(tmp_path, packets, MeterSettings(layer="inner", vlan_in_key=True))
    assert sorted(flows) == [[17, 7, 1, 0, 33, 0], [17, 8, 1, 0, 33, 0]]
    assert metered(tmp_path, packets, MeterSettings(layer="inner"))[0] == [[17, 0, 2, 0, 66, 0]]


def test_outer_vlans_are_part_of_the_outer_key(tmp_path: Path) -> None:
    """The tags of the transport network part no flows of the network inside."""
    packets = [
        ETHER / Dot1Q(vlan=vlan) / THERE / GRE() / IP(src="10.0.0.1", dst="10.0.0.2") / TCP(flags="S")
        for vlan in (1, 2)
    ]
    assert len(metered(tmp_path, packets, MeterSettings(vlan_in_key=True))[0]) == 2
    assert len(metered(tmp_path, packets, MeterSettings(vlan_in_key=True, layer="inner"))[0]) == 1


def test_there_is_no_such_layer() -> None:
    """A layer of another name is refused."""
    with pytest.raises(ConfigError, match="outer or inner"):
        MeterSettings(layer="middle")
