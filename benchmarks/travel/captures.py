"""The captures of others: what each is known to hold, and its feature table, made once and kept."""

import csv
import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from features.errors import FlowtagError
from features.extract import extract
from features.metering.meter import MeterSettings
from features.schema import arrow_schema, fingerprint
from features.table import open_table, write_table
from models.dataset import feature_matrix

LISTING = "meaning.csv"
ORDINARY = "benign"
FOLDS = 2
SCAN, GUESSING, FLOOD, TUNNEL, OTHER = "scan", "guessing", "flood", "tunnel", "other"
KINDS = (SCAN, GUESSING, FLOOD, TUNNEL, OTHER)
ANSWERS: dict[str, tuple[str, tuple[str, ...]]] = {
    "scan": (SCAN, ("reconnaissance", "host_sweep", "port_scan", "service_probe")),
    "bruteforce": (GUESSING, ("credential_access", "brute_force")),
    "dos": (FLOOD, ("impact", "dos", "syn_flood", "udp_flood", "http_flood", "slow_http")),
    "ddos": (FLOOD, ("impact", "dos", "syn_flood", "udp_flood", "http_flood", "slow_http")),
    "dns_tunnel": (TUNNEL, ("dns_tunnel", "icmp_tunnel", "command_and_control", "exfiltration")),
    "tunnel": (TUNNEL, ("dns_tunnel", "icmp_tunnel", "command_and_control", "exfiltration")),
    "c2": (OTHER, ("command_and_control", "beacon", "reverse_shell")),
    "malware": (OTHER, ("command_and_control", "beacon", "reverse_shell", "malware_transfer")),
    "web_attack": (OTHER, ("initial_access", "web_attack", "exploit")),
    "exploit": (OTHER, ("initial_access", "web_attack", "exploit", "lateral_movement")),
    "discovery": (OTHER, ("reconnaissance", "host_sweep", "port_scan", "service_probe")),
    "lateral_movement": (OTHER, ("lateral_movement",)),
    "credential_access": (OTHER, ("credential_access", "brute_force")),
}
"""What a word of the listing is, and the tags that would be the right answer: its tactic and techniques of it."""


@dataclass(frozen=True)
class Capture:
    """A capture of others, of which its listing says what it holds.

    Attributes:
        name: Its path below the data folder.
        source: The collection it comes from, such as "ntop/nDPI"; no collection is trained on and scored.
        kind: One of KINDS, "" for ordinary traffic.
        answers: Tags of which one would be right; none for ordinary traffic.
    """

    name: str
    source: str
    kind: str = ""
    answers: frozenset[str] = frozenset()

    @property
    def fold(self) -> int:
        """In which half of its collection it lies, by a hash of its name: what adapts on one half scores the other."""
        return hashlib.sha256(self.name.encode()).digest()[0] % FOLDS


def listed(data: Path) -> list[Capture]:
    """Return the captures whose meaning is known; those of which no answer of ours would be right are left out."""
    with (data / LISTING).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [capture for row in rows if (capture := _capture(row)) is not None]


def _capture(row: dict[str, str]) -> Capture | None:
    words = row["tags"].split(";")
    if words == [ORDINARY]:
        return Capture(row["pcap"], row["repo"])
    known = [ANSWERS[word] for word in words if word in ANSWERS]
    if not known:
        return None
    kind = min((kind for kind, _ in known), key=KINDS.index)
    return Capture(row["pcap"], row["repo"], kind, frozenset().union(*(tags for _, tags in known)))


def table_of(capture: Path, folder: Path) -> Path | None:
    """Return a capture's feature table, made if it is not there yet; None for a capture that cannot be read."""
    key = hashlib.sha256(f"{capture} {fingerprint()}".encode()).hexdigest()[:20]
    table = folder / f"{key}.parquet"
    if not table.exists():
        try:
            write_table(extract([capture], MeterSettings()), table, arrow_schema())
        except FlowtagError:
            return None
    return table


def matrix(table: Path, names: tuple[str, ...]) -> npt.NDArray[np.float32]:
    """Return the columns of a feature table, shape (n_flows, n_columns), NaN for null."""
    with open_table(table) as source:
        parts = [feature_matrix(batch, names) for batch in source.iter_batches()]
    return np.concatenate([np.empty((0, len(names)), np.float32), *parts])
