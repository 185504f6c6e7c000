"""Addresses as text, as 128-bit words for range tests, and as hashes for grouping."""

import ipaddress

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from features.arrow import texts
from features.dotted import dotted_text

MAPPED_V4 = bytes(10) + b"\xff\xff"
MIX = np.uint64(0xFF51AFD7ED558CCD)  # the finaliser of MurmurHash3
Words = npt.NDArray[np.uint64]


def address_text(addresses: npt.NDArray[np.uint8]) -> pa.Array:
    """Return each address, shape (n, 16), as a string: dotted IPv4 where mapped, RFC 5952 form for IPv6."""
    dotted = dotted_text(addresses)
    if not dotted.null_count:
        return dotted
    others = dotted.is_null()
    data = np.ascontiguousarray(addresses[others.to_numpy(zero_copy_only=False)])
    packed = pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), len(data), [None, pa.py_buffer(data)])
    encoded = packed.dictionary_encode()
    names = texts([str(ipaddress.IPv6Address(value)) for value in encoded.dictionary.to_pylist()])
    return pc.replace_with_mask(dotted, others, names.take(encoded.indices))


def address_words(texts: list[str]) -> Words:
    """Return each address as two big-endian 64-bit words, shape (n, 2); IPv4 is mapped into IPv6 (RFC 4291)."""
    packed = b"".join(_packed(ipaddress.ip_address(text)) for text in texts)
    return np.frombuffer(packed, ">u8").reshape(-1, 2).astype(np.uint64)


def network_words(network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> tuple[Words, Words]:
    """Return the network's address and its mask as words, shape (2,) each."""
    mask = b"\xff" * 12 + network.netmask.packed if network.version == 4 else network.netmask.packed
    address = _packed(network.network_address)
    return np.frombuffer(address, ">u8").astype(np.uint64), np.frombuffer(mask, ">u8").astype(np.uint64)


def _packed(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bytes:
    return MAPPED_V4 + address.packed if address.version == 4 else address.packed


def address_hashes(addresses: npt.NDArray[np.uint8], seed: int) -> Words:
    """Return a 64-bit hash of each address, shape (n,): equal for equal addresses, secret like the seed."""
    words = np.ascontiguousarray(addresses).view(np.uint64).reshape(-1, 2)
    return mixed(mixed(words[:, 0] ^ np.uint64(seed)) ^ words[:, 1])


def mixed(values: Words) -> Words:
    """Return well-spread bits of 64-bit values (MurmurHash3's finaliser)."""
    values = (values ^ (values >> np.uint64(33))) * MIX
    return values ^ (values >> np.uint64(33))
