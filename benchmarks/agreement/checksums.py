"""Internet checksums of a packet in a frame (RFC 1071): Zeek leaves out packets whose checksum is wrong."""

from benchmarks.agreement.frames import TCP, UDP, Sighting

RIGHT = 0xFFFF
"""Sum of data that includes its own right checksum."""


def ones_sum(data: bytes) -> int:
    """Return the ones' complement sum of 16-bit words."""
    total = sum(int.from_bytes(data[at : at + 2].ljust(2, b"\0")) for at in range(0, len(data), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def checksums_hold(data: bytes, seen: Sighting) -> bool:
    """Tell whether the checksums of IP and of TCP or UDP are right, as far as the captured bytes can show."""
    at, segment = seen.at, data[seen.transport : seen.at + seen.length]
    if data[at] >> 4 == 4:
        protocol, addresses = data[at + 9], data[at + 12 : at + 20]
        if ones_sum(data[at : seen.transport]) != RIGHT:
            return False
    else:
        protocol, addresses = (TCP if data[at + 6] == TCP else UDP), data[at + 8 : at + 40]
    if seen.held < seen.length or (protocol == UDP and segment[6:8] == b"\0\0"):
        return True
    return ones_sum(addresses + protocol.to_bytes(2) + len(segment).to_bytes(4) + segment) == RIGHT
