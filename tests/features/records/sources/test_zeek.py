"""Zeek conn.log as TSV, JSON lines and CSV."""

import json
from collections.abc import Callable
from typing import Any

import pytest

Rows = list[dict[str, Any]]
HEADER = (
    "#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n#path\tconn\n"
    "#fields\tts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tproto\tservice\tduration\torig_bytes\tresp_bytes"
    "\tconn_state\thistory\torig_pkts\torig_ip_bytes\tresp_pkts\tresp_ip_bytes\n"
    "#types\ttime\tstring\taddr\tport\taddr\tport\tenum\tstring\tinterval\tcount\tcount"
    "\tstring\tstring\tcount\tcount\tcount\tcount\n"
)
WEB = "1600000000.5\tC1\t10.0.0.1\t40000\t10.0.0.2\t443\ttcp\tssl\t2.0\t100\t500\tSF\tShADadFf\t6\t350\t5\t710\n"
SCAN = "1600000001\tC2\t10.0.0.1\t40001\t10.0.0.2\t81\ttcp\t-\t-\t-\t-\tS0\tS\t1\t60\t0\t0\n"
NAME = "1600000002\tC3\t10.0.0.1\t5000\t10.0.0.9\t53\tudp\tdns\t-\t-\t-\tS0\tD\t1\t62\t0\t0\n"
PING = "1600000003\tC4\tfe80::1\t128\tfe80::2\t129\ticmp\t-\t1.0\t64\t64\tOTH\t-\t1\t104\t1\t104\n"


def test_a_tcp_connection_in_all_its_columns(rows_of: Callable[[str], Rows]) -> None:
    """Times, sizes, shares, rates and the handshake of one connection, by arithmetic done by hand."""
    (row,) = rows_of(HEADER + WEB)
    expected = {
        "src_ip": "10.0.0.1", "src_port": 40000, "dst_ip": "10.0.0.2", "dst_port": 443, "protocol": 6,
        "duration_s": 2.0, "fwd_packets": 6, "bwd_packets": 5, "fwd_bytes": 350, "bwd_bytes": 710,
        "fwd_payload_bytes": 100, "bwd_payload_bytes": 500, "service_web": 1, "is_tcp": 1, "is_udp": 0,
        "packets_per_s": 5.5, "bytes_per_s": 530, "gap_mean_s": 0.2, "bwd_length_mean": 142,
        "tcp_established": 1, "tcp_unanswered": 0, "tcp_mid_flow": 0, "tcp_fwd_reset": 0, "src_flows_60s": 1,
    }  # fmt: skip
    assert {name: row[name] for name in expected} == pytest.approx(expected)
    assert row["start"].isoformat() == "2020-09-13T12:26:40.500000+00:00"
    assert row["end"].isoformat() == "2020-09-13T12:26:42.500000+00:00"
    for name in ("fwd_length_std", "fwd_window_first", "first_payload_01", "fwd_syn_packets", "end_reason"):
        assert row[name] is None, name


def test_the_community_id_is_computed(rows_of: Callable[[str], Rows]) -> None:
    """The example of the specification's README, from a log without that column."""
    (row,) = rows_of(
        HEADER + "1\tC\t128.232.110.120\t34855\t66.35.250.204\t80\ttcp\t-\t1\t0\t0\tSF\tShA\t1\t40\t1\t40\n"
    )
    assert row["community_id"] == "1:LQU9qZlK+B5F3KDmev6m5PMibrg="


def test_an_unset_duration_is_one_packet(rows_of: Callable[[str], Rows]) -> None:
    """Zeek leaves duration and bytes unset at no duration: payload follows from the history, or from UDP's headers."""
    scan, name = rows_of(HEADER + SCAN + NAME)
    assert (scan["duration_s"], scan["fwd_payload_bytes"], scan["bwd_payload_bytes"]) == (0, 0, 0)
    assert (scan["tcp_unanswered"], scan["tcp_established"], scan["packets_per_s"]) == (1, 0, None)
    assert (name["fwd_payload_bytes"], name["bwd_payload_bytes"], name["tcp_unanswered"]) == (62 - 28, 0, None)
    assert scan["src_failed_share_60s"] == 1


def test_a_syn_with_room_for_payload_tells_no_payload(rows_of: Callable[[str], Rows]) -> None:
    """Without a letter for data a packet of 80 bytes may be all headers; one of 81 says nothing of its payload."""
    syn = "1\tC{size}\t192.0.2.1\t40000\t192.0.2.2\t80\ttcp\t-\t-\t-\t-\tS0\tS\t1\t{size}\t0\t0\n"
    rows = rows_of(HEADER + "".join(syn.format(size=size) for size in (40, 80, 81, 1000)))
    assert [row["fwd_payload_bytes"] for row in rows] == [0, 0, None, None]


def test_icmp_types_stand_in_the_ports(rows_of: Callable[[str], Rows]) -> None:
    """An ICMP record over IPv6 is protocol 58, with type and code, without ports."""
    (row,) = rows_of(HEADER + PING)
    found = {name: row[name] for name in ("protocol", "icmp_type", "icmp_code", "src_port", "is_icmp", "is_icmp_echo")}
    assert found == {
        "protocol": 58, "icmp_type": 128, "icmp_code": 0, "src_port": None, "is_icmp": 1, "is_icmp_echo": 1
    }  # fmt: skip


