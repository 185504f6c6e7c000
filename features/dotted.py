"""IPv4 addresses between dotted text and 16 bytes, whole Arrow columns at a time; what else there is, others read."""

import numba
import numpy as np
import numpy.typing as npt
import pyarrow as pa

PREFIX = np.frombuffer(bytes(10) + b"\xff\xff", np.uint8)  # IPv4 mapped into IPv6 (RFC 4291, 2.5.5.2)
LONGEST = len("255.255.255.255")
ZERO, DOT = ord("0"), ord(".")
Bytes = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]


def read_dotted(column: pa.StringArray) -> tuple[Bytes, Mask]:
    """Return the addresses of a column, shape (n, 16), zeros where a cell is null or no dotted IPv4, and which were.

    Four decimal numbers to 255 without leading zeros and nothing else are dotted IPv4 (inet_pton of POSIX).
    """
    rows = len(column)
    packed, found = np.zeros((rows, 16), np.uint8), np.zeros(rows, np.bool_)
    if not rows:
        return packed, found
    _, offsets, text = column.buffers()
    places = np.frombuffer(offsets, np.int32)[column.offset : column.offset + rows + 1]
    _read(places, np.frombuffer(text or b"", np.uint8), packed, found)
    if column.null_count:
        found &= column.is_valid().to_numpy(zero_copy_only=False)
        packed[~found] = 0
    return packed, found


def dotted_text(packed: Bytes) -> pa.StringArray:
    """Return each address, shape (n, 16), as dotted text; null where it is no mapped IPv4."""
    rows = len(packed)
    offsets, text = np.empty(rows + 1, np.int32), np.empty(rows * LONGEST, np.uint8)
    mapped = (packed[:, :12] == PREFIX).all(axis=1)
    size = _write(packed, mapped, offsets, text)
    bitmap = None if mapped.all() else pa.py_buffer(np.packbits(mapped, bitorder="little"))
    return pa.StringArray.from_buffers(rows, pa.py_buffer(offsets), pa.py_buffer(text[:size]), bitmap)


@numba.njit(cache=True, nogil=True)
def _read(places: npt.NDArray[np.int32], text: Bytes, packed: Bytes, found: Mask) -> None:
    for row in range(len(found)):
        value, part, right = -1, 0, True
        for at in range(places[row], places[row + 1]):
            digit = int(text[at]) - ZERO
            if 0 <= digit <= 9 and value != 0:
                value = digit if value < 0 else 10 * value + digit
                right = value <= 255
            else:
                right = text[at] == DOT and value >= 0 and part < 3
                if right:
                    packed[row, 12 + part] = value
                    value, part = -1, part + 1
            if not right:
                break
        found[row] = right and part == 3 and value >= 0
        if found[row]:
            packed[row, :12] = PREFIX
            packed[row, 15] = value
        else:
            packed[row] = 0


@numba.njit(cache=True, nogil=True)
def _write(packed: Bytes, mapped: Mask, offsets: npt.NDArray[np.int32], text: Bytes) -> int:
    """Write the mapped addresses one behind the other and return how many bytes they are."""
    at = 0
    for row in range(len(mapped)):
        offsets[row] = at
        if not mapped[row]:
            continue
        for part in range(12, 16):
            value = int(packed[row, part])
            if part > 12:
                text[at] = DOT
                at += 1
            if value >= 100:
                text[at] = ZERO + value // 100
                at += 1
            if value >= 10:
                text[at] = ZERO + value // 10 % 10
                at += 1
            text[at] = ZERO + value % 10
            at += 1
    offsets[len(mapped)] = at
    return at
