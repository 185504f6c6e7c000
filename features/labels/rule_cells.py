"""Cells of rules: times, protocols, addresses and ports, alone or in lists."""

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal, InvalidOperation
from typing import Any

from features.errors import LabelError
from features.labels.rules import Network, Ports

PROTOCOLS = {
    "icmp": 1,
    "igmp": 2,
    "tcp": 6,
    "udp": 17,
    "gre": 47,
    "esp": 50,
    "icmpv6": 58,
    "ipv6-icmp": 58,
    "sctp": 132,
}
HIGHEST_PORT = 65_535
MOST_IN_LIST = 4096
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND_NS = 1000
EXPECTED = {
    "start": "epoch seconds, 2026-03-01T08:00:00+00:00, or a time zone for times that name none",
    "protocol": "a number from 0 to 255, or tcp, udp, icmp",
    "ip": "addresses or CIDR blocks, separated by semicolons",
    "port": "ports or ranges such as 8000-8100, separated by semicolons",
    "direction": "both or forward",
}


@dataclass(frozen=True)
class Clock:
    """How a file's times become the flows': the zone of times that name none (None refuses them), then an offset."""

    zone: tzinfo | None = None
    offset_ns: int = 0


def read_cell(name: str, text: str, clock: Clock, where: str) -> Any:  # noqa: ANN401 (a time, a number, a tuple)
    """Return the value of a cell that is not empty.

    Raises:
        LabelError: It cannot be read; says what was expected.
    """
    kind = {"end": "start"}.get(name, name.rpartition("_")[2])
    readers: dict[str, Callable[[str], Any]] = {
        "start": lambda cell: _time(cell, clock),
        "protocol": _protocol,
        "ip": _networks,
        "port": _ports,
        "direction": _both_ways,
    }
    try:
        return readers[kind](text)
    except (ValueError, InvalidOperation, OverflowError) as error:
        raise LabelError(f"A rule has a bad {name}", where, EXPECTED[kind], f"{text[:80]!r}: {error}") from error


def _time(text: str, clock: Clock) -> int:
    try:
        nanoseconds = int(Decimal(text) * 1_000_000_000)
    except InvalidOperation:
        nanoseconds = _written_out(text, clock.zone)
    nanoseconds += clock.offset_ns
    if not 0 <= nanoseconds < 2**63:
        raise ValueError("outside 1970 to 2262")
    return nanoseconds


def _written_out(text: str, zone: tzinfo | None) -> int:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        if zone is None:
            raise ValueError("no time zone")
        moment = moment.replace(tzinfo=zone)
    return (moment - EPOCH) // timedelta(microseconds=1) * MICROSECOND_NS


def _protocol(text: str) -> int:
    number = PROTOCOLS.get(text.lower(), -1) if not text.isdecimal() else int(text)
    if not 0 <= number <= 255:
        raise ValueError("no such protocol")
    return number


def _networks(text: str) -> tuple[Network, ...]:
    networks = [ipaddress.ip_network(part, strict=False) for part in _parts(text)]
    fours = ipaddress.collapse_addresses(one for one in networks if isinstance(one, ipaddress.IPv4Network))
    sixes = ipaddress.collapse_addresses(one for one in networks if isinstance(one, ipaddress.IPv6Network))
    return (*fours, *sixes)


def _ports(text: str) -> tuple[Ports, ...]:
    return tuple(_range(part) for part in _parts(text))


def _range(text: str) -> Ports:
    low, _, high = text.partition("-")
    ports = int(low), int(high or low)
    if not 0 <= ports[0] <= ports[1] <= HIGHEST_PORT:
        raise ValueError("no such ports")
    return ports


def _both_ways(text: str) -> bool:
    if text not in {"both", "forward"}:
        raise ValueError("no such direction")
    return text == "both"


def _parts(text: str) -> list[str]:
    parts = [part.strip() for part in text.split(";")]
    if not all(parts) or len(parts) > MOST_IN_LIST:
        raise ValueError("an empty place in the list" if not all(parts) else f"more than {MOST_IN_LIST} in the list")
    return parts