@pytest.mark.parametrize(
    ("state", "history", "outcome"),
    [
        ("REJ", "Sr", "tcp_refused"),
        ("S0", "-", "tcp_unanswered"),
        ("SF", "-", "tcp_established"),
        ("RSTO", "ShADadR", "tcp_established"),
        ("SH", "ShR", "tcp_half_open"),
        ("OTH", "Cc", "tcp_mid_flow"),
    ],
)
def test_each_history_has_one_outcome(rows_of: Callable[[str], Rows], state: str, history: str, outcome: str) -> None:
    """Of the five ways a handshake can end exactly the right one is set, with a history or with the state alone."""
    replies = 0 if outcome == "tcp_unanswered" else 1
    (row,) = rows_of(
        HEADER + f"1600000000\tC\t1.1.1.1\t1\t2.2.2.2\t2\ttcp\t-\t1\t0\t0\t{state}\t{history}\t1\t40\t{replies}\t40\n"
    )
    names = ("tcp_unanswered", "tcp_refused", "tcp_half_open", "tcp_established", "tcp_mid_flow")
    assert [name for name in names if row[name] == 1] == [outcome]


def test_json_lines_and_csv_say_the_same_as_tsv(rows_of: Callable[[str], Rows]) -> None:
    """One connection in three forms gives one row; what JSON leaves out is null."""
    names = HEADER.splitlines()[5].split("\t")[1:]
    cells = dict(zip(names, WEB.strip().split("\t"), strict=True))
    texts = ("uid", "id.orig_h", "id.resp_h", "proto", "service", "conn_state", "history")
    record = {name: cell if name in texts else float(cell) for name, cell in cells.items()}
    tsv, js = rows_of(HEADER + WEB), rows_of(json.dumps(record) + "\n")
    csv = rows_of(",".join(names) + "\n" + WEB.replace("\t", ","))
    assert js == tsv
    assert csv == tsv


def test_a_log_cut_by_rotation_reads_on(rows_of: Callable[[str], Rows]) -> None:
    """A closing line and the same header again, as in joined logs, are no rows."""
    assert len(rows_of(HEADER + WEB + "#close\t2020-09-13-12-26-42\n" + HEADER + SCAN)) == 2


def test_a_stream_of_all_logs_gives_its_connections(rows_of: Callable[[str], Rows]) -> None:
    """Where `_path` says of which log a row is, rows of others are no flows, whatever columns they share."""
    ends = {"ts": "2020-09-13T12:26:40.5Z", "uid": "C1", "id.orig_h": "10.0.0.1", "id.orig_p": 40000}
    ends |= {"id.resp_h": "10.0.0.2", "id.resp_p": 53, "proto": "udp"}
    conn = {"_path": "conn", "_write_ts": "2020-09-13T12:27:00Z", **ends, "conn_state": "SF", "orig_pkts": 1}
    (row,) = rows_of(json.dumps({"_path": "dns", **ends, "trans_id": 5}) + "\n" + json.dumps(conn) + "\n")
    assert (row["fwd_packets"], row["start"].isoformat()) == (1, "2020-09-13T12:26:40.500000+00:00")


def test_times_in_milliseconds(rows_of: Callable[[str], Rows]) -> None:
    """Zeek's JSON may write its times as milliseconds (LogAscii::json_timestamps)."""
    conn = {"ts": 1600000000500, "id.orig_h": "10.0.0.1", "id.resp_h": "10.0.0.2", "proto": "udp", "conn_state": "SF"}
    (row,) = rows_of(json.dumps(conn) + "\n")
    assert row["start"].isoformat() == "2020-09-13T12:26:40.500000+00:00"


def test_sets_with_names_of_their_own(rows_of: Callable[[str], Rows]) -> None:
    """TON_IoT's network set and UWF-ZeekData are conn.log with other names, and labels."""
    ton = (
        "ts,src_ip,src_port,dst_ip,dst_port,proto,service,duration,src_bytes,dst_bytes,conn_state,missed_bytes,"
        "src_pkts,src_ip_bytes,dst_pkts,dst_ip_bytes,label,type\n"
        "1554198358,3.122.49.24,1883,192.168.1.152,52976,tcp,-,2.5,100,20,SF,0,5,360,2,136,1,xss\n"
    )
    uwf = (
        "conn_state,duration,history,src_ip_zeek,src_port_zeek,dest_ip_zeek,dest_port_zeek,orig_bytes,orig_ip_bytes,"
        "orig_pkts,proto,resp_bytes,resp_ip_bytes,resp_pkts,ts,uid,label_tactic\n"
        "SF,2.5,ShADadFf,3.122.49.24,1883,192.168.1.152,52976,100,360,5,tcp,20,136,2,1554198358,C1,Discovery\n"
    )
    names = ("src_ip", "dst_port", "duration_s", "fwd_payload_bytes", "bwd_bytes", "tcp_established")
    for text, label in ((ton, "xss"), (uwf, "Discovery")):
        (row,) = rows_of(text)
        assert [row[name] for name in names] == ["3.122.49.24", 52976, 2.5, 100, 136, 1]
        assert row["source_label"] == label
