"""Zeek's other logs joined to its connections by uid: rows as Zeek writes them, and the columns they fill."""

import gzip
import json
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pytest

from features.errors import RecordError
from features.payload.flow_facts import UDP, flow_facts
from features.records.extraction import extract_records
from features.records.joined import joined_log
from features.records.settings import RecordSettings

CONN = (
    *("ts", "uid", "id.orig_h", "id.orig_p", "id.resp_h", "id.resp_p", "proto", "duration"),
    *("orig_bytes", "resp_bytes", "conn_state", "history", "orig_pkts", "orig_ip_bytes", "resp_pkts", "resp_ip_bytes"),
)
ENDS = ("ts", "uid", "id.orig_h", "id.orig_p", "id.resp_h", "id.resp_p")
FIELDS = {
    "dns": (*ENDS, "proto", "trans_id", "rtt", "query", "qclass", "qtype", "qtype_name", "rcode", "rcode_name"),
    "ssl": (*ENDS, "version", "cipher", "curve", "server_name", "resumed", "next_protocol"),
    "http": (*ENDS, "trans_depth", "method", "host", "uri", "user_agent", "status_code", "status_msg"),
    "ssh": (*ENDS, "version", "auth_success", "auth_attempts", "client", "server"),
    "quic": (*ENDS, "version", "client_initial_dcid", "client_scid", "server_scid", "server_name"),
}


