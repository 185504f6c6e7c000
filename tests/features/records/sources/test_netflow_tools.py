"""nfdump, Argus, UNSW-NB15, the NF-* sets and AWS VPC flow logs, a few rows each in their documented columns."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.records.extraction import extract_records
from features.records.sources.unsw import RAW_COLUMNS

Rows = list[dict[str, Any]]
NFDUMP = (
    "ts,te,td,sa,da,sp,dp,pr,flg,fwd,stos,ipkt,ibyt,opkt,obyt,in,out\n"
    "2013-07-09 01:15:33.005,2013-07-09 01:15:35.005,2.000,10.0.0.1,10.0.0.2,49161,443,TCP,...AP.SF,0,0,4,400,0,0,1,2\n"
)
SUMMARY = "Summary\nflows,bytes,packets,avg_bps,avg_pps,avg_bpp\n1,400,4,1,1,100\n"
NDJSON = (
    '{"type":"FLOW","t_first":"2021-03-22T19:19:45.148","t_last":"2021-03-22T19:19:46.148","proto":17,'
    '"src6_addr":"2001:db8::1","dst6_addr":"2001:db8::2","src_port":5000,"dst_port":53,"in_packets":3,"in_bytes":204}\n'
)
ARGUS = (
    "StartTime,Dur,Proto,SrcAddr,Sport,Dir,DstAddr,Dport,State,sTos,dTos,TotPkts,TotBytes,SrcBytes,SrcPkts,Label\n"
    "2018/12/18 14:00:00.527012,0.5,tcp,216.73.23.146,52798,   ->,147.32.81.58,445,S_RA,0,0,2,134,70,1,x\n"
    "2018/12/18 14:00:01.000000,0.0,arp,0.0.0.0,,  who,192.168.1.1,,INT,,,3,126,126,3,\n"
    "2018/12/18 14:00:02.000000,0.0,icmp,10.0.2.15,0x0303,   ->,8.8.8.8,0x0ecb,URP,0,,1,131,131,1,\n"
)
UNSW_CELLS = {
    "srcip": "59.166.0.0", "sport": "1390", "dstip": "149.171.126.6", "dsport": "53", "proto": "tcp", "state": "FIN",
    "dur": "0.5", "sbytes": "168", "dbytes": "128", "Spkts": "2", "Dpkts": "2", "Stime": "1421927414",
    "Ltime": "1421927415", "Sintpkt": "500", "Dintpkt": "0", "tcprtt": "0.3", "synack": "0.1", "ackdat": "0.2",
}  # fmt: skip
AWS_HEADER = (
    "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action "
    "log-status\n"
)
AWS = (
    "2 123456789010 eni-1 172.31.16.139 172.31.16.21 20641 22 6 20 4249 1418530010 1418530070 ACCEPT OK\n"
    "2 123456789010 eni-1 - - - - - - - 1431280876 1431280934 - NODATA\n"
)


def test_nfdump_csv_knows_one_direction(rows_of: Callable[[str], Rows]) -> None:
    """Backward counts of 0 are no value, the summary behind the rows is no flow."""
    (row,) = rows_of(NFDUMP + SUMMARY)
    assert (row["fwd_packets"], row["fwd_bytes"], row["bwd_packets"], row["duration_s"]) == (4, 400, None, 2)
    assert (row["tcp_fwd_reset"], row["tcp_established"], row["service_web"]) == (0, None, 1)


def test_nfdump_json_lines(rows_of: Callable[[str], Rows]) -> None:
    """IPv6 addresses stand under names of their own."""
    (row,) = rows_of(NDJSON)
    assert (row["src_ip"], row["dst_port"], row["fwd_bytes"], row["protocol"]) == ("2001:db8::1", 53, 204, 17)


def test_nfdump_csv_fast(rows_of: Callable[[str], Rows]) -> None:
    """`-o csv-fast` writes milliseconds and names of its own."""
    (row,) = rows_of(
        "cnt,af,firstSeen,lastSeen,proto,srcAddr,srcPort,dstAddr,dstPort,srcAS,dstAS,input,output,flags,srcTos,packets,"
        "bytes\n1,2,1600000000123,1600000001623,6,10.0.0.1,40000,10.0.0.9,443,0,0,0,0,...A.R..,0,5,280\n"
    )
    assert (row["start"].isoformat(), row["duration_s"]) == ("2020-09-13T12:26:40.123000+00:00", 1.5)
    assert (row["fwd_packets"], row["fwd_bytes"], row["tcp_fwd_reset"]) == (5, 280, 1)


def test_icmp_in_nfdumps_csv_since_1_7_2(rows_of: Callable[[str], Rows]) -> None:
    """Type and code stand in the destination port with a dot between them, before they were one number."""
    header = "firstSeen,lastSeen,duration,proto,srcAddr,srcPort,dstAddr,dstPort,inPackets,inBytes\n"
    cells = "2013-07-09 01:15:33.005,2013-07-09 01:15:35.005,2.000,{},10.0.0.1,0,10.0.0.2,{},4,400\n"
    written = [("ICMP", "3.13"), ("ICMP", "8.0"), ("ICMP", "781"), ("ICMP6", "128.0"), ("UDP", "53")]
    rows = rows_of(header + "".join(cells.format(*one) for one in written))
    assert [(row["icmp_type"], row["icmp_code"]) for row in rows] == [(3, 13), (8, 0), (3, 13), (128, 0), (None, None)]
    assert [row["dst_port"] for row in rows] == [None, None, None, None, 53]


@pytest.mark.parametrize("delimiter", [",", "\t", ";", "|", "^"])
def test_argus(rows_of: Callable[[str], Rows], delimiter: str) -> None:
    """Frames become IP bytes, the other side is the total less this one, ARP is no IP, ICMP's ports are hexadecimal."""
    refused, unreachable = rows_of(ARGUS.replace(",", delimiter))
    expected = {"fwd_packets": 1, "bwd_packets": 1, "fwd_bytes": 56, "bwd_bytes": 50, "tcp_refused": 1}
    assert {name: refused[name] for name in expected} == expected
    assert (refused["src_failed_share_60s"], unreachable["src_failed_share_60s"]) == (1, 1)
    assert (unreachable["icmp_type"], unreachable["icmp_code"], unreachable["src_port"]) == (3, 3, None)


