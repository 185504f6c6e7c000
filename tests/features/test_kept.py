"""A capture metered in several runs: what is kept between them makes it one."""

import struct
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.errors import InputError
from features.extract import extract
from features.kept import Kept
from features.metering.meter import MeterSettings
from features.schema import arrow_schema
from tests.pipeline.small_captures import CAPTURES, HEADER, records

SHORT = MeterSettings(idle_timeout_s=2.0, active_timeout_s=5.0)


@pytest.fixture(scope="module")
def packets() -> list[bytes]:
    """Every 40th packet of a real capture as a pcap record, and at the end one that makes all flows before it old."""
    raw = pa.input_stream(str(CAPTURES / "demo-score.pcap.zst"), compression="zstd").read()
    found = [raw[start:end] for start, end in records(raw)][::40]
    last = struct.unpack_from("<I", found[-1])[0]
    ip = next(record for record in found if record[28:30] == b"\x08\x00")
    return [*found, struct.pack("<I", last + 300) + ip[4:]]


def write(path: Path, packets: list[bytes]) -> Path:
    path.write_bytes(HEADER + b"".join(packets))
    return path


def table(batches: list[pa.RecordBatch]) -> pa.Table:
    return pa.Table.from_batches(batches, arrow_schema())


def further(paths: list[Path], state: Path, number: int) -> tuple[pa.Table, dict[str, int]]:
    """Make the next run: what was kept is read from a file and written to another."""
    before = state / f"{number - 1}.npz"
    kept = Kept.load(before, SHORT) if before.exists() else Kept()
    extraction = extract(paths, SHORT, "capture", kept)
    rows = table(list(extraction))
    kept.save(state / f"{number}.npz", SHORT)
    return rows, extraction.counts


def whole(packets: list[bytes], folder: Path) -> pa.Table:
    """Return the rows of the capture in one run, without those that the last packet's time does not complete."""
    rows = table(list(extract([write(folder / "whole.pcap", packets)], SHORT, "capture")))
    return rows.slice(0, len(rows) - 1)


@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_runs_in_pieces_are_one_run(
    packets: list[bytes], tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """However a capture is cut into files and runs, the same flows with the same neighbours come out, once each."""
    folder = tmp_path_factory.mktemp("pieces")
    cuts = sorted(data.draw(st.lists(st.integers(0, len(packets)), max_size=4), label="cuts"))
    pieces = [packets[a:b] for a, b in zip([0, *cuts], [*cuts, len(packets)], strict=True)]
    paths = [write(folder / f"{number}.pcap", piece) for number, piece in enumerate(pieces)]
    each = data.draw(st.integers(1, 3), label="files that a run finds more")
    made, read = [], 0
    for number, until in enumerate(range(each, len(paths) + each, each), 1):
        rows, counts = further(paths[:until], folder, number)
        made.append(rows)
        read += counts["packets_read"]
        assert counts["flows_waiting_before"] + counts["flows"] == counts["flows_out"] + counts["flows_waiting"]
        assert counts["flows_out"] == len(rows)
    assert read == len(packets)
    assert pa.concat_tables(made).equals(whole(packets, folder))


def test_a_growing_file_goes_on_where_it_was(packets: list[bytes], tmp_path: Path) -> None:
    """Of a file that ends inside a record the rest comes with the next run, under another name if it was rotated."""
    raw = HEADER + b"".join(packets)
    live, rotated = tmp_path / "live.pcap", tmp_path / "rotated.pcap"
    made = []
    for number, size in enumerate((2_000, 2_005, 60_000, len(raw) - 7), 1):
        live.write_bytes(raw[:size])
        made.append(further([live], tmp_path, number)[0])
    live.rename(rotated)
    rotated.write_bytes(raw)
    rows, _ = further([rotated], tmp_path, 5)
    assert pa.concat_tables([*made, rows]).equals(whole(packets, tmp_path))


def test_nothing_new_is_nothing_read(packets: list[bytes], tmp_path: Path) -> None:
    """A second run over the same files, copies among them, reads no packet and gives no flow."""
    path = write(tmp_path / "a.pcap", packets)
    further([path], tmp_path, 1)
    copy = write(tmp_path / "b.pcap", packets)
    rows, counts = further([path, copy], tmp_path, 2)
    assert (len(rows), counts["packets_read"]) == (0, 0)


def test_other_settings_do_not_go_on(packets: list[bytes], tmp_path: Path) -> None:
    """What was kept under other timeouts, or is damaged, is refused."""
    further([write(tmp_path / "a.pcap", packets[:50])], tmp_path, 1)
    with pytest.raises(InputError, match="does not fit these settings"):
        Kept.load(tmp_path / "1.npz", MeterSettings())
    (tmp_path / "2.npz").write_bytes((tmp_path / "1.npz").read_bytes()[:-100])
    with pytest.raises(InputError, match="cannot be read"):
        Kept.load(tmp_path / "2.npz", SHORT)
    np.savez(tmp_path / "3.npz", about=np.array([{}], object))
    with pytest.raises(InputError, match="cannot be read"):
        Kept.load(tmp_path / "3.npz", SHORT)
