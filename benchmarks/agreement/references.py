"""Flows as other tools reported them: ndpiReader's listing, nfstream's CSV and Zeek's conn.log."""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

COMPARED = {"TCP": 6, "UDP": 17, "tcp": 6, "udp": 17}
OTHERS = {"ICMP": 1, "IGMP": 2, "IPIP": 4, "GRE": 47, "ESP": 50, "AH": 51, "ICMPV6": 58, "OSPF": 89, "PIM": 103}
OTHERS |= {"VRRP": 112, "PGM": 113, "SCTP": 132}
NOT_TOLD = -1

NDPI_FLOW = re.compile(
    r"^\t\d+\t(?P<protocol>\w+) (?P<src>\S+):(?P<src_port>\d+) (?:<->|->) (?P<dst>\S+):(?P<dst_port>\d+) "
    r".*?\[(?P<fwd_packets>\d+) pkts/(?P<fwd_bytes>\d+) bytes (?:<->|->) (?P<bwd_packets>\d+) pkts/(?P<bwd_bytes>\d+) "
    r"bytes\]\[Goodput ratio: (?P<payload_share>[^\]]*)\]\[(?P<duration>[^\]]*) sec\]"
)
NDPI_VLAN = re.compile(r"\[VLAN: (\d+)\]\[proto")
NDPI_STATISTICS = {
    "gaps_ms": re.compile(r"\[IAT c2s/s2c min/avg/max/stddev: ([^\]]*)\]"),
    "lengths": re.compile(r"\[Pkt Len c2s/s2c min/avg/max/stddev: ([^\]]*)\]"),
}
NDPI_PAYLOAD = re.compile(r"\[(Hostname/SNI|JA4|\(Advertised\) ALPNs|StatusCode|Server|QUIC ver|proto): ([^\]]*)\]")
NDPI_VERSION = re.compile(r"\[((?:TLS|SSL)v[\d.]+)[^\]]*\]")

ZEEK_NAMES = {"id_": "id.", "src_ip": "id.orig_h", "dst_ip": "id.resp_h", "src_port": "id.orig_p"}
ZEEK_NAMES |= {"dst_port": "id.resp_p", "src": "id.orig_h", "dst": "id.resp_h"}

NOT_COMPARABLE = {
    "core.pcap.dynamic-filter": "the test's script takes packets away with a filter",
    "core.pcap.read-trace-with-filter": "the test's script takes packets away with a filter",
    "scripts.base.frameworks.netcontrol.packetfilter": "the test's script takes packets away with a filter",
    "scripts.base.protocols.ftp.gridftp": "the test's script stops counting bulk transfers",
    "scripts.base.frameworks.analyzer.request-analyzer": "the test's script tells no packets",
    "core.skip_analyzer": "the test's script switches tunnels off",
}
"""Zeek references whose script changes what is counted, by the name of the test."""


@dataclass(frozen=True)
class Reference:
    """One flow of another tool.

    Attributes:
        protocol: IANA number, NOT_TOLD where the tool does not say.
        src: Address as the tool writes it, and port, of the side that it holds for the sender; empty when not told.
        dst: The other side.
        packets: From and to the sender; the total alone where only that is told.
        bytes: Likewise, in the tool's measure.
        vlan: Tag in the flow's key, if the tool told one.
        details: The tool's other fields, by name.
    """

    protocol: int
    src: tuple[str, int]
    dst: tuple[str, int]
    packets: tuple[int, ...]
    bytes: tuple[int, ...]
    vlan: int | None = None
    details: dict[str, Any] = field(default_factory=dict, compare=False)


@dataclass(frozen=True)
class Listing:
    """The flows that a tool reported for one capture.

    Attributes:
        tool: Its name.
        capture: Path in the folder of data.
        name: Of the reference.
        flows: Those compared: TCP and UDP, or all if the tool does not tell which are.
        others: The rest.
        not_comparable: Why it cannot be compared, if so.
    """

    tool: str
    capture: str
    name: str
    flows: tuple[Reference, ...]
    others: tuple[Reference, ...] = ()
    not_comparable: str = ""


