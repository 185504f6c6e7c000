"""Times as records write them, to nanoseconds UTC: epoch numbers, ISO 8601, and day/month/year with 12 or 24 hours."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from features.records.adapter import Floats
from features.records.cells import Mask

UNSET = np.int64(-(2**63))
SLASHED = (
    r"^\s*(?P<first>\d{1,2})[/.-](?P<second>\d{1,2})[/.-](?P<year>\d{4})[ T]+(?P<hour>\d{1,2}):(?P<minute>\d{2})"
    r"(?::(?P<s>\d{2})(?P<fraction>\.\d{1,9})?)?\s*(?P<half>[AaPp][Mm])?\s*$"
)
ZONED = r"([Zz]|[+-]\d{2}:?\d{2})$"
SHAPED = r"^\d{4}-\d{2}-\d{2}[ T]\d{2}:\d{2}:\d{2}(\.\d{1,9})?([Zz]|[+-]\d{2}:?\d{2})?$"
LOOSE = r"^\s*(\d{4}-\d{2}-\d{2})[ T]+(\d{2}:\d{2}:\d{2})[.,]?(\d{0,9})\d*\s*(UTC|GMT|[Zz]|[+-]\d{2}(?::?\d{2})?|)\s*$"
"""ISO 8601 with a comma, zones named UTC or GMT or in hours alone, more decimal places than nanoseconds have."""
FINER = (1e11, 1e14, 1e17)
"""An epoch number below the first is of seconds, below the others of milli- and microseconds."""
Nanoseconds = npt.NDArray[np.int64]


class Times(NamedTuple):
    """Nanoseconds since 1970 UTC, shape (n,), UNSET where there is none, and which cells could not be read."""

    values: Nanoseconds
    bad: Mask

    def known(self) -> Mask:
        """Return True where there is a time."""
        return self.values != UNSET


class Writing(NamedTuple):
    """How a source writes times: seconds of an epoch unit (a power of ten), zone where none is named, order of days."""

    unit_s: float = 1.0
    zone: str = "UTC"
    month_first: bool = False


Reader = Callable[[pa.Array, Writing], Nanoseconds]


def times(column: pa.Array, writing: Writing) -> Times:
    """Return a column of times; no cell can be read in more than one way. Times before 1970 are bad."""
    if not pa.types.is_string(column.type):
        return _checked(_of_floats(column.cast(pa.float64()), writing.unit_s), column)
    values = np.full(len(column), UNSET)
    for read in _likely_first(column, writing):
        open_rows = np.flatnonzero((values == UNSET) & column.is_valid().to_numpy(zero_copy_only=False))
        if not len(open_rows):
            break
        whole = len(open_rows) == len(column)
        values[open_rows] = read(column if whole else column.take(pa.array(open_rows)), writing)
    return _checked(values, column)


def _likely_first(column: pa.Array, writing: Writing) -> list[Reader]:
    """Return the ways to read times, those first that read the column's first one."""
    first = (column.drop_null() if column.null_count else column).slice(0, 1)
    ways: tuple[Reader, ...] = (_decimal, _longer_decimal, _iso, _slashed, _loose)
    return sorted(ways, key=lambda read: (read(first, writing) == UNSET).all()) if len(first) else []


def _checked(values: Nanoseconds, column: pa.Array) -> Times:
    values = np.where(values < 0, UNSET, values)
    return Times(values, (values == UNSET) & column.is_valid().to_numpy(zero_copy_only=False))


def _of_floats(column: pa.Array, unit_s: float) -> Nanoseconds:
    """Return times of floats, to the microsecond, which is what a double of our days still holds."""
    seconds = column.to_numpy(zero_copy_only=False) * unit_s
    if unit_s == 1:
        seconds = _finer(seconds)
    with np.errstate(invalid="ignore"):
        inside = (seconds >= 0) & (seconds < 2**63 / 1e9)
    return np.where(inside, np.rint(np.where(inside, seconds, 0) * 1e6).astype(np.int64) * 1000, UNSET)


def _finer(seconds: Floats) -> Floats:
    """Return seconds of what was counted in milli-, micro- or nanoseconds: as seconds it would be of the year 5138."""
    with np.errstate(invalid="ignore"):
        steps = np.select([seconds < limit for limit in FINER], [1.0, 1e3, 1e6], 1e9)
    return seconds / steps


def _decimal(column: pa.Array, writing: Writing) -> Nanoseconds:
    """Read decimal numbers exactly: of seconds with nine decimal places the unscaled value is nanoseconds."""
    scale = 9 + round(math.log10(writing.unit_s))
    try:
        decimals = column.cast(pa.decimal128(38, scale))
    except pa.ArrowInvalid:
        right = pc.match_substring_regex(column, rf"^\d{{1,18}}(\.\d{{1,{scale}}})?$")
        decimals = pc.if_else(right, column, None).cast(pa.decimal128(38, scale))
    words = np.frombuffer(decimals.buffers()[1], np.int64)[2 * decimals.offset :].reshape(-1, 2)[: len(column)]
    inside = (words[:, 1] == 0) & (words[:, 0] >= 0) & decimals.is_valid().to_numpy(zero_copy_only=False)
    return np.where(inside, words[:, 0], UNSET)


def _longer_decimal(column: pa.Array, writing: Writing) -> Nanoseconds:
    """Read numbers with blanks around them or more decimal places than nanoseconds have."""
    digits = pc.match_substring_regex(column, r"^\s*\d{1,19}(\.\d*)?\s*$")
    readable = pc.utf8_trim_whitespace(pc.if_else(digits, column, None))
    return _of_floats(readable.cast(pa.float64()), writing.unit_s)


