"""Record files that are damaged, odd or hostile: each row is read or named, or one clear error refuses the file."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features.errors import RecordError
from features.labels.vocabulary import read_vocabulary
from features.records.adapter import Adapter
from features.records.extraction import extract_records
from features.records.settings import RecordSettings
from features.records.sources.known import ADAPTERS

Rows = list[dict[str, Any]]
HEADER = "ts,id.orig_h,id.orig_p,id.resp_h,id.resp_p,proto,duration,orig_bytes,orig_pkts,orig_ip_bytes,resp_pkts\n"
ZEEK = "#separator \\x09\n#unset_field\t-\n#path\tconn\n#fields\t" + HEADER.replace(",", "\t")
ALL = RecordSettings(max_reject_share=1)


def line(second: int = 0) -> str:
    return f"{1_600_000_000 + second},10.0.0.{second % 7 + 1},{40_000 + second},10.0.0.9,80,tcp,1.5,10,3,130,2\n"


def eve(second: int = 0, packets: object = 3) -> dict[str, object]:
    flow = {"pkts_toserver": packets, "pkts_toclient": 2, "bytes_toserver": 300, "bytes_toclient": 200}
    flow |= {"start": f"2020-09-13T12:26:{second:02}.0+0000", "end": f"2020-09-13T12:26:{second:02}.5+0000"}
    ends = {"src_ip": "10.0.0.1", "src_port": 40_000 + second, "dest_ip": "10.0.0.9", "dest_port": 80}
    return {"event_type": "flow", **ends, "proto": "TCP", "flow": flow}


def outcome(path: Path, settings: RecordSettings = ALL) -> tuple[int, dict[str, int], list[int]]:
    """Return rows, rejects by reason, and the lines of the rejects, once they add up."""
    extraction = extract_records([path], settings)
    rows = sum(batch.num_rows for batch in extraction)
    rejected = {
        name.removeprefix("rejected."): count
        for name, count in extraction.counts.items()
        if name.startswith("rejected.")
    }
    assert extraction.counts["rows_read"] == rows + sum(rejected.values())
    return rows, rejected, sorted(reject.line for reject in extraction.rejects)


@pytest.mark.parametrize("text", [HEADER, HEADER + "\n\n", ZEEK, ZEEK + "#close\t2020-09-13-12-26-40\n"])
def test_only_a_header_is_no_rows(record_file: Callable[..., Path], text: str) -> None:
    """A log of a quiet hour is a file with no flows, not an error."""
    assert outcome(record_file(text)) == (0, {}, [])


def test_bytes_of_another_encoding_cost_their_lines(record_file: Callable[..., Path]) -> None:
    """Lines whose cells are no UTF-8 are named with their numbers, in texts and in numbers."""
    lines = [HEADER.encode(), *(line(second).encode() for second in range(6))]
    lines[2] = lines[2].replace(b"tcp", b"t\xfcp")
    lines[4] = lines[4].replace(b"130", b"1\xb30")
    lines[5] = b"\xff\xfe,1\n"
    assert outcome(record_file(b"".join(lines))) == (3, {"not_utf8": 2, "number_of_cells": 1}, [3, 5, 6])


def test_labels_of_another_encoding_are_kept(record_file: Callable[..., Path]) -> None:
    """The dash of CICIDS2017's web attacks is a byte of Windows-1252: rows and labels stay."""
    header = "Flow Duration,Total Fwd Packets,Flow IAT Mean,Label\n"
    rows = [b"1000000,3,5,BENIGN\n", b"1000000,3,5,Web Attack \x96 XSS\n", b"10\x960,3,5,BENIGN\n"]
    path = record_file(header.encode() + b"".join(rows))
    assert outcome(path) == (2, {"not_utf8": 1}, [4])
    labels = [row["source_label"] for batch in extract_records([path], ALL) for row in batch.to_pylist()]
    assert read_vocabulary().label_tags(labels[1]) == read_vocabulary().implied(["initial_access", "web_attack"])


def test_lines_of_nothing_but_commas_are_empty(record_file: Callable[..., Path]) -> None:
    """CICIDS2017's web attacks end with more such lines than flows: they are counted and are no fault of the file."""
    path = record_file(HEADER + line() + ",,,,,,,,,,\n" * 300)
    assert outcome(path, RecordSettings()) == (1, {"empty": 300}, [])


