"""Export streams: real ones of softflowd beside scapy's reading of them, and messages made by hand for what those lack.

The four captures hold what softflowd 1.1.0 exported (`-v 5`, `9`, `10`, `10 -b`) of the first 9,131 packets of the
project's capture demo-score: 400 flows, 794 directions of them by softflowd's own count.
"""

import contextlib
import struct
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scapy.all import IP, UDP, Ether, Raw, rdpcap, wrpcap
from scapy.layers.netflow import NetflowRecordV5

from features.content import Kind, kind_of
from features.errors import RecordError
from features.records.extraction import RecordExtraction, extract_records
from features.records.settings import RecordSettings

HERE = Path(__file__).parent
NAMES = ("src_ip", "dst_ip", "protocol", "fwd_packets", "fwd_bytes")
EXPORTED_AT = 1_700_000_000
UPTIME_MS = 5_000
Row = dict[str, Any]


def extracted(path: Path, share: float = 1.0) -> tuple[list[Row], RecordExtraction]:
    extraction = extract_records([path], RecordSettings(max_reject_share=share))
    rows = [row for batch in extraction for row in batch.to_pylist()]
    rejected = sum(count for name, count in extraction.counts.items() if name.startswith("rejected."))
    assert extraction.counts["rows_read"] == len(rows) + rejected
    return rows, extraction


@pytest.fixture
def capture_of(tmp_path: Path) -> Callable[..., Path]:
    """Write UDP datagrams with these payloads into a capture."""

    def write(*payloads: bytes, port: int = 2055) -> Path:
        link = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
        network = link / IP(src="192.0.2.1", dst="192.0.2.2") / UDP(sport=4000, dport=port)
        wrpcap(str(tmp_path / "stream"), [network / Raw(payload) for payload in payloads])
        return tmp_path / "stream"

    return write


def decoded_by_scapy(path: Path, tmp_path: Path) -> Counter[tuple[object, ...]]:
    with pa.input_stream(str(path), compression="zstd") as stream:
        (tmp_path / "plain").write_bytes(stream.read())
    packets = rdpcap(str(tmp_path / "plain"))
    return Counter((r.src, r.dst, r.prot, r.dpkts, r.dOctets) for p in packets for r in layers(p, NetflowRecordV5))


def layers(packet: Any, kind: Any) -> Any:
    number = 1
    while (layer := packet.getlayer(kind, number)) is not None:
        yield layer
        number += 1


def version_9(*sets: bytes, sequence: int = 0, source: int = 7) -> bytes:
    return struct.pack("!HHIIII", 9, len(sets), UPTIME_MS, EXPORTED_AT, sequence, source) + b"".join(sets)


def ipfix(*sets: bytes, sequence: int = 0) -> bytes:
    body = b"".join(sets)
    return struct.pack("!HHIII", 10, 16 + len(body), EXPORTED_AT, sequence, 7) + body


def a_set(number: int, body: bytes) -> bytes:
    return struct.pack("!HH", number, 4 + len(body)) + body


def template(*fields: tuple[int, ...], number: int = 300) -> bytes:
    """A field is (number, length), or (number, length, enterprise)."""
    parts = [
        struct.pack("!HH", f[0], f[1]) if len(f) == 2 else struct.pack("!HHI", f[0] | 0x8000, f[1], f[2])
        for f in fields
    ]
    return struct.pack("!HH", number, len(fields)) + b"".join(parts)


KEY = ((8, 4), (12, 4), (4, 1), (7, 2), (11, 2), (2, 4), (1, 4), (22, 4), (21, 4))


def key_record(packets: int = 3, first: int = 3_000, last: int = 4_000, protocol: int = 6, port: int = 80) -> bytes:
    addresses = bytes([10, 0, 0, 1, 10, 0, 0, 2])
    return addresses + struct.pack("!BHHIIII", protocol, 40_000, port, packets, packets * 100, first, last)


