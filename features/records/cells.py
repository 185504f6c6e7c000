"""Cells of a text column to numbers, ports, protocols and addresses: whole columns first, cells where that fails.

Every function returns the values and a mask of the cells that have text but no such value; no value at all is NaN.
"""

import socket
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from features.addresses import MAPPED_V4
from features.dotted import read_dotted
from features.records.adapter import Floats

NO_ADDRESS = (bytes(16), 0)
Mask = npt.NDArray[np.bool_]

NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$|^[+-]?([Ii]nf(inity)?|nan|NaN)$"

OTHER_PROTOCOL = -1.0
"""Stands for a protocol that is named, but by no name known here: neither TCP nor UDP nor ICMP."""
NOT_IP = frozenset(["arp", "rarp", "llc", "man", "lldp", "loop", "ether", "cdp", "lacp", "eapol", "pppoe"])
ALIASES = {
    "ipv6-icmp": 58, "icmp6": 58, "icmpv6": 58, "ipnip": 4, "ipv4": 4, "udp-lite": 136,
    "rtp": 17, "rtcp": 17, "udt": 17, "esp": 50, "ah": 51, "gre": 47, "sctp": 132,
}  # fmt: skip
IANA_NAMES = (
    "hopopt,icmp,igmp,ggp,ip,st,tcp,cbt,egp,igp,bbn-rcc,nvp,pup,argus,emcon,xnet,chaos,udp,mux,dcn,hmp,prm,xns-idp,"
    "trunk-1,trunk-2,leaf-1,leaf-2,rdp,irtp,iso-tp4,netblt,mfe-nsp,merit-inp,dccp,3pc,idpr,xtp,ddp,idpr-cmtp,tp++,il,"
    "ipv6,sdrp,ipv6-route,ipv6-frag,idrp,rsvp"
)
"""Protocol names in the order of their numbers, as far as records were seen to use them (IANA protocol numbers)."""
PROTOCOLS = {name: number for number, name in enumerate(IANA_NAMES.split(","))} | {
    "swipe": 53, "mobile": 55, "skip": 57, "ipv6-no": 59, "ipv6-opts": 60, "sat-mon": 69, "visa": 70, "sun-nd": 77,
    "vmtp": 81, "vines": 83, "eigrp": 88, "ospf": 89, "ipip": 94, "etherip": 97, "pim": 103, "ipcomp": 108,
    "vrrp": 112, "pgm": 113, "l2tp": 115, "isis": 124, "udplite": 136, **ALIASES,
}  # fmt: skip


class Cells(NamedTuple):
    """The values of a column, shape (n,), and which cells could not be read."""

    values: Floats
    bad: Mask


class Addresses(NamedTuple):
    """The addresses of a column.

    Attributes:
        packed: 16 bytes each in network order, shape (n, 16), IPv4 mapped into IPv6, zeros where there is none.
        version: 4, 6, or 0 where there is none.
        bad: Cells with text that is no address.
    """

    packed: npt.NDArray[np.uint8]
    version: npt.NDArray[np.uint8]
    bad: Mask


def numbers(column: pa.Array) -> Cells:
    """Return a column as numbers; infinity is read as no value."""
    bad = np.zeros(len(column), bool)
    try:
        parsed = column.cast(pa.float64())
    except pa.ArrowInvalid:
        trimmed = pc.utf8_trim_whitespace(column)
        right = pc.match_substring_regex(trimmed, NUMBER)
        bad = pc.fill_null(pc.invert(right), False).to_numpy(zero_copy_only=False)
        parsed = pc.if_else(right, trimmed, None).cast(pa.float64())
    values = parsed.to_numpy(zero_copy_only=False)
    infinite = np.isinf(values)
    return Cells(np.where(infinite, np.nan, values) if infinite.any() else values, bad)


