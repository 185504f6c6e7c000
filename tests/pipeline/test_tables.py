"""Sources to tables without a job."""

import shutil
from pathlib import Path

from pipeline.settings import Settings
from pipeline.tables import all_tables
from tests.pipeline.small_captures import CAPTURES


def test_in_the_order_of_the_sources(tmp_path: Path, settings: Settings) -> None:
    """Each source gives its table, rules beside it a labelled one behind, and a table stays what it is."""
    with_rules, without = tmp_path / "demo-valid.pcap.zst", tmp_path / "alone.pcap.zst"
    for copy in (with_rules, without):
        shutil.copy(CAPTURES / "demo-valid.pcap.zst", copy)
    shutil.copy(CAPTURES / "demo-valid.rules.csv", tmp_path)
    made = all_tables([without, with_rules], settings)
    root = settings.state.root
    assert [one.path.relative_to(root) for one in made] == [
        Path("features/alone.parquet"), Path("features/demo-valid.parquet"), Path("labelled/demo-valid.parquet")
    ]  # fmt: skip
    assert len({one.rows for one in made}) == 1
    assert [one.path for one in all_tables([made[0].path], settings)] == [made[0].path]
