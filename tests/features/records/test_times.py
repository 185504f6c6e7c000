"""Times in every way of writing, against literals and the standard library."""

from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.records.times import UNSET, Writing, times


def read(*texts: str | None, writing: Writing = Writing()) -> list[str]:  # noqa: B008 (a tuple)
    parsed = times(pa.array(texts, pa.string()), writing)
    return ["bad" if bad else str(np.datetime64(int(ns), "ns")) for ns, bad in zip(*parsed, strict=True)]


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("1540469303.123456789", "2018-10-25T12:08:23.123456789"),
        ("1540469303", "2018-10-25T12:08:23.000000000"),
        ("2017-07-05 19:55:50.312099", "2017-07-05T19:55:50.312099000"),
        ("2021-06-06T15:59:46.457984+0200", "2021-06-06T13:59:46.457984000"),
        ("2021-06-06T15:59:46Z", "2021-06-06T15:59:46.000000000"),
        ("2019/04/04 16:24:47.672448", "2019-04-04T16:24:47.672448000"),
        ("5/7/2017 8:55:22 PM", "2017-07-05T20:55:22.000000000"),
        ("5/7/2017 12:00:01 AM", "2017-07-05T00:00:01.000000000"),
        ("05/07/2017 03:30", "2017-07-05T03:30:00.000000000"),
        ("1540469303123", "2018-10-25T12:08:23.123000000"),
        ("1540469303123456", "2018-10-25T12:08:23.123456000"),
        ("1540469303123456000", "2018-10-25T12:08:23.123456000"),
        ("14-02-2018 08:31:01", "2018-02-14T08:31:01.000000000"),
        ("14.02.2018 08:31", "2018-02-14T08:31:00.000000000"),
        ("2021-06-06 15:59:46,457 UTC", "2021-06-06T15:59:46.457000000"),
        ("2021-06-06 15:59:46.1234567891+02", "2021-06-06T13:59:46.123456789"),
        ("31/02/2017 01:00", "bad"),
        ("yesterday", "bad"),
        ("-5", "bad"),
    ],
)
def test_one_time(text: str, moment: str) -> None:
    """Epoch numbers of seconds or finer, ISO 8601, slashes and 12-hour clocks; what is no time is bad."""
    assert read(text) == [moment]
    assert read(text, None, "x", text) == [moment, "NaT", "bad", moment]


def test_times_with_and_without_zone_in_one_column() -> None:
    """Each is read in its own way, whatever stands beside it."""
    halifax = Writing(zone="America/Halifax")
    texts = ("2017-07-05 12:00:00Z", "2017-07-05 12:00:00", "never", "2017-07-05 12:00", "2017-13-05 12:00:00Z", None)
    noon, afternoon = "2017-07-05T12:00:00.000000000", "2017-07-05T15:00:00.000000000"
    assert read(*texts, writing=halifax) == [noon, afternoon, "bad", afternoon, "bad", "NaT"]


def test_units_zones_and_the_order_of_days() -> None:
    """Milliseconds, a zone for times that name none, and months before days are settings of the source."""
    assert read("1540469303123", writing=Writing(1e-3)) == ["2018-10-25T12:08:23.123000000"]
    halifax = Writing(zone="America/Halifax")
    assert read("2017-07-05 12:00:00", writing=halifax) == ["2017-07-05T15:00:00.000000000"]
    assert read("2017-07-05T12:00:00Z", writing=halifax) == ["2017-07-05T12:00:00.000000000"]
    assert read("5/7/2017 12:00", writing=Writing(month_first=True)) == ["2017-05-07T12:00:00.000000000"]


def test_numbers_of_json_are_read_to_the_microsecond() -> None:
    """A double of our days holds microseconds; null stays unset."""
    parsed = times(pa.array([1626284618.384979, None]), Writing())
    assert parsed.values.tolist() == [1_626_284_618_384_979_000, UNSET]
    assert parsed.known().tolist() == [True, False]


@settings(deadline=None)
@given(st.datetimes(datetime(1971, 1, 1), datetime(2200, 1, 1)))
def test_iso_is_what_the_standard_library_reads(moment: datetime) -> None:
    """Any date and time of day to the microsecond."""
    aware = moment.replace(tzinfo=UTC)
    expected = (aware - datetime(1970, 1, 1, tzinfo=UTC)) // (aware.resolution)
    assert times(pa.array([aware.isoformat()]), Writing()).values.tolist() == [expected * 1000]