@pytest.mark.parametrize("version", ["5", "9", "10"])
def test_a_real_stream_reads_as_scapy_reads_it(version: str, tmp_path: Path) -> None:
    """Addresses, protocols, packets and bytes of all 794 records are what scapy decodes of version 5's stream."""
    path = HERE / f"softflowd-{version}.pcap.zst"
    rows, extraction = extracted(path, 0.0)
    assert len(rows) == 794
    assert not [name for name in extraction.counts if name.startswith(("rejected.", "export.sequence"))]
    expected = decoded_by_scapy(HERE / "softflowd-5.pcap.zst", tmp_path)
    assert Counter(tuple(row[name] for name in NAMES) for row in rows) == expected
    assert {row["start"].year for row in rows} == {2026}
    assert all(row["bwd_packets"] is None for row in rows)


def test_both_directions_in_one_record() -> None:
    """A stream with reverse elements gives 400 flows whose directions are the records of the stream without."""
    both, _ = extracted(HERE / "softflowd-10-both.pcap.zst", 0.0)
    single, _ = extracted(HERE / "softflowd-10.pcap.zst", 0.0)
    sides = [row[f"{side}_packets"] for row in both for side in ("fwd", "bwd")]
    assert len(both) == 400
    assert sorted(filter(None, sides)) == sorted(row["fwd_packets"] for row in single)
    assert any(row["tcp_established"] == 1 for row in both)


def test_an_export_stream_is_no_capture_of_traffic(capture_of: Callable[..., Path]) -> None:
    """The kind is told by what the datagrams hold, whatever their port; other datagrams are traffic."""
    stream = version_9(a_set(0, template(*KEY)), a_set(300, key_record()))
    assert kind_of(capture_of(stream, port=12_345)) is Kind.RECORDS
    other = capture_of(b"\0\x09 something else that begins like it", b"\0\x05")
    assert kind_of(other) is Kind.CAPTURE
    with pytest.raises(RecordError, match="not of NetFlow"):
        list(extract_records([other]))


def test_uptimes_become_times(capture_of: Callable[..., Path]) -> None:
    """Version 9's times count from the exporter's start, and wrap: 2 s before export is 2 s before, in either case."""
    wrapped = key_record(first=2**32 - 1_000, last=1_000)
    rows, _ = extracted(capture_of(version_9(a_set(0, template(*KEY)), a_set(300, key_record() + wrapped))))
    starts = sorted(row["start"].timestamp() - EXPORTED_AT for row in rows)
    assert starts == [-6.0, -2.0]
    assert [row["duration_s"] for row in rows] == [2.0, 1.0]


def test_records_wait_for_their_template(capture_of: Callable[..., Path]) -> None:
    """A set before its template is read once that comes; templates of one source serve no other, nor sets of no fit."""
    late = version_9(a_set(300, key_record()), sequence=0)
    misfit = version_9(a_set(300, key_record() + bytes(5)), sequence=1)
    announced = version_9(a_set(0, template(*KEY)), a_set(300, key_record()), sequence=2)
    stranger = version_9(a_set(300, key_record()), source=8)
    rows, extraction = extracted(capture_of(late, misfit, announced, stranger), 0.05)
    assert len(rows) == 2
    assert extraction.counts["export.waited_sets"] == 1
    assert extraction.counts["rejected.no_template"] == 2


def test_a_withdrawn_template_is_gone(capture_of: Callable[..., Path]) -> None:
    """A template without fields ends one (RFC 7011, 8.1); those behind it in its set are read."""
    announced = version_9(a_set(0, template(*KEY)), a_set(300, key_record(1)))
    ended = a_set(0, struct.pack("!HH", 300, 0) + template(*KEY, number=301))
    rows, extraction = extracted(
        capture_of(announced, version_9(ended, a_set(301, key_record(2)), a_set(300, key_record(3))))
    )
    assert sorted(row["fwd_packets"] for row in rows) == [1, 2]
    assert extraction.counts["rejected.no_template"] == 1


def test_missing_messages_are_counted(capture_of: Callable[..., Path]) -> None:
    """Version 9 counts messages: from 1 to 4 there is one gap."""
    first = version_9(a_set(0, template(*KEY)), a_set(300, key_record()), sequence=1)
    _, extraction = extracted(capture_of(first, version_9(a_set(300, key_record()), sequence=4)))
    assert extraction.counts["export.sequence_gaps"] == 1


