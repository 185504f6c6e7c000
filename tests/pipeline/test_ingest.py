"""Captures to feature tables."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from features.errors import CaptureError, InputError, ModelMismatch, RecordError
from features.schema import COLUMNS, FEATURE_NAMES, arrow_schema
from features.table import columns_given, columns_present, open_table
from pipeline.ingest import ingest, silence_explained
from pipeline.register import champion
from pipeline.settings import IngestSection, MeterSection, RecordsSection, Settings
from pipeline.traffic import look_at
from tests.pipeline.conftest import World
from tests.pipeline.small_captures import ARP_REQUEST, HEADER, records, write_capture
from tests.pipeline.zeek_logs import ENDS, zeek_log


def test_packets_are_conserved(world: World) -> None:
    """Every packet of the file is in a flow or skipped by name, and every flow is a row."""
    for name, result in world.flows.items():
        counts = result.counts
        packets = sum(1 for _ in records((world.captures / f"{name}.pcap").read_bytes()))
        skipped = sum(value for key, value in counts.items() if key.startswith("skipped."))
        assert counts["packets_read"] == packets == counts["packets_metered"] + skipped
        assert counts["flows"] == result.rows == pq.read_metadata(result.path).num_rows


def test_a_table_of_this_schema(world: World) -> None:
    """The artifact is a feature table of this version, named after its capture."""
    result = world.flows["demo-score"]
    assert result.path == world.settings.state.root / "features" / "demo-score.parquet"
    with open_table(result.path) as table:
        assert table.schema_arrow.equals(arrow_schema())


def test_second_time_it_is_used_again(world: World) -> None:
    """The same capture and settings give the finished table, other timeouts a new one."""
    capture = world.captures / "demo-score.pcap"
    assert ingest(capture, world.settings) == replace(world.flows["demo-score"], reused=True)


def test_other_settings_make_another_table(small: Path, settings: Settings) -> None:
    """A shorter timeout cuts flows, so the table is made anew and has more rows."""
    capture = small / "demo-score.pcap"
    first = ingest(capture, settings)
    shorter = settings.model_copy(update={"meter": MeterSection(idle_timeout_s=1.0)})
    second = ingest(capture, shorter)
    assert not second.reused
    assert second.rows > first.rows


def test_without_context_all_else_is_the_same(small: Path, world: World, settings: Settings) -> None:
    """The columns of neighbours are null and named nowhere, the others those of a table with them."""
    alone = settings.model_copy(update={"ingest": IngestSection(context=False)})
    result = ingest(small / "demo-score.pcap", alone)
    context = [column.name for column in COLUMNS if column.group == "context"]
    found, whole = pq.read_table(result.path), pq.read_table(world.flows["demo-score"].path)
    assert found.drop_columns(context).equals(whole.drop_columns(context))
    assert all(found[name].null_count == result.rows for name in context)
    assert not set(context) & set(result.columns_present)
    with open_table(result.path) as table:
        assert columns_given(table) == set(FEATURE_NAMES) - set(context)
    with pytest.raises(ModelMismatch, match=r"- src_flows_5s(.*\n)*.*ingest\.context=true"):
        champion(world.settings, columns_given(open_table(result.path)))
    assert not ingest(small / "demo-score.pcap", settings).reused


def test_records_without_context(tmp_path: Path, settings: Settings) -> None:
    """The same of flow records: by end as always, without the columns of neighbours."""
    log = tmp_path / "conn.log"
    log.write_text(zeek_log(100))
    whole = pq.read_table(ingest(log, settings).path)
    result = ingest(log, settings.model_copy(update={"ingest": IngestSection(context=False)}))
    context = [column.name for column in COLUMNS if column.group == "context"]
    assert pq.read_table(result.path).drop_columns(context).equals(whole.drop_columns(context))
    with open_table(result.path) as table:
        assert not columns_given(table) & set(context)


def test_a_folder_is_one_capture(small: Path, tmp_path: Path, settings: Settings) -> None:
    """A capture cut into files gives the same flows as the whole, and what is no capture is left out."""
    raw = (small / "demo-score.pcap").read_bytes()
    starts = [start for start, _ in records(raw)]
    folder = tmp_path / "rotated"
    folder.mkdir()
    for number, (start, end) in enumerate(pairwise([*starts[::3000], len(raw)])):
        (folder / f"part.pcap{number}").write_bytes(HEADER + raw[start:end])
    (folder / "notes.txt").write_text("no capture")
    assert len(look_at(folder, settings).files) > 10
    whole, cut = ingest(small / "demo-score.pcap", settings), ingest(folder, settings)
    ids = [sorted(pc.unique(pq.read_table(one.path)["community_id"]).to_pylist()) for one in (whole, cut)]
    assert (cut.rows, ids[1]) == (whole.rows, ids[0])


def test_a_capture_without_ip_is_an_empty_table_that_says_why(tmp_path: Path, settings: Settings) -> None:
    """Three ARP packets give a typed table without rows, and the counts explain it."""
    result = ingest(write_capture(tmp_path / "arp.pcap", [ARP_REQUEST] * 3), settings)
    assert result.rows == 0
    assert pq.read_table(result.path).schema.equals(arrow_schema())
    assert silence_explained(result.counts) == "none of 3 packets is IP: 3 arp"


def test_a_capture_without_packets_says_so(tmp_path: Path, settings: Settings) -> None:
    """A capture that holds its header alone gives no rows either."""
    result = ingest(write_capture(tmp_path / "empty.pcap", []), settings)
    assert (result.rows, silence_explained(result.counts)) == (0, "the capture holds no packets")


@pytest.mark.parametrize(
    ("content", "word"),
    [(b"", "empty"), (b"some text, no capture\n", "not a capture"), (None, "cannot be opened")],
)
def test_wrong_files_leave_everything_as_it_was(
    tmp_path: Path, settings: Settings, content: bytes | None, word: str
) -> None:
    """A missing, empty or foreign file is an error, and not even the state folder is made."""
    path = tmp_path / "wrong.pcap"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=word):
        ingest(path, settings)
    assert not settings.state.root.exists()


def test_a_damaged_capture_leaves_the_earlier_table(small: Path, tmp_path: Path, settings: Settings) -> None:
    """When a capture turns out to be damaged, the table of its earlier content is still there and intact."""
    path = tmp_path / "demo-score.pcap"
    raw = (small / "demo-score.pcap").read_bytes()
    path.write_bytes(raw)
    first = ingest(path, settings)
    after_500 = list(records(raw))[500][0]
    path.write_bytes(raw[:after_500] + b"\xff" * 64)
    with pytest.raises(CaptureError):
        ingest(path, settings)
    path.write_bytes(raw)
    assert ingest(path, settings) == replace(first, reused=True)


def test_flow_records_become_a_feature_table(tmp_path: Path, settings: Settings) -> None:
    """Rows read are rows out and rejected; result, manifest and Parquet say which columns hold values."""
    log = tmp_path / "monday.log"
    log.write_text(zeek_log(100) + "half a line\n")
    result = ingest(log, settings)
    assert result.path == settings.state.root / "features" / "monday.parquet"
    counts = result.counts
    assert (counts["rows_read"], counts["rows_out"], counts["rejected.number_of_cells"]) == (101, 100, 1)
    assert {"src_ip", "fwd_bytes", "src_flows_60s"} <= set(result.columns_present)
    assert "first_payload_01" not in result.columns_present
    with open_table(result.path) as table:
        assert columns_present(table) == set(result.columns_present)
    rejects = result.path.with_name("monday.rejects.csv").read_text().splitlines()
    assert rejects == ["file,line,reason", f"{log},105,number_of_cells"]
    assert ingest(log, settings) == replace(result, reused=True)


def test_rejects_of_an_earlier_run_go(tmp_path: Path, settings: Settings) -> None:
    """Once a file is repaired, no rejects lie beside its table."""
    log = tmp_path / "monday.log"
    for text, lies_there in ((zeek_log(100) + "half\n", True), (zeek_log(100), False)):
        log.write_text(text)
        ingest(log, settings)
        assert (settings.state.root / "features" / "monday.rejects.csv").exists() is lies_there


def test_rotated_records_are_one_source(tmp_path: Path, settings: Settings) -> None:
    """Hourly logs taken as one give the flows, with the neighbours, of one log."""
    folder = tmp_path / "hours"
    folder.mkdir()
    for hour in range(3):
        (folder / f"conn.{hour:02}.log").write_text(zeek_log(20, 20 * hour))
    (tmp_path / "whole.log").write_text(zeek_log(60))
    parts, whole = (pq.read_table(ingest(tmp_path / name, settings).path) for name in ("hours", "whole.log"))
    assert parts.drop_columns("capture").equals(whole.drop_columns("capture"))


def test_zeeks_other_logs_fill_columns(tmp_path: Path, settings: Settings) -> None:
    """A folder of Zeek's: dns.log beside conn.log fills the payload columns, and another one makes another table."""
    folder = tmp_path / "zeek"
    folder.mkdir()
    (folder / "conn.log").write_text(zeek_log(20))
    fields = "\t".join(["#fields", *ENDS, "trans_id", "query"])
    ends = "1700000000.5\tC{}\t10.0.0.1\t40000\t10.0.0.2\t80\ttcp\t7\t{}.example\n"
    for name in ("first", "second"):
        (folder / "dns.log").write_text(fields + "\n" + ends.format(3, name) + ends.format(99, "other"))
        result = ingest(folder, settings)
        found = {row["uid"]: row["dns_query"] for row in pq.read_table(result.path).to_pylist() if row["dns_query"]}
        assert found == {"C3": f"{name}.example"}
        assert (result.counts["joined.dns"], result.counts["joined.dns.without_flow"]) == (1, 1)