def test_lines_of_blanks_are_no_rows(record_file: Callable[..., Path]) -> None:
    """A line of blanks is as good as an empty one: no row, and others keep their numbers."""
    for good in (line(1), line(1).replace("tcp", '"tcp"')):
        path = record_file(HEADER + line() + "   \n" * 3 + good + "1,2\n")
        assert outcome(path) == (2, {"number_of_cells": 1}, [7])
    assert outcome(record_file(HEADER + line() + "\n" * 3_000_000 + "1,2\n"))[2] == [3_000_003]


def test_labels_are_trimmed(rows_of: Callable[[str], Rows]) -> None:
    """Blanks around a label are no part of it, and a label of blanks is none."""
    rows = rows_of("Flow Duration,Total Fwd Packets,Flow IAT Mean,Label\n1,3,5, BENIGN \n2,3,5,  \n")
    assert [row["source_label"] for row in rows] == ["BENIGN", None]


@pytest.mark.parametrize(
    ("text", "step"),
    [
        ('{"took": 1, "hits": {"total": 2, "hits": [{"_source": {"a": 1}}]}}', r"\.hits\? \| arrays"),
        ('{"flows": [\n {"src": "10.0.0.1"}\n]}', r"\.flows\? \| arrays"),
        ('Nov 25 10:00:00 sensor suricata[7]: {"event_type": "flow", "src_ip": "10.0.0.1"}', "sed"),
        (b"PK\x03\x04\x14\x00\x06\x00[Content_Types].xml", "as CSV"),
        ("<!DOCTYPE html>\n<html><body>403 {not found}</body></html>", "mapping"),
    ],
)
def test_records_in_other_things(record_file: Callable[..., Path], text: str | bytes, step: str) -> None:
    """Answers of a search engine, lines of syslog and workbooks are refused with what makes records of them."""
    with pytest.raises(RecordError, match=step):
        outcome(record_file(text))


def test_a_header_with_blanks_again_is_a_header(record_file: Callable[..., Path]) -> None:
    """Names with blanks before them, as CICIDS2017 writes them, are the header in the middle too."""
    header = HEADER.replace(",", ", ")
    assert outcome(record_file(header + line() + header + line(1))) == (2, {"header_again": 1}, [3])


def test_json_of_another_encoding_costs_its_lines(record_file: Callable[..., Path]) -> None:
    """Objects with such bytes in a value that is read are named with their lines, others are kept."""
    objects = [json.dumps(eve(second)).encode() for second in range(6)]
    objects[1] = objects[1].replace(b"10.0.0.1", b"\x880.0.0.1")
    objects[4] = objects[4].replace(b'"TCP"', b'"TCP", "note": "\xff"')
    assert outcome(record_file(b"\n".join(objects) + b"\n")) == (5, {"not_utf8": 1}, [2])


def test_bytes_of_value_0_cost_their_lines(record_file: Callable[..., Path]) -> None:
    """Behind the part that detection looks at, a byte of value 0 spoils its line alone."""
    good = "".join(line(second) for second in range(6000))
    assert len(HEADER + good) > 1 << 18
    path = record_file(HEADER + good + line().replace("10.0.0.9", "10.0.0.9\0") + line(1))
    assert outcome(path) == (6001, {"bad_address": 1}, [6002])


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ("99999999999999999999999", "huge_number"),
        ("1e300", "huge_number"),
        ("-1e300", "negative_number"),
        ("0x10", "bad_number"),
        ("1,5", "number_of_cells"),
        ("three", "bad_number"),
    ],
)
def test_numbers_that_cannot_be(record_file: Callable[..., Path], cell: str, reason: str) -> None:
    """A number of packets that no flow can have makes its row a reject."""
    text = HEADER + line(1) + line(2).replace(",3,", f",{cell},") + line(3)
    assert outcome(record_file(text)) == (2, {reason: 1}, [3])


def test_quotes_hold_what_they_can(rows_of: Callable[[str], Rows]) -> None:
    """A cell in quotes is its content."""
    (row,) = rows_of(HEADER + line().replace("10.0.0.9", '"10.0.0.9"').replace(",tcp,", ',"tcp",'))
    assert (row["dst_ip"], row["protocol"]) == ("10.0.0.9", 6)


