"""The cell kernel: blocks of separated text to numbers and places of texts, in one pass, only of the columns wanted.

A number is read where it lies and as exactly as Python's float: by a division that is exact, or by Lemire's product
with a power of five (Number Parsing at a Gigabyte per Second, 2021). Every njit function that the kernels call lives in
this file: numba's cache looks at one source file only.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from features.kernel_types import Int, kernel, part

NEWLINE, MINUS, PLUS, DOT, ZERO, HASH = (ord(letter) for letter in "\n-+.0#")
BLANKS = (ord(" "), ord("\t"))
LOWER = 32
"""Bit that makes a capital ASCII letter small."""
EXPONENT = ord("e")
EXACT_POWER = 22
"""Powers of ten to this one are doubles, and so are whole numbers to EXACT_WHOLE: one operation rounds once."""
EXACT_WHOLE = np.uint64(1 << 53)
LONGEST_DIGITS = 19
"""So many decimal digits always fit 64 bits."""
LARGEST_POWER = 64
LARGEST_OF_TWO = 400
"""Above what LARGEST_POWER of five and 64 bits come to."""
ONE = np.uint64(1)
ODD = -1
WORDS = np.frombuffer(b"infinitynan", np.uint8)
INFINITY, SHORT_INFINITY, NAN = (0, 8), (0, 3), (8, 11)
WORD_PLACES = np.array([INFINITY, SHORT_INFINITY, NAN], np.int64)
Bytes = npt.NDArray[np.uint8]
Integers = npt.NDArray[np.int64]


class Plan(NamedTuple):
    """What to read of each row, and how.

    Attributes:
        places: Of each column of the file: its row among the numbers or the texts, -1 where it is not read.
        wanted: The columns that are read, in order.
        are_numbers: Whether it is one of the numbers.
        delimiter: The byte between cells.
        comments: Whether lines that begin with # are no rows.
        nulls: Texts that mean no value, one behind the other.
        null_ends: Where each of them ends, from a 0 on.
        longest_null: The bytes of the longest.
    """

    places: npt.NDArray[np.int32]
    wanted: Integers
    are_numbers: npt.NDArray[np.bool_]
    delimiter: int
    comments: bool
    nulls: Bytes
    null_ends: Integers
    longest_null: int


class CellRoom(NamedTuple):
    """Where a block's cells go.

    Attributes:
        numbers: Shape (numbers, rows), NaN where there is no value or none that can be read.
        begins: First byte of each text, shape (texts, rows).
        sizes: Its bytes, -1 for no value.
        lines: The line of each row, from 0; as many as the block has lines.
        others: First byte and line of each line that is no row: comments, and those with too few or too many cells.
        ends: Where cells end, one place before the first, and room for one more than there are bytes.
        line_ends: The place of each line's last cell among the ends, and room for one more.
        odd: Of each column of the file, whether it was to be of numbers and has a cell that is none.
    """

    numbers: npt.NDArray[np.float64]
    begins: npt.NDArray[np.int32]
    sizes: npt.NDArray[np.int32]
    lines: npt.NDArray[np.int32]
    others: npt.NDArray[np.int32]
    ends: npt.NDArray[np.int32]
    line_ends: npt.NDArray[np.int32]
    odd: npt.NDArray[np.bool_]


def _fives() -> npt.NDArray[np.uint64]:
    """Return 128 bits of each power of five from the first bit on, shape (2 * LARGEST_POWER + 1, 2).

    Powers are cut off, reciprocals rounded up.
    """
    fives = np.empty((2 * LARGEST_POWER + 1, 2), np.uint64)
    for power in range(-LARGEST_POWER, LARGEST_POWER + 1):
        five = 5 ** abs(power)
        rounded_up = (1 << (five - 1).bit_length() + 127) // five + 1
        bits = five << 128 >> five.bit_length() if power >= 0 else rounded_up
        fives[power + LARGEST_POWER] = bits >> 64, bits & (1 << 64) - 1
    return fives


FIVES = _fives()
TWOS = np.ldexp(1.0, np.arange(-LARGEST_OF_TWO, LARGEST_OF_TWO + 1))
TENS = np.array([float(10**power) for power in range(EXACT_POWER + 1)])


@part
def _high_product(one: np.uint64, other: np.uint64) -> np.uint64:
    """Return the upper 64 bits of a product of 128."""
    half, low = np.uint64(32), np.uint64(0xFFFFFFFF)
    a, b, c, d = one >> half, one & low, other >> half, other & low
    middle = a * d + (b * d >> half)
    middle_low = (middle & low) + b * c
    return np.uint64(a * c + (middle >> half) + (middle_low >> half))


@part
def _rounded(digits: np.uint64, power: int) -> float:
    """Return digits * 10 ** power rounded to the nearest double, -1 where this way cannot tell."""
    shift = 0
    while digits >> np.uint64(63) == 0:
        digits <<= ONE
        shift += 1
    high_five, low_five = FIVES[power + LARGEST_POWER]
    high, low = _high_product(digits, high_five), np.uint64(digits * high_five)
    if high & np.uint64(0x1FF) == np.uint64(0x1FF):
        more = _high_product(digits, low_five)
        low = np.uint64(low + more)
        if low < more:
            high += ONE
        if low == np.uint64(0xFFFFFFFFFFFFFFFF) and not -27 <= power <= 55:
            return ODD
    top = high >> np.uint64(63)
    down = np.uint64(top + np.uint64(9))
    mantissa = high >> down
    exponent = (217706 * power >> 16) + int(top) - shift + 63 - 52
    between = low <= ONE and -4 <= power <= 23 and mantissa & np.uint64(3) == ONE
    if between and mantissa << down == high:
        mantissa &= ~ONE  # just between two doubles: to the even one
    mantissa = (mantissa + (mantissa & ONE)) >> ONE
    return float(mantissa) * TWOS[exponent + LARGEST_OF_TWO]


@part
def _value(digits: np.uint64, power: int) -> float:
    if digits == 0:
        return 0.0
    if digits <= EXACT_WHOLE and -EXACT_POWER <= power <= EXACT_POWER:
        return float(digits) * TENS[power] if power >= 0 else float(digits) / TENS[-power]
    if not -LARGEST_POWER <= power <= LARGEST_POWER:
        return ODD
    return _rounded(digits, power)


@part
def _behind_blanks(text: Bytes, at: np.uint64, delimiter: int) -> np.uint64:
    while text[at] in BLANKS and text[at] != delimiter:
        at += ONE
    return at


@part
def _digits(text: Bytes, at: np.uint64, digits: np.uint64) -> tuple[np.uint64, np.uint64, Int]:
    """Return the byte behind some digits, the number with them at its end, and how many count: not zeros in front."""
    if digits == 0:
        while text[at] == ZERO:
            at += ONE
    first = at
    while ZERO <= text[at] <= ZERO + 9:
        digits = np.uint64(digits * np.uint64(10) + np.uint64(text[at] - ZERO))
        at += ONE
    return at, digits, np.int64(at - first)


@part
def _number(text: Bytes, at: np.uint64, delimiter: int) -> tuple[float, Int]:
    """Return the number that begins at a byte, and the byte behind its cell, ODD where it is no plain number."""
    at = _behind_blanks(text, at, delimiter)
    negative = text[at] == MINUS
    if negative or text[at] == PLUS:
        at += ONE
    first, digits, power = at, np.uint64(0), 0
    at, digits, count = _digits(text, at, digits)
    written = at > first
    if text[at] == DOT:
        first = at + ONE
        at, digits, more = _digits(text, first, digits)
        fraction = np.int64(at - first)
        power = -int(fraction)
        count = int(count + fraction if count else more)
        written |= fraction > 0
    if written and text[at] | LOWER == EXPONENT:
        exponent, at = _exponent(text, at + ONE)
        power += exponent
    at = _behind_blanks(text, at, delimiter)
    if not written or count > LONGEST_DIGITS:
        return 0.0, ODD
    value = _value(digits, power)
    return (0.0, ODD) if value < 0 else (-value if negative else value, np.int64(at))


@part
def _exponent(text: Bytes, at: np.uint64) -> tuple[int, np.uint64]:
    """Return an exponent and the byte behind it; one of no digits or too many is larger than can be."""
    negative = text[at] == MINUS
    if negative or text[at] == PLUS:
        at += ONE
    first, value = at, 0
    while ZERO <= text[at] <= ZERO + 9:
        value = min(10 * value + int(text[at]) - ZERO, 1000)
        at += ONE
    return (1000 if at == first else -value if negative else value), at


@part
def _is_null(text: Bytes, begin: int, end: int, plan: Plan) -> bool:
    if end - begin > plan.longest_null:
        return False
    for null in range(len(plan.null_ends) - 1):
        at = plan.null_ends[null]
        if plan.null_ends[null + 1] - at == end - begin:
            same = True
            for byte in range(end - begin):
                same = same and text[begin + byte] == plan.nulls[at + byte]
            if same:
                return True
    return False


@part
def _is_word(text: Bytes, begin: int, end: int) -> bool:
    """Tell whether a cell is infinity or not-a-number in words."""
    if begin < end and (text[begin] == MINUS or text[begin] == PLUS):
        begin += 1
    for word in range(len(WORD_PLACES)):
        first, last = WORD_PLACES[word]
        same = last - first == end - begin
        for byte in range(end - begin if same else 0):
            same = same and text[begin + byte] | LOWER == WORDS[first + byte]
        if same:
            return True
    return False


@part
def _no_plain_number(text: Bytes, begin: int, end: int, plan: Plan) -> bool:
    """Tell whether a cell that is no plain number means no value."""
    return _is_null(text, begin, end, plan) or _is_word(text, begin, end)


@part
def _read_row(text: Bytes, begin: Int, row: int, plan: Plan, room: CellRoom) -> None:
    """Read the wanted cells of a row, whose ends are the ones behind `begin`, the index of the end before its first."""
    for column in plan.wanted:
        place = plan.places[column]
        first, end = room.ends[begin + column] + 1, room.ends[begin + column + 1]
        if plan.are_numbers[column]:
            value, at = _number(text, np.uint64(first), plan.delimiter)
            if at != end:
                value = np.nan
                room.odd[column] |= not _no_plain_number(text, first, end, plan)
            room.numbers[place, row] = value
        else:
            room.begins[place, row] = first
            room.sizes[place, row] = -1 if _is_null(text, first, end, plan) else end - first


@part
def _find_ends(text: Bytes, delimiter: np.uint8, room: CellRoom) -> None:
    """Write where cells end, from the second place on, and how many have ended at the end of each line.

    Without branches, because cells are too short to foresee their ends; unsigned, because that spares looking whether
    a place counts from the end.
    """
    cells, lines = np.uint64(1), np.uint64(0)
    room.ends[0] = -1
    for at in range(len(text)):
        byte = text[at]
        room.ends[cells] = at
        cells += np.uint64((byte == delimiter) | (byte == NEWLINE))
        room.line_ends[lines] = cells - np.uint64(1)
        lines += np.uint64(byte == NEWLINE)


@kernel
def read_cells(text: Bytes, plan: Plan, room: CellRoom) -> tuple[int, int]:
    """Read all lines of a block that ends with a line's end; blank lines are none.

    Returns:
        Rows, and lines that are no rows.
    """
    _find_ends(text, np.uint8(plan.delimiter), room)
    row = other = before = 0
    for line in range(len(room.lines)):
        begin, cells = room.ends[before] + 1, room.line_ends[line] - before
        blank = room.ends[room.line_ends[line]] == begin
        comment = plan.comments and text[begin] == HASH
        if cells == len(plan.places) and not comment and not blank:
            _read_row(text, before, row, plan, room)
            room.lines[row] = line
            row += 1
        elif not blank:
            room.others[other, 0], room.others[other, 1] = begin, line
            other += 1
        before = room.line_ends[line]
    return row, other


@kernel
def gather(text: Bytes, begins: Bytes, sizes: Bytes, offsets: Bytes, out: Bytes) -> Int:
    """Copy texts one behind the other, write where each begins and the last ends, and return how many are no value."""
    at, nulls = 0, 0
    for row in range(len(begins)):
        offsets[row] = at
        nulls += sizes[row] < 0
        for byte in range(begins[row], begins[row] + sizes[row]):
            out[at] = text[byte]
            at += 1
    offsets[len(begins)] = at
    return nulls


@kernel
def count_lines(text: Bytes) -> Int:
    """Return how many line feeds a text has."""
    count = 0
    for byte in text:
        count += byte == NEWLINE
    return count
