"""The benchmark of record files on a small sample: every row that it builds is read, by each way."""

import gzip
import json
from pathlib import Path

import pytest

from benchmarks.records import SOURCES, Measured, build, elsewhere, main, page

FIELDS = (
    *("ts", "uid", "id.orig_h", "id.orig_p", "id.resp_h", "id.resp_p", "proto", "service", "duration"),
    *("orig_bytes", "resp_bytes", "conn_state", "history", "orig_pkts", "orig_ip_bytes", "resp_pkts", "resp_ip_bytes"),
)
ROWS = [
    "1300475167.1\tC1\t192.0.2.1\t5353\t224.0.0.251\t5353\tudp\tdns\t-\t-\t-\tS0\tD\t1\t100\t0\t0",
    "1300475168.2\tC2\t192.0.2.1\t37682\t198.51.100.2\t80\ttcp\thttp\t1.5\t40\t60\tSF\tShADadFf\t4\t248\t4\t268",
]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder with a conn.log of two rows where the benchmark looks for its sample."""
    sample = tmp_path / SOURCES[0].sample
    sample.parent.mkdir(parents=True)
    with gzip.open(sample, "wt") as file:
        file.write("\n".join(["#separator \\x09", "\t".join(["#fields", *FIELDS]), *ROWS]) + "\n")
    return tmp_path


def test_a_file_of_repeated_rows(data: Path) -> None:
    """As many rows as asked for, later and between other hosts with each repetition."""
    path = build(SOURCES[0], data, data, 5)
    lines = [line.split("\t") for line in path.read_text().splitlines() if line[0] != "#"]
    assert [line[0] for line in lines[::2]] == ["1300475167.100000", "1300475887.100000", "1300476607.100000"]
    assert [line[2] for line in lines] == ["192.0.2.1", "192.0.2.1", "192.0.3.1", "192.0.3.1", "192.0.4.1"]
    assert len(lines) == 5
    assert elsewhere("192.0.255.1", 2) == "192.0.1.1"
    assert elsewhere("fe80::1", 2) == "fe80::1"


def test_every_way_reads_every_row(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command measures what it has a sample of, and names what it has none of."""
    monkeypatch.setenv("FLOWTAG_DATA", str(data))
    monkeypatch.setattr("sys.argv", ["records.py", "--rows", "4000", "--json"])
    assert main() == 0
    told = capsys.readouterr()
    measured = json.loads(told.out)
    assert [(one["way"], one["rows"]) for one in measured] == [
        ("flowtag, to the feature table", 4000),
        ("flowtag, read and checked", 4000),
        ("pandas.read_csv", 4000),
    ]
    assert all(one["peak_mib"] > 10 for one in measured)
    assert SOURCES[1].name in told.err


def test_page() -> None:
    """A line of Markdown for each measurement."""
    assert page([Measured("Zeek TSV", "pandas", 10, 1234.5, 99.6)]).splitlines()[-1] == (
        "| Zeek TSV | 10 | pandas | 1,234 | 100 |"
    )