def test_argus_without_packets_of_a_side(rows_of: Callable[[str], Rows]) -> None:
    """Bytes of frames cannot become IP bytes then, so they are null."""
    head, row = ARGUS.splitlines()[:2]
    (flow,) = rows_of(head.replace(",SrcPkts", "") + "\n" + row.replace(",70,1,x", ",70,x") + "\n")
    assert (flow["fwd_bytes"], flow["fwd_packets"], flow["duration_s"]) == (None, None, 0.5)


def test_bot_iot_has_argus_names_in_small_letters(rows_of: Callable[[str], Rows]) -> None:
    """Its category is the label, ARP is no IP."""
    header = "pkSeqID,stime,flgs,proto,saddr,sport,daddr,dport,pkts,bytes,state,ltime,dur,spkts,dpkts,sbytes,dbytes,"
    (row,) = rows_of(
        header + "attack,category,subcategory\n"
        "1,1526344032.48,e,arp,192.168.100.1,,192.168.100.3,,4,240,CON,1526344036.0,3.5,2,2,120,120,0,Normal,Normal\n"
        "2,1526344033.48,e,tcp,192.168.100.1,5000,192.168.100.3,80,9,650,CON,1526344036.0,3.5,5,4,350,300,1,DDoS,HTTP\n"
    )
    assert (row["fwd_packets"], row["bwd_packets"], row["source_label"]) == (5, 4, "DDoS")
    assert (row["fwd_bytes"], row["bwd_bytes"], row["duration_s"]) == (350 - 5 * 14, 300 - 4 * 14, 3.5)