def test_record_settings_count(tmp_path: Path, settings: Settings) -> None:
    """A mapping file that changes makes another table; too many malformed rows are refused by the setting."""
    (tmp_path / "own.csv").write_text("when,from,to,size\n" + "1700000000,10.0.0.1,10.0.0.2,1\n" * 9 + "x,,,\n" * 9)
    mapping = tmp_path / "own.yaml"
    text = "name: own\ncolumns:\n  start: {column: when, unit: s}\n  src_ip: from\n  dst_ip: to\n  fwd_bytes: "
    mapping.write_text(text + "size\n")
    lenient = {"mapping": mapping, "max_reject_share": 0.6}
    own = settings.model_copy(update={"records": RecordsSection.model_validate(lenient)})
    small = pq.read_table(ingest(tmp_path / "own.csv", own).path)["fwd_bytes"].to_pylist()
    mapping.write_text(text + "{column: size, unit: KiB}\n")
    large = pq.read_table(ingest(tmp_path / "own.csv", own).path)["fwd_bytes"].to_pylist()
    assert (small, large) == ([1.0] * 9, [1024.0] * 9)
    strict = settings.model_copy(update={"records": RecordsSection(mapping=mapping)})
    with pytest.raises(RecordError, match="malformed"):
        ingest(tmp_path / "own.csv", strict)


def test_a_feature_table_is_not_ingested(world: World) -> None:
    """A table of ours is refused with what can be done with it."""
    with pytest.raises(InputError, match="flowtag score"):
        ingest(world.flows["demo-score"].path, world.settings)


def test_flows_that_wait_are_no_silence() -> None:
    """With live flows kept, packets may be in flows none of which is complete: that is said, not that none was IP."""
    counts = {"packets_read": 12, "packets_metered": 10, "skipped.arp": 2}
    assert "flows of 10 packets are not complete" in silence_explained(counts)
    assert silence_explained({**counts, "packets_metered": 0}).endswith("is IP: 2 arp")