@pytest.mark.parametrize("named", ["", "x", "\\x", "\\xZ", "\\x0a", "\\x09\\x09"])
def test_a_zeek_log_without_separator_is_refused(record_file: Callable[..., Path], named: str) -> None:
    """A first line that names no character, half of one, a line end or several is an error with the file."""
    text = ZEEK.replace("#separator \\x09", f"#separator {named}")
    with pytest.raises(RecordError, match=r"names no separator|another separator|known kind"):
        outcome(record_file(text + line().replace(",", "\t")))


@pytest.mark.parametrize("column", ["id.orig_p", "id.resp_p"])
def test_a_zeek_log_without_ports_is_read(record_file: Callable[..., Path], column: str) -> None:
    """Ports that were left out of a log are unknown, and so are ICMP's types, which Zeek writes into them."""
    text = HEADER.replace(column, "left_out") + line()
    assert outcome(record_file(text)) == (1, {}, [])


def test_an_argus_file_without_protocol_is_read(record_file: Callable[..., Path]) -> None:
    """A flow whose protocol was left out is a flow of none that is known."""
    text = "StartTime,Dur,SrcAddr,Sport,DstAddr,Dport,State,TotPkts,TotBytes\n"
    text += "2020-09-13 12:26:40.0,1.5,10.0.0.1,1000,10.0.0.2,80,S_RA,3,180\n"
    assert outcome(record_file(text)) == (1, {}, [])


def test_a_line_without_end_is_refused(record_file: Callable[..., Path]) -> None:
    """Memory is bounded: 17 MB without a line end are no flow record."""
    with pytest.raises(RecordError, match="too long"):
        outcome(record_file(HEADER.encode() + line().encode() + b"x" * (17 << 20)))


def test_a_column_named_twice_counts_once(rows_of: Callable[[str], Rows]) -> None:
    """Of two columns of one name the first is read."""
    (row,) = rows_of(HEADER.replace("\n", ",orig_pkts\n") + line().replace("\n", ",77\n"))
    assert row["fwd_packets"] == 3


@pytest.mark.parametrize("indent", [None, 2])
def test_json_arrays_are_read(rows_of: Callable[[str], Rows], indent: int | None) -> None:
    """An array gives what its objects, one a line, give; written in one line or in many."""
    records = [eve(second) for second in range(5)]
    lines = rows_of("".join(json.dumps(record) + "\n" for record in records))
    assert len(lines) == 5
    assert rows_of(json.dumps(records, indent=indent)) == lines


def test_an_array_that_ends_early_is_refused(record_file: Callable[..., Path]) -> None:
    """The message says after which object."""
    text = json.dumps([eve(second) for second in range(5)], indent=1)
    with pytest.raises(RecordError, match="object 5"):
        outcome(record_file(text[:-40]))


@pytest.mark.parametrize("bad", ['{"event_type"', "[]", json.dumps(eve(packets="many")), '{"proto":"x","proto":"y"}'])
def test_lines_that_are_no_such_objects(record_file: Callable[..., Path], bad: str) -> None:
    """A line of another shape is a reject between good ones."""
    lines = [json.dumps(eve(1)), bad, json.dumps(eve(2))]
    assert outcome(record_file("\n".join(lines)))[1:] == ({"bad_json": 1}, [2])


SAMPLES = {
    "csv": HEADER + "".join(line(second) for second in range(40)),
    "tsv": ZEEK + "".join(line(second).replace(",", "\t") for second in range(40)),
    "json": "".join(json.dumps(eve(second)) + "\n" for second in range(40)),
    "array": json.dumps([eve(second) for second in range(40)], indent=1),
}
SPOILERS = (
    *(b"\n", b"\r\n", b"\r", b'"', b"\0", b"\xff", b",", b"\t", b"#", b" ", b"\xc3\xa9", b"\\", b"{", b"}", b"[]"),
    *(b"-1", b"9" * 25, b"1e400", b"nan", b"inf", b"::1", b"null", b"0x", b"-", b"true"),
)


@pytest.mark.parametrize("form", SAMPLES)
@pytest.mark.parametrize("seed", range(25))
def test_nothing_but_rows_rejects_or_one_error(record_file: Callable[..., Path], form: str, seed: int) -> None:
    """Whatever is changed at random, rows read are rows out and named rejects, or the file is refused in one error."""
    chance = np.random.default_rng(seed)
    content = bytearray(SAMPLES[form].encode())
    for _ in range(chance.integers(1, 12)):
        at = int(chance.integers(len(content)))
        spoiler = SPOILERS[chance.integers(len(SPOILERS))]
        length = int(chance.choice([0, 1, 1, 90]))
        content[at : at + length] = spoiler if chance.integers(2) else content[: chance.integers(200)]
    try:
        rows, _, _ = outcome(record_file(bytes(content)))
    except RecordError as error:
        assert error.what
    else:
        assert rows <= 41 + content.count(b"\n") + content.count(b"\r")


