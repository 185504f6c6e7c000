"""Cells to numbers, ports, protocols and addresses."""

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from features.addresses import address_text
from features.records.cells import OTHER_PROTOCOL, addresses, is_not_ip, numbers, ports, protocols


def test_numbers() -> None:
    """Blanks around are no harm, infinity and NaN are no value, other text is bad."""
    cells = numbers(pa.array(["1", " 2.5 ", "1e3", "inf", "NaN", None, "x", "0x10"]))
    np.testing.assert_array_equal(cells.values, [1, 2.5, 1000, np.nan, np.nan, np.nan, np.nan, np.nan])
    assert cells.bad.tolist() == [False] * 6 + [True] * 2


def test_ports() -> None:
    """Whole numbers to 65535, decimal or hexadecimal."""
    cells = ports(pa.array(["80", "80.0", "0x0303", None, "70000", "-1", "1.5", "http"]))
    np.testing.assert_array_equal(cells.values[:3], [80, 80, 0x303])
    assert cells.bad.tolist() == [False] * 4 + [True] * 4


def test_protocols() -> None:
    """Numbers and names in any case; an unknown name is no number but known to be neither TCP nor UDP nor ICMP."""
    cells = protocols(pa.array(["6", "UDP", "ipv6-icmp", "ospf", "unas", None, "0x11", "256", "10.0.0.1", "0xzz"]))
    np.testing.assert_array_equal(cells.values[:7], [6, 17, 58, 89, OTHER_PROTOCOL, np.nan, 17])
    assert cells.bad.tolist() == [False] * 7 + [True] * 3
    assert is_not_ip(pa.array(["ARP", "tcp", None, "llc"])).tolist() == [True, False, False, True]


@settings(deadline=None)
@given(st.lists(st.ip_addresses(), min_size=1, max_size=20))
def test_addresses_are_written_as_captures_write_them(found: list[object]) -> None:
    """Any address, IPv4 or IPv6, in its text and its 16 bytes, is what features.addresses makes of those bytes."""
    parsed = addresses(pa.array([str(address) for address in found]))
    assert address_text(parsed.packed).to_pylist() == [
        str(getattr(address, "ipv4_mapped", None) or address) for address in found
    ]
    assert not parsed.bad.any()
    mapped = [":ffff:" in str(address) and getattr(address, "ipv4_mapped", None) for address in found]
    expected = [
        4 if is_mapped else getattr(address, "version", 0) for is_mapped, address in zip(mapped, found, strict=True)
    ]
    assert parsed.version.tolist() == expected


def test_no_addresses() -> None:
    """Names, numbers out of range and leading zeros are bad, no text is none."""
    parsed = addresses(pa.array(["host", "10.0.0.256", "010.0.0.1", "1:2", None, ""]))
    assert parsed.bad.tolist() == [True, True, True, True, False, True]
    assert not parsed.packed.any()
    assert addresses(pa.array([1.5, None])).bad.tolist() == [True, False]
