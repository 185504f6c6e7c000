"""One detector for packets and flow records: the same traffic gives nearly the same scores."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from pyarrow import csv

from features.errors import ModelMismatch, NoChampion
from features.table import columns_given, open_table
from models.card import read_card
from models.dataset import feature_matrix
from models.detector import Detector
from pipeline.config import load
from pipeline.evaluate import evaluate
from pipeline.ingest import ingest
from pipeline.label import label
from pipeline.register import champion, register
from pipeline.registered import Champion
from pipeline.score import score
from pipeline.settings import Settings
from pipeline.train import Tables, train
from tests.pipeline.conftest import QUICK, World

LETTERS = {
    "S": "fwd_syn_packets",
    "h": "bwd_syn_packets",
    "A": "tcp_established",
    "D": "fwd_data_packets",
    "d": "bwd_data_packets",
    "R": "tcp_fwd_reset",
    "r": "tcp_bwd_reset",
}
"""Letters of Zeek's history, and the columns above 0 that say the same."""


def write_conn_log(table: pa.Table, path: Path) -> Path:
    """Write flows of ours as a conn.log in Zeek's documented columns."""
    micros = [int(moment) // 1000 for moment in pc.cast(table["start"], pa.int64()).to_pylist()]
    proto = pc.if_else(
        pc.equal(table["protocol"], 6), "tcp", pc.if_else(pc.equal(table["protocol"], 17), "udp", "icmp")
    )
    told = [pc.if_else(pc.greater(pc.fill_null(table[name], 0), 0), letter, "") for letter, name in LETTERS.items()]
    columns = {
        "ts": pa.array(f"{moment // 1_000_000}.{moment % 1_000_000:06}" for moment in micros),
        "id.orig_h": table["src_ip"],
        "id.orig_p": pc.coalesce(table["src_port"], table["icmp_type"]),
        "id.resp_h": table["dst_ip"],
        "id.resp_p": pc.coalesce(table["dst_port"], table["icmp_code"]),
        "proto": proto,
        "duration": table["duration_s"],
        "orig_bytes": table["fwd_payload_bytes"],
        "resp_bytes": table["bwd_payload_bytes"],
        "history": pc.binary_join_element_wise(*told, ""),
        "orig_pkts": table["fwd_packets"],
        "orig_ip_bytes": table["fwd_bytes"],
        "resp_pkts": table["bwd_packets"],
        "resp_ip_bytes": table["bwd_bytes"],
    }
    rows = pa.BufferOutputStream()
    options = csv.WriteOptions(include_header=False, delimiter="\t", quoting_style="none")
    csv.write_csv(pa.table(columns), rows, options)
    header = "\n".join(["#separator \\x09", "#unset_field\t-", "#path\tconn", "\t".join(["#fields", *columns])])
    path.write_bytes(header.encode() + b"\n" + rows.getvalue().to_pybytes())
    return path


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return load(overrides=[f"state.folder={tmp_path_factory.mktemp('views')}", *QUICK], environment={}).settings


@pytest.fixture(scope="module")
def logs(world: World, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The small captures' flows as Zeek would have logged them."""
    folder = tmp_path_factory.mktemp("zeek")
    return {
        name: write_conn_log(pq.read_table(made.path), folder / f"{name}.log") for name, made in world.flows.items()
    }


@pytest.fixture(scope="module")
def in_use(world: World, logs: dict[str, Path], settings: Settings) -> Champion:
    """A detector trained on the connection logs alone, in a registry of its own."""
    labelled = [
        label(ingest(logs[name], settings).path, world.captures / f"{name}.rules.csv", settings).path
        for name in ("demo-train", "demo-valid")
    ]
    tables = Tables(labelled[:1], labelled[1:])
    assert register(train(tables, settings), tables, settings).in_use
    return champion(settings)


def scores(table: Path, detector: Detector) -> tuple[np.ndarray, np.ndarray]:
    """Return the keys of a table's flows, sorted, and their scores."""
    rows = pq.read_table(table)
    keys = rows["community_id"].to_numpy(zero_copy_only=False).astype(str)
    start = pc.cast(rows["start"], pa.int64()).to_numpy() // 1_000
    order = np.lexsort((start, keys))
    matrix = feature_matrix(rows.combine_chunks().to_batches()[0], detector.card.feature_names)
    return keys[order], detector.score(matrix)[order]


def test_records_train_a_detector_of_their_view(in_use: Champion) -> None:
    """What is learned from connection logs is a detector of the view biflow, and says so."""
    assert (in_use.view, in_use.title) == ("biflow", "flowtag version 1, view biflow")
    assert read_card(in_use.folder).view == "biflow"


def test_packets_and_records_score_nearly_alike(
    world: World, logs: dict[str, Path], settings: Settings, in_use: Champion
) -> None:
    """The same traffic through packets and through a conn.log: the same flows, and 99 % of them within 0.01."""
    detector = Detector.load(in_use.folder)
    by_packets = scores(world.flows["demo-score"].path, detector)
    by_records = scores(ingest(logs["demo-score"], settings).path, detector)
    assert by_packets[0].tolist() == by_records[0].tolist()
    apart = np.abs(by_packets[1] - by_records[1]).max(axis=1)
    assert (apart <= 0.01).mean() >= 0.99
    assert (detector.fired(by_packets[1]) == detector.fired(by_records[1])).all(axis=1).mean() >= 0.999


def test_scored_and_compared_with_the_truth(
    world: World, logs: dict[str, Path], settings: Settings, in_use: Champion
) -> None:
    """Records are scored and evaluated as captures are, the contenders trained beside included."""
    table = ingest(logs["demo-score"], settings).path
    found = score(table, in_use.folder, settings)
    assert found.rows > 100
    labelled = label(table, world.captures / "demo-score.rules.csv", settings).path
    with open_table(labelled, labelled=True) as flows, open_table(table) as plain:
        assert columns_given(flows) == columns_given(plain)
    figures = json.loads(evaluate(labelled, in_use.folder, settings).path.read_text())
    assert list(figures) == ["detector", "plain_bce", "boosting"]


def test_records_do_not_suit_a_detector_of_packets(
    world: World, logs: dict[str, Path], settings: Settings, in_use: Champion
) -> None:
    """A registry that holds none for what is given says what is lacking; one that holds a smaller one uses it."""
    with open_table(ingest(logs["demo-score"], settings).path) as table:
        given = columns_given(table)
    with pytest.raises(ModelMismatch, match="- first_payload_01") as raised:
        champion(world.settings, given)
    assert "flowtag train" in str(raised.value)
    with pytest.raises(ModelMismatch, match="- first_payload_01"):
        score(ingest(logs["demo-score"], settings).path, champion(world.settings).folder, settings)
    assert champion(settings) == in_use  # packets give the view of records too
    with pytest.raises(NoChampion):
        champion(load(overrides=[f"state.folder={settings.state.folder}", "mlflow.model_name=other"]).settings)