def test_an_open_quote_costs_its_line_alone(record_file: Callable[..., Path]) -> None:
    """A cell that opens a quote would take in all lines up to the next quote; cells that close theirs are read."""
    row = b"1700000000.5,1.1.1.1,2.2.2.2,tcp,%b\n"
    cells = [b"1", b'"2', b"3", b'"4"', b'"5', b"6"]
    text = b"ts,id.orig_h,id.resp_h,proto,duration\n" + b"".join(row % cell for cell in cells)
    assert outcome(record_file(text)) == (4, {"open_quote": 2}, [3, 6])


CELLS = {"src_ip": "192.0.2.1", "dst_ip": "192.0.2.2", "start": "1700000000.5", "end": "1700000001.5", "protocol": "6"}


@pytest.mark.parametrize("adapter", ADAPTERS, ids=lambda adapter: adapter.name)
@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(chosen=st.data())
def test_columns_may_be_left_out(record_file: Callable[..., Path], adapter: Adapter, chosen: st.DataObject) -> None:
    """Of each source's columns any may be missing but those that tell it: rows come out, or the file is refused."""
    needed = [chosen.draw(st.sampled_from(names)) for names in adapter.needs]
    others = chosen.draw(st.sets(st.sampled_from(sorted(adapter.named()))))
    columns = [name for name in dict.fromkeys([*needed, *sorted(others)]) if "|" not in name]
    targets = adapter.named()
    cells = [CELLS.get(targets.get(name, ""), "1") for name in columns]
    text = "\t".join(columns) + "\n" + ("\t".join(cells) + "\n") * 2
    try:
        rows, rejected, _ = outcome(record_file(text))
    except RecordError:
        return
    assert rows + sum(rejected.values()) == 2


@pytest.mark.parametrize("before", ["# made by a notebook\n", "sep=,\n", "Flows of Monday\n\n", "\ufeff\n"])
def test_words_before_the_header(record_file: Callable[..., Path], before: str) -> None:
    """Lines that tools and people write before the header are no rows, and lines keep their numbers."""
    path = record_file(before + HEADER + line() + line().replace("10.0.0.9", "nowhere"))
    assert outcome(path) == (1, {"bad_address": 1}, [before.count("\n") + 3])


def test_rows_before_the_header_are_rows(record_file: Callable[..., Path]) -> None:
    """Files put together in the wrong order have their header in the middle: no row before it is lost."""
    path = record_file(line() + line(1) + HEADER + line(2))
    assert outcome(path) == (3, {"header_again": 1}, [3])


def test_decimal_commas(rows_of: Callable[[str], Rows]) -> None:
    """With another delimiter numbers may have decimal commas, in times too."""
    (expected,) = rows_of(HEADER + line().replace("1600000000", "1600000000.25"))
    cells = (HEADER + line().replace("1600000000", "1600000000.25")).replace(",", ";").split("\n")
    text = "\n".join([cells[0], cells[1].replace("1600000000.25", "1600000000,25").replace(";1.5;", ";1,5;"), ""])
    assert rows_of(text) == [expected]


@pytest.mark.parametrize("between", [",\n", "", " ", "\n\n"])
def test_objects_one_behind_the_other(record_file: Callable[..., Path], between: str) -> None:
    """Objects with commas behind their lines, or all on one line, are read as those of an array are."""
    path = record_file(between.join(json.dumps(eve(second)) for second in range(3)))
    assert outcome(path) == (3, {}, [])


def test_json_is_no_header(record_file: Callable[..., Path]) -> None:
    """Behind a word that is none, JSON lines are refused, not taken for separated text whose header they are."""
    with pytest.raises(RecordError, match="known kind"):
        outcome(record_file("// exported\n" + json.dumps(eve()) + "\n"))


def test_a_first_line_with_more_behind_its_object_costs_that_line(record_file: Callable[..., Path]) -> None:
    """What follows an object on its line, and is none, does not make an array of the file."""
    lines = [json.dumps(eve(second)) for second in range(3)]
    assert outcome(record_file("\n".join([lines[0] + " and so on", *lines[1:], ""]))) == (2, {"bad_json": 1}, [1])
