"""Record extraction as a whole: the interface, the order, the context, the counts, and input bad in each way."""

import bz2
import gzip
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.errors import RecordError
from features.records.extraction import extract_records
from features.records.settings import RecordSettings
from features.schema import FEATURE_NAMES, arrow_schema, difference
from features.table import open_table, write_table

Rows = list[dict[str, Any]]
HEADER = "ts,id.orig_h,id.orig_p,id.resp_h,id.resp_p,proto,duration,orig_bytes,orig_pkts,orig_ip_bytes,resp_pkts\n"


def line(
    second: int = 0, source: str = "10.0.0.1", port: str = "40000", duration: str = "1", packets: str = "3"
) -> str:
    return f"{1_600_000_000 + second},{source},{port},10.0.0.2,80,tcp,{duration},10,{packets},130,2\n"


def rejects_of(path: Path, share: float = 1.0) -> tuple[dict[str, int], list[tuple[int, str]]]:
    extraction = extract_records([path], RecordSettings(max_reject_share=share))
    list(extraction)
    counts = {
        name.removeprefix("rejected."): n for name, n in extraction.counts.items() if name.startswith("rejected.")
    }
    return counts, [(reject.line, reject.reason) for reject in extraction.rejects]


def test_batches_are_feature_tables(record_file: Callable[..., Path], tmp_path: Path) -> None:
    """The batches have the schema's columns, can be written and opened, and say which columns have values."""
    extraction = extract_records([record_file(HEADER + line(), "name.csv")])
    batches = list(extraction)
    assert not difference(batches[0].schema)
    assert write_table(batches, tmp_path / "table.parquet", arrow_schema()).rows == 1
    assert open_table(tmp_path / "table.parquet").metadata.num_rows == 1
    assert batches[0].column("capture").to_pylist() == ["name.csv"]
    assert extraction.counts["columns_present"] == len(extraction.columns_present)
    assert {"start", "fwd_packets", "src_flows_60s"} <= set(extraction.columns_present)
    assert "fwd_window_first" not in extraction.columns_present


def test_order_and_runs_do_not_matter(record_file: Callable[..., Path]) -> None:
    """Rows come by end with the same context, whatever the order of lines, of files, and the rows sorted at once."""
    lines = [line(second * 7 % 100, f"10.0.0.{second % 3}", str(second)) for second in range(200)]
    ordered = sorted(lines)
    files = [record_file(HEADER + "".join(lines[at : at + 70]), str(at)) for at in (140, 0, 70)]
    whole = pa.Table.from_batches(list(extract_records([record_file(HEADER + "".join(ordered))], capture="x")))
    parts = pa.Table.from_batches(list(extract_records(files, RecordSettings(run_rows=50), "x")))
    names = [name for name in FEATURE_NAMES if name not in ("capture", "flow_id")]
    by_port = [("end", "ascending"), ("src_port", "ascending")]
    assert parts.column("end").to_pylist() == sorted(whole.column("end").to_pylist())
    assert parts.sort_by(by_port).select(names).equals(whole.sort_by(by_port).select(names))
    assert parts.column("flow_id").to_pylist() == list(range(200))


def test_files_of_different_kinds_are_refused(record_file: Callable[..., Path]) -> None:
    """One extraction is of one tool."""
    aws = record_file("2 1 eni-1 1.1.1.1 2.2.2.2 1 2 6 20 4249 1418530010 1418530070 ACCEPT OK\n", "other")
    with pytest.raises(RecordError, match="one kind"):
        list(extract_records([record_file(HEADER + line()), aws]))


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress, "zstd", "lz4"])
def test_compressions_are_told_by_content(
    record_file: Callable[..., Path], compress: Callable[[bytes], bytes] | str
) -> None:
    """Every compression reads as the plain text does, under a name that says nothing."""
    text = (HEADER + line()).encode()
    if isinstance(compress, str):
        sink = pa.BufferOutputStream()
        with pa.CompressedOutputStream(sink, compress) as stream:
            stream.write(text)
        packed = sink.getvalue().to_pybytes()
    else:
        packed = compress(text)
    (batch,) = extract_records([record_file(packed)])
    assert batch.num_rows == 1


@pytest.mark.parametrize("cut", [10, 400])
def test_a_truncated_gzip_is_an_error(record_file: Callable[..., Path], cut: int) -> None:
    """A file that ends inside its compressed stream is refused, not read in part."""
    packed = gzip.compress((HEADER + "".join(line(s, port=str(s * 97 % 60_000)) for s in range(2000))).encode())
    with pytest.raises(RecordError, match="to their end"):
        list(extract_records([record_file(packed[:-cut])]))


def test_mixed_line_ends_are_read(rows_of: Callable[[str], Rows]) -> None:
    """Lines may end in LF or CRLF, blank ones are none, the last may have no end."""
    assert len(rows_of(HEADER + line(1).replace("\n", "\r\n") + "\n" + line(2) + "\r\n" + line(3).strip())) == 3