def test_unsw_raw_has_no_header(rows_of: Callable[[str], Rows]) -> None:
    """49 columns with addresses in their places are UNSW-NB15's; its handshake times are ours."""
    (row,) = rows_of(",".join(UNSW_CELLS.get(name, "0") for name in RAW_COLUMNS.split()) + "\n")
    expected = {
        "fwd_bytes": 140, "bwd_bytes": 100, "duration_s": 0.5, "syn_ack_delay_s": 0.1, "handshake_ack_delay_s": 0.2,
        "tcp_established": 1, "fwd_gap_mean_s": 0.5, "service_name": 1,
    }  # fmt: skip
    assert {name: row[name] for name in expected} == pytest.approx(expected)
    assert row["start"].isoformat() == "2015-01-22T11:50:14+00:00"


def test_unsw_partition_has_no_ends(rows_of: Callable[[str], Rows]) -> None:
    """Addresses, times and context are null in the training and testing sets."""
    cells = {
        name.lower(): cell for name, cell in UNSW_CELLS.items() if name not in ("srcip", "dstip", "Stime", "Ltime")
    }
    cells |= {"ct_state_ttl": "0", "synack": "0", "ackdat": "0", "tcprtt": "0"}
    (row,) = rows_of(",".join(cells) + "\n" + ",".join(cells.values()) + "\n")
    assert (row["fwd_packets"], row["start"], row["src_ip"], row["src_flows_60s"]) == (2, None, None, None)
    assert (row["syn_ack_delay_s"], row["tcp_established"]) == (None, None)


def test_nf_sets_as_csv_and_parquet(rows_of: Callable[[str], Rows], tmp_path: Path) -> None:
    """Milliseconds become seconds, and Parquet says what CSV says."""
    cells = {
        "IPV4_SRC_ADDR": "192.168.1.1", "L4_SRC_PORT": 4000, "IPV4_DST_ADDR": "192.168.1.2", "L4_DST_PORT": 22,
        "PROTOCOL": 6, "IN_BYTES": 300, "IN_PKTS": 3, "OUT_BYTES": 100, "OUT_PKTS": 1, "TCP_FLAGS": 27,
        "FLOW_DURATION_MILLISECONDS": 1500, "TCP_WIN_MAX_IN": 1024, "Label": 1, "Attack": "Bot",
    }  # fmt: skip
    (row,) = rows_of(",".join(cells) + "\n" + ",".join(map(str, cells.values())) + "\n")
    assert (row["duration_s"], row["fwd_bytes"], row["fwd_window_max"]) == (1.5, 300, 1024)
    assert (row["tcp_established"], row["start"], row["service_login"]) == (None, None, 1)
    pq.write_table(pa.table({name: [cell] for name, cell in cells.items()}), tmp_path / "records")
    (batch,) = extract_records([tmp_path / "records"])
    assert batch.to_pylist() == [row]


@pytest.mark.parametrize(
    ("client", "server", "answers", "true"),
    [
        (27, 27, 4, {"established"}),  # SYN, PSH, ACK and FIN of both
        (2, 20, 1, {"refused", "bwd_reset"}),  # SYN, then RST-ACK
        (2, 0, 0, {"unanswered"}),
        (22, 18, 1, {"established", "fwd_reset"}),  # SYN and RST-ACK around a SYN-ACK
        (24, 24, 4, {"mid_flow"}),
        (0, 0, 4, None),  # not kept
    ],
)
def test_flags_of_each_side_in_version_2(
    rows_of: Callable[[str], Rows], client: int, server: int, answers: int, true: set[str] | None
) -> None:
    """The outcome follows from what each side ever set, also in copies of the sets without addresses."""
    header = "PROTOCOL,IN_BYTES,IN_PKTS,OUT_BYTES,OUT_PKTS,CLIENT_TCP_FLAGS,SERVER_TCP_FLAGS,FLOW_DURATION_MILLISECONDS"
    (row,) = rows_of(f"{header}\n6,300,5,200,{answers},{client},{server},1500\n")
    names = ("established", "unanswered", "refused", "mid_flow", "fwd_reset", "bwd_reset")
    expected = {name: None if true is None else float(name in true) for name in names}
    assert {name: row[f"tcp_{name}"] for name in names} == expected


