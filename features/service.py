"""Coarse service categories: the only way a port number may enter a network.

A category is a family of well-known destination ports (IANA service names). The port itself would let a network learn
which lab machine was attacked on which port.
"""

import numpy as np
import numpy.typing as npt

SERVICES: dict[str, tuple[str, tuple[int, ...]]] = {
    "web": ("web", (80, 443, 591, 3000, 5000, 8000, 8008, 8080, 8081, 8088, 8443, 8888)),
    "name": ("name resolution", (53, 137, 853, 5353, 5355)),
    "login": ("remote login", (22, 23, 512, 513, 514, 2222, 3389, 5800, 5900, 5901, 5985, 5986)),
    "file": ("file transfer and sharing", (20, 21, 69, 111, 139, 445, 548, 873, 989, 990, 2049)),
    "mail": ("mail", (24, 25, 109, 110, 143, 465, 587, 993, 995)),
    "data": ("databases and caches", (1433, 1521, 3306, 5432, 5984, 6379, 7000, 9042, 9200, 11211, 27017)),
    "message": ("message queues and telemetry", (1883, 4222, 5222, 5671, 5672, 8883, 9092, 61613, 61616)),
    "control": ("time, addresses, directory, management", (67, 68, 88, 123, 161, 162, 389, 464, 546, 547, 636, 1900)),
    "other_known": ("other ports below 1024", ()),
    "registered": ("other ports from 1024 to 49151", ()),
    "ephemeral": ("ports from 49152", ()),
}
"""Name of each category, what it means, and its ports; the last three take what the others leave."""


def _table() -> npt.NDArray[np.int8]:
    names = list(SERVICES)
    table = np.full(65_536, names.index("registered"), np.int8)
    table[:1024] = names.index("other_known")
    table[49_152:] = names.index("ephemeral")
    for number, (_, ports) in enumerate(SERVICES.values()):
        table[list(ports)] = number
    return table


CATEGORIES = _table()
"""Number of the category of each port, in the order of SERVICES."""