def test_fields_of_variable_length_and_of_enterprises(capture_of: Callable[..., Path]) -> None:
    """A name of variable length and a field of an unknown enterprise are passed over; numbers may be shortened."""
    fields = (
        (8, 4),
        (371, 65_535),
        (12, 4),
        (99, 2, 12_345),
        (4, 1),
        (2, 3),
        (1, 5),
        (152, 8),
        (153, 8),
        (2, 8, 29_305),
    )
    times = struct.pack("!QQ", EXPORTED_AT * 1000, EXPORTED_AT * 1000 + 250)
    records = b"".join(
        bytes([10, 0, 0, 1])
        + name
        + bytes([10, 0, 0, 2, 9, 9, 17, 0, 1, 2, 0, 0, 0, 3, 4])
        + times
        + bytes([0] * 7 + [5])
        for name in (b"\x03eth", b"\xff\x01\x00" + b"x" * 256)
    )
    rows, _ = extracted(capture_of(ipfix(a_set(2, template(*fields)), a_set(300, records)), port=4739))
    assert [(row["fwd_packets"], row["fwd_bytes"], row["bwd_packets"]) for row in rows] == [(258, 772, 5)] * 2
    assert [row["duration_s"] for row in rows] == [0.25] * 2


def test_options_are_passed_over(capture_of: Callable[..., Path]) -> None:
    """Options templates and their records are no flows, but say when an IPFIX exporter started."""
    options = a_set(3, struct.pack("!HHHHHHH", 400, 2, 1, 149, 4, 160, 8))
    started = a_set(400, struct.pack("!IQ", 7, (EXPORTED_AT - 5) * 1000))
    message = ipfix(options, started, a_set(2, template(*KEY)), a_set(300, key_record()))
    (row,), extraction = extracted(capture_of(message))
    assert row["start"].timestamp() == EXPORTED_AT - 2
    assert extraction.counts["export.options_records"] == 1


def test_an_exporter_that_tells_no_start(capture_of: Callable[..., Path]) -> None:
    """Its start is the latest that the ends of its records allow: the last flow of all ended when it was exported."""
    records = (key_record(1, 3_000, 4_000), key_record(2, 8_000, 9_000))
    first = ipfix(a_set(2, template(*KEY)), a_set(300, records[0]))
    rows, extraction = extracted(capture_of(first, ipfix(a_set(300, records[1]), sequence=1), port=4739))
    ends = {row["fwd_packets"]: row["end"].timestamp() - EXPORTED_AT for row in rows}
    assert ends == {1: -5.0, 2: 0.0}
    assert [row["duration_s"] for row in rows] == [1.0, 1.0]
    assert extraction.counts["export.guessed_starts"] == 2


def test_sampling_counts_where_it_is_stated(capture_of: Callable[..., Path]) -> None:
    """A record that states 1 in 10 stands for ten times its packets and bytes."""
    stream = version_9(a_set(0, template(*KEY, (34, 4))), a_set(300, key_record(3) + struct.pack("!I", 10)))
    (row,), _ = extracted(capture_of(stream))
    assert (row["fwd_packets"], row["fwd_bytes"]) == (30, 3000)


SAMPLER_9 = a_set(1, struct.pack("!HHH8H", 400, 4, 12, 1, 4, 48, 1, 49, 1, 50, 4))
"""Version 9: for the system (a scope whose number is that of octetDeltaCount) a sampler, its mode and 1 in how many."""
SAMPLER_10 = a_set(3, struct.pack("!HHH6H", 400, 3, 1, 302, 8, 305, 4, 306, 4))
"""IPFIX: for a selector how many packets are taken and how many are passed over."""


