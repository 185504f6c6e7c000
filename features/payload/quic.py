"""QUIC: the version of a long header.

Sources: RFC 8999 (what all versions share), RFC 9000, 17.2 (version 1), RFC 9369 (version 2); drafts and Google's
versions by their numbers. The Initial's server name is encrypted under a key that anyone can derive, at the cost of
two ciphers a flow: it is left out.
"""

LONG_HEADER_BYTES = 7
LONGEST_ID = 20
VERSIONS = {1: "1", 0x6B3343CF: "2"}
FIRST_DRAFT, LAST_DRAFT = 0xFF000011, 0xFF000022
"""The drafts whose header is that of version 1: 17 to 34."""


def quic_version(datagram: bytes) -> str | None:
    """Return "1", "2", "draft-29" or Google's "Q050"; None unless this is a long header of such a version."""
    if len(datagram) < LONG_HEADER_BYTES or datagram[0] & 0xC0 != 0xC0:
        return None
    version = int.from_bytes(datagram[1:5])
    length = datagram[5]
    if length > LONGEST_ID or (len(datagram) > 6 + length and datagram[6 + length] > LONGEST_ID):
        return None
    if FIRST_DRAFT <= version <= LAST_DRAFT:
        return f"draft-{version & 0xFF}"
    if datagram[1:2] in (b"Q", b"T") and datagram[2:5].isdigit():
        return datagram[1:5].decode("ascii")
    return VERSIONS.get(version)