def read_listings(folder: Path) -> list[Listing]:
    """Return every nDPI, nfstream and Zeek reference that `pairs.csv` in a folder names, in its order."""
    with (folder / "pairs.csv").open(encoding="utf-8", newline="") as file:
        pairs = [row for row in csv.DictReader(file) if row["kind"] in READERS]
    return [_listing(folder, row) for row in pairs]


def _listing(folder: Path, row: dict[str, str]) -> Listing:
    tool, reader = READERS[row["kind"]]
    path = folder / row["reference"]
    name = path.parent.name if tool == "Zeek" else path.name
    if not (path.is_file() and (folder / row["pcap"]).is_file()):
        return Listing(tool, row["pcap"], name, (), not_comparable="the bundle is not unpacked")
    every = list(reader(path))
    flows, others = (
        tuple(one for one in every if (one.protocol in (NOT_TOLD, *COMPARED.values())) == compared)
        for compared in (True, False)
    )
    return Listing(tool, row["pcap"], name, flows, others, NOT_COMPARABLE.get(name, "") if tool == "Zeek" else "")


def without_repeats(listings: list[Listing]) -> list[Listing]:
    """Leave out those that say of a capture what one before says: Zeek's tests read some captures many times."""
    return list({(one.tool, one.capture, one.flows, one.not_comparable): one for one in reversed(listings)}.values())[
        ::-1
    ]


def read_ndpi(path: Path) -> Iterator[Reference]:
    """Yield the flows of an ndpiReader listing."""
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        if found := NDPI_FLOW.match(line):
            vlan = NDPI_VLAN.search(line)
            details: dict[str, Any] = {"payload_share": found["payload_share"], "duration_s": found["duration"]}
            details |= NDPI_PAYLOAD.findall(line)
            if version := NDPI_VERSION.search(line):
                details["version"] = version[1]
            for name, pattern in NDPI_STATISTICS.items():
                if statistic := pattern.search(line):
                    details[name] = statistic[1]
            yield Reference(
                _number(found["protocol"]),
                (found["src"].strip("[]"), int(found["src_port"])),
                (found["dst"].strip("[]"), int(found["dst_port"])),
                (int(found["fwd_packets"]), int(found["bwd_packets"])),
                (int(found["fwd_bytes"]), int(found["bwd_bytes"])),
                int(vlan[1]) if vlan else None,
                details,
            )


def _number(protocol: str) -> int:
    return int(protocol) if protocol.isdigit() else (COMPARED | OTHERS)[protocol]


def read_nfstream(path: Path) -> Iterator[Reference]:
    """Yield the flows of an nfstream CSV, which tells neither ends nor protocol; flows of every protocol are in it."""
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        for row in csv.DictReader(file):
            yield Reference(
                NOT_TOLD,
                ("", 0),
                ("", 0),
                (int(row["bidirectional_packets"]),),
                (int(row["bidirectional_bytes"]),),
            )


def read_zeek(path: Path) -> Iterator[Reference]:
    """Yield the TCP and UDP connections of a conn.log that tells packets."""
    names: list[str] = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith("#fields"):
            names = [_zeek_name(name) for name in line.split("\t")[1:]]
        if line.startswith("#"):
            continue
        row = dict(zip(names, line.split("\t"), strict=False))
        if row.get("proto") in COMPARED and row.get("orig_pkts", "-") != "-":
            yield Reference(
                COMPARED[row["proto"]],
                (row["id.orig_h"], int(row["id.orig_p"])),
                (row["id.resp_h"], int(row["id.resp_p"])),
                (int(row["orig_pkts"]), int(row["resp_pkts"])),
                (int(row["orig_ip_bytes"]), int(row["resp_ip_bytes"])),
                details={name: None if value == "-" else value for name, value in row.items()},
            )


def _zeek_name(name: str) -> str:
    """Return the usual name of a column that a test renamed."""
    return ZEEK_NAMES.get(name) or re.sub(r"^id_", "id.", name)


READERS = {
    "ndpi-flows": ("nDPI", read_ndpi),
    "nfstream-flows": ("nfstream", read_nfstream),
    "zeek-conn": ("Zeek", read_zeek),
}
