"""Scored flows: kept, sampled evenly, and turned from alarms per hour into a share."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.errors import ModelError, Uncalibrated
from models.detector import Detector
from models.scored_flows import Blocks, ScoredFlows, as_share, read_blocks
from models.thresholds import ThresholdSettings


def some_flows(flows: int = 1_000) -> ScoredFlows:
    random = np.random.default_rng(0)
    tags = (random.random((flows, 3)) < 0.1).astype(np.uint8)
    blocks = Blocks((np.arange(flows) // 25).astype(np.int32), 2.0)
    return ScoredFlows(tags, random.random((flows, 3)).astype(np.float32), blocks)


def test_saved_flows_come_back(tmp_path: Path) -> None:
    """Tags, scores and times survive a file, with times and without."""
    for flows in (some_flows(), ScoredFlows(some_flows().tags, some_flows().scores)):
        flows.save(tmp_path / "flows.npz")
        again = ScoredFlows.load(tmp_path / "flows.npz")
        np.testing.assert_array_equal(again.tags, flows.tags)
        np.testing.assert_array_equal(again.scores, flows.scores)
        assert (again.blocks is None) == (flows.blocks is None)
        if again.blocks and flows.blocks:
            np.testing.assert_array_equal(again.blocks.of_flow, flows.blocks.of_flow)
            assert again.blocks.hours == 2.0


def judged(background: list[float] | None) -> ScoredFlows:
    """Return 40 attack flows that score 0.6 to 0.99 and 2,000 benign ones below 0.3, and a background of one tag."""
    tags = np.zeros((2_040, 1), np.uint8)
    tags[:40] = 1
    scores = np.concatenate([np.linspace(0.6, 0.99, 40), np.linspace(0.0, 0.3, 2_000)])[:, None].astype(np.float32)
    beside = None if background is None else np.array(background, np.float32)[:, None]
    return ScoredFlows(tags, scores, background=beside)


def test_thresholds_keep_the_budget_on_the_background_too() -> None:
    """One background flow of three may fire: the threshold stands above the second highest, and costs what is below."""
    alone, quiet, loud = (judged(one).thresholds(ThresholdSettings()) for one in (None, [0.1] * 3, [0.1, 0.7, 0.8]))
    assert alone == quiet
    assert 0.3 < alone.detecting[0] < 0.6
    assert alone.silent_rate == 0
    assert float(np.float32(0.7)) < loud.detecting[0] <= float(np.float32(0.8))
    assert loud.silent_rate == pytest.approx(
        sum(score <= 0.7 for score in np.linspace(0.6, 0.99, 40, dtype=np.float32)) / 40
    )
    assert loud.false_alarm_rate == 0


@pytest.mark.parametrize(("flows", "silent"), [(1_000, 0.0), (100, 0.6)])
def test_a_hundredth_of_the_background_may_fire_where_quiet_costs_attacks(flows: int, silent: float) -> None:
    """Five flows score like attacks: of a thousand they may fire, since most attacks lie below; of a hundred not."""
    found = judged([0.9] * 5 + [0.1] * (flows - 5)).thresholds(ThresholdSettings())
    assert found.silent_rate == 0.0 if not silent else found.silent_rate > silent


def test_a_background_that_scores_like_attacks() -> None:
    """Where it leaves nothing to detect, that is an error that says where to look."""
    with pytest.raises(Uncalibrated, match="attack_share"):
        judged([0.999, 0.9999, 0.999]).thresholds(ThresholdSettings())


def test_the_background_is_kept_and_sampled(tmp_path: Path) -> None:
    """It survives a file, and of too much of it an even share is kept."""
    flows = judged([at / 1_000 for at in range(1_000)])
    flows.save(tmp_path / "flows.npz")
    again = ScoredFlows.load(tmp_path / "flows.npz")
    assert again.background is not None
    np.testing.assert_array_equal(again.background, flows.background)
    fewer = flows.sampled(500).background
    assert fewer is not None
    assert fewer[:3, 0].tolist() == pytest.approx([0.0, 0.002, 0.004])


@pytest.mark.parametrize("content", [b"", b"PK", b"not arrays"])
def test_a_damaged_file_is_refused(tmp_path: Path, content: bytes) -> None:
    """Half a file is an error that names it, and pickles are never read."""
    (tmp_path / "flows.npz").write_bytes(content)
    with pytest.raises(ModelError, match=r"flows\.npz"):
        ScoredFlows.load(tmp_path / "flows.npz")
    np.savez(tmp_path / "flows.npz", tags=np.array([{}], object), scores=np.zeros(1))
    with pytest.raises(ModelError, match=r"flows\.npz"):
        ScoredFlows.load(tmp_path / "flows.npz")


def test_a_sample_keeps_shares_and_alarms_per_hour() -> None:
    """A tenth of the flows has a tenth of attacks and hours, so that an hourly budget is the same share."""
    flows = some_flows(10_000)
    tenth = flows.sampled(1_000)
    assert len(tenth.tags) == pytest.approx(1_000, abs=2)
    assert tenth.tags.any(axis=1).mean() == pytest.approx(flows.tags.any(axis=1).mean(), abs=0.002)
    shares = [as_share(ThresholdSettings(per_hour=5.0), one.tags, one.blocks) for one in (tenth, flows)]
    assert shares[0].false_alarm_budget == pytest.approx(shares[1].false_alarm_budget, rel=0.01)
    assert flows.sampled(10_000) is flows


def test_alarms_per_hour_as_a_share() -> None:
    """10 an hour in 2 hours with 50 benign flows is 0.4, and at most all; a share stays what it is."""
    tags = np.zeros((60, 1), np.uint8)
    tags[:10] = 1
    blocks = Blocks(np.zeros(60, np.int32), 2.0)
    assert as_share(ThresholdSettings(0.3, per_hour=10.0), tags, blocks).false_alarm_budget == pytest.approx(0.4)
    assert 0.999 < as_share(ThresholdSettings(per_hour=1e9), tags, blocks).false_alarm_budget < 1
    assert as_share(ThresholdSettings(0.3), tags, None) == ThresholdSettings(0.3)


@pytest.mark.parametrize("blocks", [None, Blocks(np.zeros(2_040, np.int32), 0.0)])
def test_a_budget_per_hour_needs_times(blocks: Blocks | None) -> None:
    """Without times, or where all flows began at once, nobody can say; the error names the other budget."""
    flows = replace(judged(None), blocks=blocks)
    with pytest.raises(ModelError, match=r"thresholds\.per_hour(.|\n)*false_alarm_budget"):
        flows.thresholds(ThresholdSettings(per_hour=5.0))


def test_thresholds_keep_a_budget_per_hour() -> None:
    """Of 2,000 benign flows in ten hours two an hour may fire: the same thresholds as for one in a hundred."""
    flows = replace(judged(None), blocks=Blocks(np.zeros(2_040, np.int32), 10.0))
    assert flows.thresholds(ThresholdSettings(per_hour=2.0)) == flows.thresholds(ThresholdSettings(0.01))


def starts(path: Path, seconds: list[float | None]) -> Path:
    ns = pa.array([None if second is None else int(second * 1e9) for second in seconds], pa.int64()).cast(
        pa.timestamp("ns", "UTC")
    )
    pq.write_table(pa.table({"start": ns}), path)
    return path


def test_blocks_of_tables_and_their_hours(tmp_path: Path) -> None:
    """Long traffic is cut into minutes, tables share no block, and hours are summed over tables."""
    hour = starts(tmp_path / "hour.parquet", [1e6 + 10, 1e6 + 3610, 1e6 + 75])
    half = starts(tmp_path / "half.parquet", [5e6, 5e6 + 1800])
    blocks = read_blocks([hour, half])
    assert blocks.of_flow.tolist() == [0, 60, 1, 61, 91]
    assert blocks.hours == pytest.approx(1.5)


def test_short_traffic_has_shorter_blocks_and_one_flow_is_no_trouble(tmp_path: Path) -> None:
    """80 seconds become blocks of two; a table of one flow, or of none, has no length."""
    assert read_blocks([starts(tmp_path / "short.parquet", [0, 3, 80])]).of_flow.tolist() == [0, 1, 40]
    assert read_blocks([starts(tmp_path / "one.parquet", [7])]).hours == 0
    assert read_blocks([starts(tmp_path / "unknown.parquet", [None, 1e6, 1e6 + 80])]).of_flow.tolist() == [0, 0, 40]
    assert len(read_blocks([starts(tmp_path / "none.parquet", [])]).of_flow) == 0


def test_a_detector_keeps_them(detector: Detector, tmp_path: Path) -> None:
    """Saved and loaded with a detector; a detector without them loads as well."""
    Detector(detector.network, detector.card, None, some_flows()).save(tmp_path / "one")
    kept = Detector.load(tmp_path / "one").validation
    assert kept is not None
    np.testing.assert_array_equal(kept.scores, some_flows().scores)
    assert Detector.load(detector.save(tmp_path / "two")).validation is None
