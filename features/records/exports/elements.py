"""The fields of exported records that are read, by IANA's numbers, and the layout of NetFlow version 5 in their terms.

Source: IANA's registry of IPFIX information elements, whose first 127 are NetFlow version 9's field types (RFC 3954);
RFC 5103 for the reverse direction; Cisco's NetFlow Export Datagram Format for version 5.
"""

from typing import NamedTuple

REVERSE = 29_305
"""Private enterprise number under which an element describes the backward direction (RFC 5103)."""
NOBODY = -1
"""Stands for the enterprise of fields that are not to be read."""
VARIABLE = 65_535
NAMES = {
    1: "octetDeltaCount", 2: "packetDeltaCount", 4: "protocolIdentifier", 6: "tcpControlBits", 7: "sourceTransportPort",
    8: "sourceIPv4Address", 11: "destinationTransportPort", 12: "destinationIPv4Address", 21: "flowEndSysUpTime",
    22: "flowStartSysUpTime", 27: "sourceIPv6Address", 28: "destinationIPv6Address", 32: "icmpTypeCodeIPv4",
    34: "samplingInterval", 48: "samplerId", 50: "samplerRandomInterval", 85: "octetTotalCount",
    86: "packetTotalCount", 136: "flowEndReason",
    139: "icmpTypeCodeIPv6", 150: "flowStartSeconds", 151: "flowEndSeconds", 152: "flowStartMilliseconds",
    153: "flowEndMilliseconds", 154: "flowStartMicroseconds", 155: "flowEndMicroseconds", 156: "flowStartNanoseconds",
    157: "flowEndNanoseconds", 158: "flowStartDeltaMicroseconds", 159: "flowEndDeltaMicroseconds",
    160: "systemInitTimeMilliseconds", 176: "icmpTypeIPv4", 177: "icmpCodeIPv4", 178: "icmpTypeIPv6",
    179: "icmpCodeIPv6", 231: "initiatorOctets", 232: "responderOctets", 298: "initiatorPackets",
    299: "responderPackets", 302: "selectorId", 305: "samplingPacketInterval", 306: "samplingPacketSpace",
    309: "samplingSize", 310: "samplingPopulation", 323: "observationTimeMilliseconds",
}  # fmt: skip
"""Element number to its name."""
REVERSED = (1, 2, 6, 85, 86)
"""Elements whose reverse is read."""
ADDRESS_BYTES = {8: 4, 12: 4, 27: 16, 28: 16}


class Field(NamedTuple):
    """One field of a template: enterprise (0 for IANA's own), element number, length in bytes or VARIABLE."""

    enterprise: int
    number: int
    length: int

    def name(self) -> str:
        """Return the name of a field that is read, "" for others and for lengths that its element cannot have."""
        if self.length == VARIABLE or not self._fits():
            return ""
        if self.enterprise == REVERSE:
            plain = NAMES[self.number] if self.number in REVERSED else ""
            return f"reverse{plain[:1].upper()}{plain[1:]}" if plain else ""
        return NAMES.get(self.number, "") if not self.enterprise else ""

    def _fits(self) -> bool:
        wanted = ADDRESS_BYTES.get(self.number) if not self.enterprise else None
        return self.length == wanted if wanted else 1 <= self.length <= 8


def _plain(*pairs: tuple[int, int]) -> tuple[Field, ...]:
    return tuple(Field(0, number, length) for number, length in pairs)


UNREAD = 210
VERSION_5 = _plain(
    (8, 4), (12, 4), (15, 4), (10, 2), (14, 2), (2, 4), (1, 4), (22, 4), (21, 4), (7, 2), (11, 2),
    (UNREAD, 1), (6, 1), (4, 1), (5, 1), (16, 2), (17, 2), (9, 1), (13, 1), (UNREAD, 2),
)  # fmt: skip
"""The 48 bytes of a version 5 record as if a template had said them."""