def log(path: str, fields: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a log in Zeek's own form."""
    header = ["#separator \\x09", "#set_separator\t,", "#empty_field\t(empty)", "#unset_field\t-", f"#path\t{path}"]
    lines = [*header, "#fields\t" + "\t".join(fields), *("\t".join(row) for row in rows)]
    return "".join(f"{line}\n" for line in lines)


def ends(uid: str) -> list[str]:
    return ["1354328870.1", uid, "192.0.2.1", "40000", "198.51.100.2", "443"]


def conn(*uids: str) -> str:
    volumes = ("tcp", "1.5", "40", "60", "SF", "ShADadFf", "4", "248", "4", "268")
    return log("conn", CONN, [[*ends(uid), *volumes] for uid in uids])


def other(name: str, *rows: Sequence[str]) -> str:
    """Return a log of connections whose rows are given from behind their ends, the uid first."""
    return log(name, FIELDS[name], [[*ends(row[0]), *row[1:]] for row in rows])


DNS = ("udp", "48554", "0.1", "www.Gleeble.org", "1")
LOGS = {
    "dns": other("dns", ("C1", *DNS, "255", "*", "3", "NXDOMAIN"), ("C1", *DNS, "1", "A", "0", "NOERROR")),
    "ssl": other(
        "ssl", ("C2", "TLSv10", "TLS_RSA", "-", "SSL.gstatic.com", "F", "h2"), ("C3", *["TLSv13", "TLS_AES"], *"--F-")
    ),
    "http": other("http", ("C4", "1", "GET", "Example.org:8080", "/a?b=1", "-", "405", "Method Not Allowed")),
    "ssh": other("ssh", ("C5", "2", "T", "1", "SSH-2.0-OpenSSH_6.6", "SSH-1.99-OpenSSH_6.6.1p1 Ubuntu-2ubuntu2")),
    "quic": other("quic", ("C6", "quicv2", "ab", "cd", "ef", "example.org"), ("C9", "1", "ab", "cd", "ef", "-")),
}
EXPECTED = {
    "C1": {
        "dns_query": "www.gleeble.org", "dns_query_type": "ANY", "dns_response_code": "NXDOMAIN", "dns_failed": 1,
        "dns_query_length": 15, "dns_label_count": 3, "dns_longest_label": 7,
    },
    "C2": {"tls_version": "TLS 1.0", "tls_server_name": "ssl.gstatic.com", "tls_names_server": 1, "tls_alpn": None},
    "C3": {"tls_version": "TLS 1.3", "tls_server_name": None, "tls_names_server": 0},
    "C4": {
        "http_method": "GET", "http_host": "example.org", "http_uri_length": 6, "http_status": 405, "http_failed": 1,
    },
    "C5": {"ssh_client_software": "OpenSSH_6.6", "ssh_server_software": "OpenSSH_6.6.1p1 Ubuntu-2ubuntu2"},
    "C6": {"quic_version": "2", "dns_query": None},
}  # fmt: skip


def as_json(text: str) -> str:
    """Return a log of Zeek's own form as its JSON lines, in which unset fields are left out."""
    lines = text.splitlines()
    fields = next(line.split("\t")[1:] for line in lines if line.startswith("#fields"))
    numbers = ("ts", "qtype", "rcode", "status_code", "trans_depth", "orig_pkts", "resp_pkts", "duration", "id.orig_p")
    entries = [zip(fields, line.split("\t"), strict=True) for line in lines if line[0] != "#"]
    told = ({name: float(cell) if name in numbers else cell for name, cell in one if cell != "-"} for one in entries)
    return "".join(json.dumps(one) + "\n" for one in told)


@pytest.mark.parametrize("form", ["tsv", "json", "gzip"])
def test_each_log_fills_its_columns(tmp_path: Path, form: str) -> None:
    """The first row of each connection, in Zeek's forms; every other row is counted by what became of it."""
    paths = {}
    for name, text in {"conn": conn("C1", "C2", "C3", "C4", "C5", "C6", "C7"), **LOGS}.items():
        content = (as_json(text) if form == "json" else text).encode()
        paths[name] = tmp_path / f"{name}.log"
        paths[name].write_bytes(gzip.compress(content) if form == "gzip" else content)
    told = {name: found.name for name, path in paths.items() if (found := joined_log(path))}
    assert told == {name: name for name in LOGS}
    extraction = extract_records([paths["conn"]], joined=[paths[name] for name in LOGS])
    rows = {row["uid"]: row for batch in extraction for row in batch.to_pylist()}
    for uid, expected in EXPECTED.items():
        assert {name: rows[uid][name] for name in expected} == expected, uid
    assert not any(rows["C7"][name] is not None for expected in EXPECTED.values() for name in expected)
    joined = {name: count for name, count in extraction.counts.items() if name.startswith("joined")}
    assert joined == {
        "joined.dns": 1, "joined.dns.later": 1, "joined.http": 1, "joined.quic": 1, "joined.quic.without_flow": 1,
        "joined.ssh": 1, "joined.ssl": 2,
    }  # fmt: skip
    assert extraction.columns_given() >= {"dns_query_entropy", "tls_names_server", "http_failed"}


def test_a_name_is_measured_as_in_a_capture(tmp_path: Path) -> None:
    """Query, type and measures of a log's row are those of the message on the wire."""
    labels = (b"a\xff-b", b"Example", b"org")
    message = bytes.fromhex("000001000001000000000000") + b"".join(bytes([len(one)]) + one for one in labels)
    from_wire = flow_facts(UDP, (50_000, 53), message + b"\0\0\x41\0\x01", b"")
    (tmp_path / "conn.log").write_text(conn("C1"))
    row = ("C1", "udp", "1", "-", "a\\xff-b.example.org", "1", "65", "HTTPS", "-", "-")
    (tmp_path / "dns.log").write_text(other("dns", row))
    (found,) = pa.Table.from_batches(
        extract_records([tmp_path / "conn.log"], joined=[tmp_path / "dns.log"])
    ).to_pylist()
    entropy = from_wire.pop("dns_query_entropy")
    assert {name: found[name] for name in from_wire} == from_wire
    assert found["dns_query_entropy"] == pytest.approx(entropy, rel=1e-6)


def test_what_is_not_held_is_counted(tmp_path: Path) -> None:
    """Beyond the limit rows are counted, not joined; malformed rows and those of no connection too."""
    (tmp_path / "conn.log").write_text(conn("C1", "C2"))
    rows = [(uid, *DNS, "1", "A", "0", "NOERROR") for uid in ("C1", "C8", "C2", "-")]
    (tmp_path / "dns.log").write_text(other("dns", *rows) + "cut\toff\n")
    settings = RecordSettings(joined_rows=2, max_reject_share=0.5)
    extraction = extract_records([tmp_path / "conn.log"], settings, joined=[tmp_path / "dns.log"])
    assert [row["dns_query"] for batch in extraction for row in batch.to_pylist()] == ["www.gleeble.org", None]
    joined = {name: count for name, count in extraction.counts.items() if name.startswith("joined")}
    assert joined == {
        "joined.dns": 1, "joined.dns.without_flow": 2, "joined.dns.not_held": 1, "joined.dns.number_of_cells": 1,
    }  # fmt: skip


def test_numbers_that_are_none_say_nothing(tmp_path: Path) -> None:
    """Types, codes and statuses out of range, broken or not whole leave their columns null."""
    (tmp_path / "conn.log").write_text(conn("C1", "C4"))
    (tmp_path / "dns.log").write_text(other("dns", ("C1", *DNS, "1e9", "A", "x", "NOERROR")))
    (tmp_path / "http.log").write_text(other("http", ("C4", "1", "GET", "-", "/", "-", "200.5", "OK")))
    found = pa.Table.from_batches(
        extract_records([tmp_path / "conn.log"], joined=[tmp_path / "dns.log", tmp_path / "http.log"])
    )
    for name in ("dns_query_type", "dns_response_code", "dns_failed", "http_status", "http_failed"):
        assert found.column(name).null_count == 2, name
    assert found.column("http_uri_length").to_pylist() == [None, 1]


def test_a_damaged_log_is_an_error(tmp_path: Path) -> None:
    """A log that is cut in the middle of its compression is refused by name, not joined in part."""
    (tmp_path / "conn.log").write_text(conn("C1"))
    whole = gzip.compress(other("dns", *[(f"C{n}", *DNS, "1", "A", "0", "NOERROR") for n in range(30_000)]).encode())
    (tmp_path / "dns.log.gz").write_bytes(whole[:-200])
    assert joined_log(tmp_path / "dns.log.gz") is not None
    with pytest.raises(RecordError, match=r"dns\.log\.gz"):
        list(extract_records([tmp_path / "conn.log"], joined=[tmp_path / "dns.log.gz"]))