def test_aws_in_an_order_of_ones_own(rows_of: Callable[[str], Rows]) -> None:
    """Fields of versions 3 to 5 in any order: addresses of the interface count, and resets of TCP."""
    header = "tcp-flags pkt-srcaddr srcaddr dstaddr srcport dstport protocol packets bytes end start log-status type\n"
    flags = (("2", "6"), ("6", "6"), ("4", "17"), ("-", "6"))
    text = "".join(
        f"{flag} 203.0.113.9 10.0.0.{at} 10.0.1.2 40000 443 {protocol} 5 300 1418530070 1418530010 OK IPv4\n"
        for at, (flag, protocol) in enumerate(flags, 1)
    )
    rows = rows_of(header + text)
    assert [row["src_ip"] for row in rows] == ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"]
    assert [row["tcp_fwd_reset"] for row in rows] == [0, 1, None, None]
    assert {(row["duration_s"], row["fwd_packets"]) for row in rows} == {(60, 5)}


def test_aws_as_parquet_and_as_cloudwatch_exports_it(rows_of: Callable[[str], Rows], tmp_path: Path) -> None:
    """Parquet has underscores and no values where there was no data; CloudWatch puts a time before each line."""
    names = [name.replace("-", "_") for name in AWS_HEADER.split()]
    cells = [[None if cell == "-" else cell for cell in line.split()] for line in AWS.splitlines()]
    whole = ("version", "srcport", "dstport", "protocol", "packets", "bytes", "start", "end")
    table = {
        name: [int(cell) if cell and name in whole else cell for cell in column]
        for name, column in zip(names, zip(*cells, strict=True), strict=True)
    }
    pq.write_table(pa.table(table), tmp_path / "log")
    extraction = extract_records([tmp_path / "log"])
    (row,) = (row for batch in extraction for row in batch.to_pylist())
    assert extraction.counts["rejected.not_a_flow"] == 1
    stamped = "".join(f"2014-12-14T04:08:00.000Z {line}\n" for line in AWS.splitlines())
    assert rows_of(stamped)[0] == row | {"capture": "records"}


@pytest.mark.parametrize("header", ["", AWS_HEADER])
def test_aws_with_and_without_header(rows_of: Callable[[str], Rows], header: str) -> None:
    """Windows without data hold no flow."""
    (row,) = rows_of(header + AWS)
    assert (row["fwd_packets"], row["fwd_bytes"], row["duration_s"], row["bwd_packets"]) == (20, 4249, 60, None)
    assert (row["src_ip"], row["dst_port"], row["service_login"]) == ("172.31.16.139", 22, 1)


@pytest.mark.parametrize("form", ["csv", "json"])
def test_what_nfdump_itself_wrote(form: str) -> None:
    """CSV and JSON of nfdump 1.7.1 hold the flows, bytes and packets that its own summary counts."""
    extraction = extract_records([Path(__file__).parent / f"nfdump-1.7.1.{form}.zst"])
    table = pa.Table.from_batches(list(extraction))
    assert table.num_rows == 1596
    assert pa.compute.sum(table.column("fwd_bytes")).as_py() == 11_272_496
    assert pa.compute.sum(table.column("fwd_packets")).as_py() == 17_720
    icmp = table.filter(pa.compute.equal(table.column("protocol"), 1))
    assert set(icmp.column("icmp_type").to_pylist()) == {0, 8}


def test_nfdumps_csv_without_header(rows_of: Callable[[str], Rows]) -> None:
    """`-q` leaves out the header: 48 cells with an address in the fourth place are nfdump's."""
    with pa.input_stream(str(Path(__file__).parent / "nfdump-1.7.1.csv.zst"), compression="zstd") as stream:
        lines = stream.read().decode().splitlines(keepends=True)
    rows = rows_of("".join(lines[1:31]))
    assert len(rows) == 30
    assert rows == rows_of("".join(lines[:31]))