def ports(column: pa.Array) -> Cells:
    """Return a column as port numbers; 0x0303 is read, all but whole numbers to 65535 are bad."""
    cells = numbers(column)
    if cells.bad.any():
        cells = _looked_up(column, _hexadecimal)
    with np.errstate(invalid="ignore"):
        outside = (cells.values < 0) | (cells.values > 65_535) | (cells.values != np.floor(cells.values))
    outside &= ~np.isnan(cells.values)
    return Cells(np.where(outside, np.nan, cells.values), cells.bad | outside)


def _hexadecimal(text: str) -> float:
    return float(int(text, 16)) if text.lower().startswith("0x") else float(text)


def protocols(column: pa.Array) -> Cells:
    """Return a column of numbers or names as protocol numbers, OTHER_PROTOCOL for unknown names."""
    if not pa.types.is_string(column.type):
        cells = numbers(column)
        outside = (cells.values < 0) | (cells.values > 255)
        return Cells(cells.values, cells.bad | outside)
    return _looked_up(column, _protocol)


def _protocol(text: str) -> float:
    name = text.lower()
    if name.startswith("0x"):
        return _hexadecimal(name)
    if any(letter.isalpha() for letter in name):
        return float(PROTOCOLS.get(name, OTHER_PROTOCOL))
    number = float(name)
    if not 0 <= number <= 255 or number != int(number):
        raise ValueError("no protocol")
    return number


def _looked_up(column: pa.Array, read: Callable[[str], float]) -> Cells:
    """Return a column of few different texts, each read once."""
    encoded = column.dictionary_encode()
    table = np.array([_or_bad(text, read) for text in encoded.dictionary.to_pylist()] + [(np.nan, 0.0)])
    codes = pc.fill_null(encoded.indices, len(table) - 1).to_numpy(zero_copy_only=False)
    return Cells(table[codes, 0], table[codes, 1] > 0)


def _or_bad(text: str, read: Callable[[str], float]) -> tuple[float, float]:
    try:
        return read(text.strip()), 0.0
    except (ValueError, OverflowError):
        return np.nan, 1.0


def is_not_ip(column: pa.Array) -> Mask:
    """Return True where a column of protocol names says that the record is of no IP packets."""
    if not pa.types.is_string(column.type):
        return np.zeros(len(column), bool)
    encoded = column.dictionary_encode()
    table = np.array([text.strip().lower() in NOT_IP for text in encoded.dictionary.to_pylist()] + [False])
    return table[pc.fill_null(encoded.indices, len(table) - 1).to_numpy(zero_copy_only=False)]


def addresses(column: pa.Array) -> Addresses:
    """Return a column of IPv4 and IPv6 addresses; brackets and zone ids are taken off."""
    column = column.cast(pa.string())
    packed, found = read_dotted(column)
    version = np.where(found, np.uint8(4), np.uint8(0))
    given = column.is_valid().to_numpy(zero_copy_only=False)
    others = np.flatnonzero(given & ~found)
    if len(others):
        encoded = column.take(pa.array(others)).dictionary_encode()
        words, versions = zip(*(_address(text) for text in encoded.dictionary.to_pylist()), strict=True)
        codes = encoded.indices.to_numpy()
        packed[others] = np.frombuffer(b"".join(words), np.uint8).reshape(-1, 16)[codes]
        version[others] = np.array(versions, np.uint8)[codes]
    return Addresses(packed, version, given & (version == 0))


@lru_cache(maxsize=100_000)
def _address(text: str) -> tuple[bytes, int]:
    """Return an address as 16 bytes, and its version; NO_ADDRESS when it is none."""
    plain = text.strip().strip("[]").partition("%")[0]
    try:
        return MAPPED_V4 + socket.inet_pton(socket.AF_INET, plain), 4
    except OSError:
        pass
    except ValueError:  # a byte of value 0
        return NO_ADDRESS
    try:
        packed = socket.inet_pton(socket.AF_INET6, plain)
    except OSError:
        return NO_ADDRESS
    return packed, 4 if packed.startswith(MAPPED_V4) else 6
