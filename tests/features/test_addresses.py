"""Addresses in text, words and hashes."""

import ipaddress

import numpy as np

from features.addresses import address_hashes, address_text, address_words, network_words

TEXTS = ["10.0.0.1", "2001:db8::1", "10.0.0.1", "::", "255.255.255.255"]


def packed(texts: list[str]) -> np.ndarray:
    addresses = [ipaddress.ip_address(text) for text in texts]
    whole = [a.packed if a.version == 6 else bytes(10) + b"\xff\xff" + a.packed for a in addresses]
    return np.frombuffer(b"".join(whole), np.uint8).reshape(-1, 16)


def test_text_is_the_usual_form() -> None:
    """Mapped addresses read as IPv4, others in the short form of RFC 5952; no address gives no text."""
    assert address_text(packed(TEXTS)).to_pylist() == TEXTS
    assert address_text(np.empty((0, 16), np.uint8)).to_pylist() == []


def test_words_and_masks_find_members() -> None:
    """An address is in a network when its masked words equal the network's."""
    words = address_words(TEXTS)
    for block, members in {
        "10.0.0.0/8": [0, 2],
        "2001:db8::/64": [1],
        "0.0.0.0/0": [0, 2, 4],
        "::/0": [0, 1, 2, 3, 4],
    }.items():
        address, mask = network_words(ipaddress.ip_network(block))
        assert np.flatnonzero(((words & mask) == address).all(axis=1)).tolist() == members, block


def test_hashes_are_equal_for_equal_addresses_only() -> None:
    """Equal addresses share a hash, 65,536 neighbours do not, and another seed gives other hashes."""
    hashes = address_hashes(packed(TEXTS), 7)
    assert hashes[0] == hashes[2]
    many = packed([f"10.1.{high}.{low}" for high in range(256) for low in range(256)])
    assert len(np.unique(address_hashes(many, 7))) == 65_536
    assert not (address_hashes(many, 7) == address_hashes(many, 8)).any()