def test_each_reject_has_its_line_and_reason(record_file: Callable[..., Path]) -> None:
    """One bad row of each kind between good ones: counted by reason, kept with its line."""
    bad = {
        3: HEADER,
        5: "only,three,cells\n",
        7: line(duration="-1"),
        9: line(packets="-3"),
        11: line(packets="many"),
        13: line(source="10.0.0.256"),
        15: line(source=""),
        17: line(port="70000"),
        19: line().replace("1600000000", "5"),
        21: line().replace("1600000000", "yesterday"),
        23: line().replace("1600000000", ""),
        25: line().replace(",tcp,", ",10.0.0.2,"),
    }
    text = HEADER + "".join(bad.get(number, line(number)) for number in range(2, 60))
    counts, kept = rejects_of(record_file(text))
    assert sorted(kept) == [
        (3, "header_again"), (5, "number_of_cells"), (7, "negative_duration"), (9, "negative_number"),
        (11, "bad_number"), (13, "bad_address"), (15, "no_address"), (17, "bad_port"), (19, "year_1970"),
        (21, "bad_time"), (23, "no_time"), (25, "bad_protocol"),
    ]  # fmt: skip
    assert counts == {reason: 1 for _, reason in kept}


def test_bytes_that_are_no_utf8_cost_one_row(record_file: Callable[..., Path]) -> None:
    """A cell of another encoding is a bad row, not the end of the file."""
    text = (HEADER + line(1)).encode() + line(2).encode().replace(b"tcp", b"t\xffp") + line(3).encode()
    assert rejects_of(record_file(text)) == ({"not_utf8": 1}, [(3, "not_utf8")])


def test_swapped_columns_refuse_the_file(record_file: Callable[..., Path]) -> None:
    """A file whose cells stand under the wrong names fails and names the first three rows."""
    swapped = "".join(f"{1_600_000_000 + s},80,10.0.0.1,443,10.0.0.2,tcp,1,10,3,130,2\n" for s in range(30))
    with pytest.raises(RecordError, match=r"30 of 30; line 2: \w+, line 3: \w+, line 4: \w+"):
        list(extract_records([record_file(HEADER + swapped)]))


def test_a_wrong_delimiter_refuses_the_file(record_file: Callable[..., Path]) -> None:
    """Rows that are separated otherwise than their header fail; a file that is so all through is read."""
    with pytest.raises(RecordError, match="number_of_cells"):
        list(extract_records([record_file(HEADER + line().replace(",", ";") * 30)]))
    (batch,) = extract_records([record_file((HEADER + line()).replace(",", ";"))])
    assert batch.num_rows == 1


def test_the_share_of_rejects_is_a_setting(record_file: Callable[..., Path]) -> None:
    """Five of a hundred rows pass at 5 %, six do not."""
    good = "".join(line(number) for number in range(94))
    path = record_file(HEADER + good + line() + line(duration="-1") * 5)
    assert rejects_of(path, 0.05)[0] == {"negative_duration": 5}
    with pytest.raises(RecordError, match="at most 5%"):
        rejects_of(record_file(HEADER + good + line(duration="-1") * 6), 0.05)


def test_a_clock_that_begins_in_1970_is_kept(rows_of: Callable[[str], Rows]) -> None:
    """A whole file of 1970 was recorded with a clock of its own; its rows are as good as others."""
    text = HEADER + "".join(line(second).replace("16000000", "") for second in range(5))
    assert [row["start"].year for row in rows_of(text)] == [1970] * 5


def test_infinity_and_nan_never_pass(rows_of: Callable[[str], Rows]) -> None:
    """Both are read as no value."""
    infinite, missing = rows_of(HEADER + line(packets="inf") + line(1, packets="NaN"))
    for row in (infinite, missing):
        assert (row["fwd_packets"], row["packets_per_s"], row["fwd_length_mean"]) == (None, None, None)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("2001:DB8:0:0:0:0:0:1", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("[::1]", "::1"),
        ("::ffff:10.0.0.7", "10.0.0.7"),
        ("::ffff:a00:7", "10.0.0.7"),
    ],
)
def test_odd_forms_of_ipv6(rows_of: Callable[[str], Rows], text: str, address: str) -> None:
    """Long, bracketed, zoned and mapped addresses are written in one way."""
    (row,) = rows_of(HEADER + line(source=text))
    assert row["src_ip"] == address


def test_neighbours_in_time_are_seen(rows_of: Callable[[str], Rows]) -> None:
    """Context columns count what ended within a minute, the same as for captures."""
    rows = rows_of(HEADER + line(0) + line(30) + line(200))
    assert [row["same_flows_60s"] for row in rows] == [2, 2, 1]
    assert [row["same_gap_mean_s_60s"] for row in rows] == [30, 30, None]


cells = st.sampled_from(
    ["0", "7", "-3", "", "-", "inf", "x", "1e3", "10.0.0.1", "::1", "70000", "1600000000", '"', "é"]
)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.lists(cells, min_size=9, max_size=12).map(",".join), min_size=1, max_size=30))
def test_rows_in_are_rows_out_and_rejects(tmp_path_factory: pytest.TempPathFactory, lines: list[str]) -> None:
    """Whatever stands in the cells, every line is a row or a named reject."""
    path = tmp_path_factory.mktemp("records") / "records"
    path.write_text(HEADER + "\n".join(lines) + "\n")
    extraction = extract_records([path], RecordSettings(max_reject_share=1))
    rows = sum(batch.num_rows for batch in extraction)
    rejected = sum(count for name, count in extraction.counts.items() if name.startswith("rejected."))
    assert extraction.counts["rows_read"] == rows + rejected
    assert extraction.counts["rows_out"] == rows
    assert rows + rejected <= len(lines)