def _iso(column: pa.Array, writing: Writing) -> Nanoseconds:
    """Read 2026-03-01T08:00:00.5 with or without zone; slashes between the parts of the date are as good."""
    try:
        return _nanoseconds(_placed(column.cast(pa.timestamp("ns")), writing.zone))
    except pa.ArrowInvalid:  # zones, slashes, blanks, or what is no time
        pass
    plain = pc.utf8_trim_whitespace(pc.replace_substring_regex(column, r"^\s*(\d{4})/(\d{2})/(\d{2})", r"\1-\2-\3"))
    return _cast_iso(plain, writing.zone, whole=True)


def _cast_iso(column: pa.Array, zone: str, whole: bool) -> Nanoseconds:
    with_zone = pc.all(pc.match_substring_regex(column, ZONED)).as_py()
    try:
        if with_zone:
            return _nanoseconds(column.cast(pa.timestamp("ns", "UTC")))
        return _nanoseconds(_placed(column.cast(pa.timestamp("ns")), zone))
    except pa.ArrowInvalid:
        return _in_groups(column, zone) if whole else np.full(len(column), UNSET)


def _in_groups(column: pa.Array, zone: str) -> Nanoseconds:
    """Read a column in which not all are times of one way: those with a zone, those without, and the others."""
    shaped, zoned = (
        pc.fill_null(pc.match_substring_regex(column, pattern), False).to_numpy(zero_copy_only=False)
        for pattern in (SHAPED, ZONED)
    )
    values = np.full(len(column), UNSET)
    for group in (shaped & zoned, shaped & ~zoned, ~shaped):
        rows = np.flatnonzero(group)
        if len(rows):
            chosen = column.take(pa.array(rows))
            read = _cast_iso(chosen, zone, whole=False)
            values[rows] = read if (read != UNSET).any() else _one_by_one(chosen, zone)
    return values


def _loose(column: pa.Array, writing: Writing) -> Nanoseconds:
    """Read 2026-03-01 08:00:00,5 UTC and its like."""
    zone = pc.replace_substring_regex(pc.replace_substring_regex(column, LOOSE, r"\4"), r"^(UTC|GMT)$", "Z")
    zone = pc.replace_substring_regex(zone, r"^([+-]\d{2})$", r"\1:00")
    moment = pc.replace_substring_regex(pc.replace_substring_regex(column, LOOSE, r"\1T\2.\3"), r"\.$", "")
    plain = pc.binary_join_element_wise(moment, zone, "")
    return _iso(pc.if_else(pc.match_substring_regex(column, LOOSE), plain, None), writing)


def _one_by_one(column: pa.Array, zone: str) -> Nanoseconds:
    """Read the different texts of a column that holds some that are no times."""
    encoded = column.dictionary_encode()
    looks = pc.match_substring_regex(encoded.dictionary, r"^\d{4}-\d{2}-\d{2}")
    table = [
        _cast_iso(encoded.dictionary.slice(row, 1), zone, whole=False)[0] if right else UNSET
        for row, right in enumerate(looks.to_pylist())
    ]
    codes = pc.fill_null(encoded.indices, len(table)).to_numpy(zero_copy_only=False)
    return np.array([*table, UNSET], np.int64)[codes]


def _placed(local: pa.Array, zone: str) -> pa.Array:
    if zone == "UTC":
        return local
    return pc.assume_timezone(local, zone, ambiguous="earliest", nonexistent="earliest")


def _nanoseconds(moments: pa.Array) -> Nanoseconds:
    return pc.fill_null(moments.cast(pa.int64()), int(UNSET)).to_numpy(zero_copy_only=False)


def _slashed(column: pa.Array, writing: Writing) -> Nanoseconds:
    """Read 5/7/2017 8:55:22 PM and its like."""
    parts = pc.extract_regex(column, SLASHED)
    matched = parts.is_valid().to_numpy(zero_copy_only=False)
    if not matched.any():
        return np.full(len(column), UNSET)
    day, month = ("second", "first") if writing.month_first else ("first", "second")
    years, months, days, hours, minutes, seconds = (
        _part(parts, name) for name in ("year", month, day, "hour", "minute", "s")
    )
    half = pc.utf8_lower(parts.field("half")).to_numpy(zero_copy_only=False)
    hours = np.where(half == "pm", hours % 12 + 12, np.where(half == "am", hours % 12, hours))
    date = (years * 12 + months - 1 - 1970 * 12).astype("M8[M]").astype("M8[D]")
    length = ((date.astype("M8[M]") + 1).astype("M8[D]") - date).astype(np.int64)
    right = matched & (months >= 1) & (months <= 12) & (days >= 1) & (days <= length) & (hours < 24) & (minutes < 60)
    of_day = (hours * 60 + minutes) * 60 + seconds
    total = ((date.astype(np.int64) + days - 1) * 86_400 + of_day) * 1_000_000_000 + _fraction(parts)
    moments = pa.array(np.where(right, total, 0), pa.timestamp("ns"), mask=~right)
    return _nanoseconds(_placed(moments, writing.zone))


def _part(parts: pa.StructArray, name: str) -> Nanoseconds:
    texts = pc.if_else(pc.equal(parts.field(name), ""), None, parts.field(name))
    return pc.fill_null(texts.cast(pa.int64()), 0).to_numpy(zero_copy_only=False)


def _fraction(parts: pa.StructArray) -> Nanoseconds:
    texts = pc.binary_join_element_wise("0", pc.fill_null(parts.field("fraction"), ""), "")
    return np.rint(texts.cast(pa.float64()).to_numpy(zero_copy_only=False) * 1e9).astype(np.int64)