def test_samplers_that_options_tell_of(capture_of: Callable[..., Path]) -> None:
    """Records are multiplied by the sampler that they name; sampler 0 is none, one that nobody told of is counted."""
    told = a_set(400, struct.pack("!IBBI", 9, 1, 2, 100) + struct.pack("!IBBI", 9, 2, 2, 1000))
    records = b"".join(key_record(3) + bytes([sampler]) for sampler in (1, 2, 0, 5))
    stream = version_9(SAMPLER_9, told, a_set(0, template(*KEY, (48, 1))), a_set(300, records))
    rows, extraction = extracted(capture_of(stream))
    assert [row["fwd_packets"] for row in rows] == [300, 3000, 3, 3]
    assert [row["fwd_bytes"] for row in rows] == [30_000, 300_000, 300, 300]
    assert extraction.counts["export.sampler_unknown"] == 1


def test_selectors_of_ipfix_hold_for_their_domain(capture_of: Callable[..., Path]) -> None:
    """One packet taken and 63 passed over is 1 in 64; a record's own word goes before its selector's."""
    times = struct.pack("!QQ", EXPORTED_AT * 1000, EXPORTED_AT * 1000 + 250)
    fields = (*KEY[:-2], (152, 8), (153, 8), (302, 8), (34, 4))
    told = a_set(400, struct.pack("!QII", 7, 1, 63))
    records = b"".join(key_record(2)[:-8] + times + struct.pack("!QI", 7, own) for own in (0, 10))
    rows, _ = extracted(
        capture_of(ipfix(SAMPLER_10, told, a_set(2, template(*fields)), a_set(300, records)), port=4739)
    )
    assert [row["fwd_packets"] for row in rows] == [128, 20]


def test_one_sampling_of_an_exporter_holds_for_all_its_records(capture_of: Callable[..., Path]) -> None:
    """Options that state an interval and name no sampler, as Juniper's do, count for records that name none."""
    told = (a_set(1, struct.pack("!HHH4H", 400, 4, 4, 1, 4, 34, 4)), a_set(400, struct.pack("!II", 9, 50)))
    (row,), _ = extracted(capture_of(version_9(*told, a_set(0, template(*KEY)), a_set(300, key_record(3)))))
    assert (row["fwd_packets"], row["fwd_bytes"]) == (150, 15_000)


def test_icmp_types_come_from_the_port(capture_of: Callable[..., Path]) -> None:
    """Exporters write type and code into the destination port: 0x0303 is port unreachable."""
    stream = version_9(a_set(0, template(*KEY)), a_set(300, key_record(protocol=1, port=0x0303)))
    (row,), _ = extracted(capture_of(stream))
    assert (row["icmp_type"], row["icmp_code"], row["dst_port"]) == (3, 3, None)


@pytest.mark.parametrize("keep", [1, 2, 19, 21, 23, 24, 40, 63, 65, 100, 150])
def test_cut_messages_are_named(capture_of: Callable[..., Path], keep: int) -> None:
    """A datagram to a collector that ends inside a header or a set is one reject, and the others are read."""
    whole = version_9(a_set(0, template(*KEY)), a_set(300, key_record() * 3))
    rows, extraction = extracted(capture_of(whole, whole[:keep], whole))
    assert len(rows) == 6
    assert extraction.counts["rejected.bad_export"] == 1


@pytest.mark.parametrize("seed", range(40))
def test_no_message_can_hurt(capture_of: Callable[..., Path], seed: int) -> None:
    """Whatever bytes are changed in messages, every record is a row or a named reject, or the file is refused."""
    chance = np.random.default_rng(seed)
    fields = (*KEY, (371, 65_535), (6, 1))
    records = (key_record() + b"\x02et" + b"\x12") * 4
    messages = [
        version_9(a_set(0, template(*KEY)), a_set(300, key_record() * 5)),
        ipfix(a_set(2, template(*fields)), a_set(300, records)),
        ipfix(a_set(3, struct.pack("!HHHHHHH", 400, 2, 1, 149, 4, 160, 8)), a_set(400, bytes(12))),
    ]
    changed = []
    for number in chance.integers(len(messages), size=30):
        message = bytearray(messages[number])
        for at in chance.integers(len(message), size=chance.choice([0, 1, 4])):
            message[at] = chance.choice([0, 1, 0x7F, 0xFF, chance.integers(256)])
        changed.append(bytes(message))
    with contextlib.suppress(RecordError):
        extracted(capture_of(*messages, *changed))
