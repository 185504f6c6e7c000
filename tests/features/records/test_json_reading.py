"""JSON lines with bad ones among them."""

from collections.abc import Callable
from pathlib import Path

from features.records.extraction import extract_records
from features.records.settings import RecordSettings

GOOD = '{"ts":1600000000.5,"id.orig_h":"1.1.1.1","id.resp_h":"2.2.2.2","proto":"tcp","duration":1.5,"orig_pkts":3}\n'


def test_a_bad_line_is_a_reject(record_file: Callable[..., Path]) -> None:
    """Torn objects, other types and what is no object are counted with their lines; the others are read."""
    torn, other, array = GOOD[:40] + "\n", GOOD.replace("1.5,", '"long",'), "[1]\n"
    text = GOOD + torn + "\n" + other + GOOD + array + GOOD.replace("1.1.1.1", "nowhere") + GOOD.strip()
    extraction = extract_records([record_file(text)], RecordSettings(max_reject_share=1))
    assert sum(batch.num_rows for batch in extraction) == 3
    assert [(reject.line, reject.reason) for reject in extraction.rejects] == [
        (2, "bad_json"), (4, "bad_json"), (6, "bad_json"), (7, "bad_address"),
    ]  # fmt: skip


def test_numbers_as_texts_and_texts_as_numbers(record_file: Callable[..., Path]) -> None:
    """Objects that write a value as another type than the first one did are read; what is no number stays a reject."""
    others = ('"duration":"2.5"', '"duration":"-"', '"duration":"0x10"', '"duration":true', '"duration":NaN')
    text = GOOD + "".join(GOOD.replace('"duration":1.5', other) for other in others) + GOOD.replace('"tcp"', "6")
    extraction = extract_records([record_file(text)], RecordSettings(max_reject_share=1))
    rows = [row for batch in extraction for row in batch.to_pylist()]
    assert sorted((row["protocol"], row["duration_s"]) for row in rows) == [(6, 0), (6, 1.5), (6, 1.5), (6, 2.5)]
    assert [(reject.line, reject.reason) for reject in extraction.rejects] == [(line, "bad_json") for line in (4, 5, 6)]


def test_what_python_reads_and_arrow_does_not(record_file: Callable[..., Path]) -> None:
    """A number above all doubles, or half a surrogate pair, costs its line and not the file."""
    others = ('"duration":1e999', '"duration":1.5,"note":"\\ud800"')
    text = GOOD + "".join(GOOD.replace('"duration":1.5', other) for other in others) + GOOD
    extraction = extract_records([record_file(text)], RecordSettings(max_reject_share=1))
    assert sum(batch.num_rows for batch in extraction) == 2
    assert [(reject.line, reject.reason) for reject in extraction.rejects] == [(2, "bad_json"), (3, "bad_json")]


def test_objects_that_share_a_line_or_span_two_keep_the_line_they_begin_in(record_file: Callable[..., Path]) -> None:
    """Two objects on line 2, none on 3, one over 4 and 5: all are read, and a bad address is rejected by its line."""
    bad = GOOD.replace("1.1.1.1", "nowhere")
    spanning = bad.replace(',"proto"', ',\n"proto"')
    text = GOOD + GOOD.strip() + " " + bad + "\n" + spanning + bad
    extraction = extract_records([record_file(text)], RecordSettings(max_reject_share=1))
    assert sum(batch.num_rows for batch in extraction) == 2
    assert [(reject.line, reject.reason) for reject in extraction.rejects] == [
        (2, "bad_address"), (4, "bad_address"), (6, "bad_address"),
    ]  # fmt: skip
