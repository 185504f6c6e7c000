"""Mapping files for sources of one's own."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from features.errors import ConfigError, RecordError
from features.records.mapping import read_mapping
from features.records.settings import RecordSettings

Rows = list[dict[str, Any]]
MAPPING = """
name: firewall
delimiter: ";"
nulls: ["n/a"]
columns:
  start: {column: time, unit: ms}
  duration_s: {column: lasted, unit: ms}
  src_ip: client
  dst_ip: server
  dst_port: service
  protocol: proto
  fwd_packets: {column: total, minus: back}
  bwd_packets: {column: back, unset: [-1]}
  fwd_bytes: {column: sent, unit: KiB}
"""
TEXT = "time;lasted;client;server;service;proto;total;back;sent\n1600000000500;1500;1.1.1.1;2.2.2.2;443;tcp;5;2;n/a\n"


def mapped(record_file: Callable[..., Path], mapping: str) -> RecordSettings:
    return RecordSettings(mapping=record_file(mapping, "mapping.yaml"))


def test_a_mapped_source(rows_of: Callable[..., Rows], record_file: Callable[..., Path]) -> None:
    """Units are converted, columns subtracted, the source's null texts are null, and what follows is computed."""
    (row,) = rows_of(TEXT.replace("n/a", "2"), mapped(record_file, MAPPING))
    expected = {"duration_s": 1.5, "fwd_packets": 3, "bwd_packets": 2, "fwd_bytes": 2048, "service_web": 1}
    assert {name: row[name] for name in expected} == expected
    assert row["start"].isoformat() == "2020-09-13T12:26:40.500000+00:00"
    assert row["src_flows_60s"] == 1
    (row,) = rows_of(TEXT.replace(";2;n/a", ";-1;n/a"), mapped(record_file, MAPPING))
    assert (row["fwd_bytes"], row["bwd_packets"]) == (None, None)


def test_a_file_without_a_mapped_column_is_refused(
    rows_of: Callable[..., Rows], record_file: Callable[..., Path]
) -> None:
    """The mapping names columns that must be there."""
    with pytest.raises(RecordError, match="firewall"):
        rows_of(TEXT.replace("lasted", "took"), mapped(record_file, MAPPING))


@pytest.mark.parametrize(
    ("mapping", "useful"),
    [
        ("columns: {fwd_bytez: x}", "fwd_bytes"),
        ("columns: {fwd_bytes: {column: x, unit: parsec}}", "No such unit"),
        ("columns: {fwd_bytes: {colum: x}}", "nearest: column"),
        ("columns: {fwd_bytes: {unit: s}}", "no source"),
        ("column: {}", "maps nothing"),
        ("columns: {src_flows_60s: x}", "No such column"),
        ("columns: [", "cannot be read"),
        ('{delimiter: ";;", columns: {start: time}}', "one ASCII character"),
        ("{delimiter: '\"', columns: {start: time}}", "one ASCII character"),
    ],
)
def test_a_wrong_mapping_names_what_is_wrong(
    rows_of: Callable[..., Rows], record_file: Callable[..., Path], mapping: str, useful: str
) -> None:
    """Unknown targets, units and keys are errors that name the nearest."""
    with pytest.raises(ConfigError, match=useful):
        rows_of(TEXT, mapped(record_file, mapping))


def test_times_and_ends_alone_are_flows(rows_of: Callable[..., Rows], record_file: Callable[..., Path]) -> None:
    """A source without any number still gives flows, with their neighbours."""
    path = mapped(record_file, "columns: {start: time, src_ip: client, dst_ip: server}").mapping
    rows = rows_of("time,client,server\n1600000000,10.0.0.1,10.0.0.2\n", RecordSettings(mapping=path))
    assert [(row["src_ip"], row["src_port"], row["src_flows_60s"]) for row in rows] == [("10.0.0.1", None, 1)]


def test_one_of_several_columns(tmp_path: Path) -> None:
    """A target may have a column for each dialect; a file needs one of them."""
    mapping = tmp_path / "mapping.yaml"
    mapping.write_text("columns: {protocol: proto, fwd_packets: {column: [sent, tx]}}")
    adapter = read_mapping(mapping).adapter
    assert [given.columns for given in adapter.given] == [("proto",), ("sent", "tx")]
    assert adapter.fits(frozenset(["proto", "tx"]))
    assert not adapter.fits(frozenset(["proto"]))


def test_a_file_without_header_and_with_other_rows(
    rows_of: Callable[..., Rows], record_file: Callable[..., Path]
) -> None:
    """The mapping names the columns, which rows are flows, and what words mean; other words are no value."""
    mapping = MAPPING + (
        "  end_reason: {column: what, words: {timeout: idle, closed: tcp_end}}\n"
        "header: [time, lasted, client, server, service, proto, total, back, sent, what]\n"
        "keep: {what: [closed, timeout, reset]}\n"
    )
    (line,) = TEXT.splitlines()[1:]
    text = "".join(f"{line};{what}\n" for what in ("closed", "started", "timeout", "reset"))
    rows = rows_of(text, mapped(record_file, mapping))
    assert [row["end_reason"] for row in rows] == ["tcp_end", "idle", None]
    for broken in ("keep: [a]", "columns: {end_reason: {column: why, words: [a]}}"):
        with pytest.raises(ConfigError, match=r"COLUMN|THEIRS"):
            read_mapping(record_file("columns: {start: x}\n" * (broken[0] == "k") + broken, "mapping.yaml"))
