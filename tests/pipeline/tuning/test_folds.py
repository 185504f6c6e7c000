"""Flows to folds."""

from pathlib import Path

import numpy as np
import pytest

from features.errors import InputError
from pipeline.tuning.choice import FoldChoice
from pipeline.tuning.folds import DROPPED, Folds, fold
from tests.pipeline.tuning.labelled import SECOND, capture, write_labelled


@pytest.fixture(scope="module")
def captures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("captures")
    return [capture(folder, f"day {number}", number) for number in range(5)]


def test_a_capture_lies_in_one_fold(captures: list[Path]) -> None:
    """Five captures in three folds: each whole in one, each fold with some, nothing dropped."""
    found = fold(captures, FoldChoice(3))
    assert (found.count, found.by) == (3, "capture")
    by_capture = found.of_flow.reshape(5, 200)
    assert (by_capture == by_capture[:, :1]).all()
    assert set(by_capture[:, 0].tolist()) == {0, 1, 2}
    assert sorted(name for part in found.parts for name in part) == [f"day {number}" for number in range(5)]


def test_each_flow_is_held_out_once(captures: list[Path]) -> None:
    """What is learned from, what chooses thresholds and what is held out never meet; each flow is held out once."""
    found = fold(captures, FoldChoice(5))
    held_out = np.zeros(len(found.of_flow), int)
    for number in range(found.count):
        parts = np.array(found.masks(number)).astype(int)
        assert parts.sum(axis=0).tolist() == [1] * len(found.of_flow)
        assert parts.any(axis=1).all()
        held_out += parts[2]
    assert (held_out == 1).all()


@pytest.mark.parametrize(("seed", "gap_s"), [(0, 0), (1, 1), (2, 7), (3, 20), (4, 60)])
def test_blocks_of_time_share_no_moment(tmp_path: Path, seed: int, gap_s: int) -> None:
    """By time, a flow of one fold begins no sooner than the gap after any earlier flow of another has ended."""
    random = np.random.default_rng(seed)
    start, life = random.integers(0, 4000, 150), random.integers(0, 100, 150)
    rows = [
        {"flow_id": at, "capture": "one", "start": int(start[at]) * SECOND, "end": int(start[at] + life[at]) * SECOND}
        for at in range(150)
    ]
    table = write_labelled(tmp_path / "table.parquet", rows, [at % 2 == 0 for at in range(150)])
    of_flow = fold([table], FoldChoice(4, "time", gap_s)).of_flow
    kept = of_flow != DROPPED
    start, end, of_flow = start[kept], (start + life)[kept], of_flow[kept]
    later = (start[None, :] >= start[:, None]) & (of_flow[None, :] != of_flow[:, None])
    assert later.any()
    assert (start[None, :] - end[:, None] >= gap_s)[later].all()


def test_a_few_captures_are_parted_by_time(captures: list[Path]) -> None:
    """Two captures make no three folds: auto takes blocks of time; gaps cost flows, which are counted as dropped."""
    found = fold(captures[:2], FoldChoice(4, gap_s=2.0))
    assert (found.count, found.by) == (4, "time")
    assert 0 < (found.of_flow == DROPPED).sum() < 200
    assert sum(len(part) for part in found.parts) == 2 * 19  # starts span 199 s each, blocks five gaps of two seconds


def test_too_little_traffic(captures: list[Path]) -> None:
    """One short capture is refused; the message counts captures and blocks and names the way out."""
    with pytest.raises(InputError, match=r"(?s)1 captures, 1 of them with attack.* 1 blocks .*--gap-s") as caught:
        fold(captures[:1], FoldChoice())
    assert caught.value.exit_code == 4
    with pytest.raises(InputError, match="too few captures"):
        fold(captures[:2], FoldChoice(by="capture"))


def test_a_fold_without_attack_flows_is_none(tmp_path: Path, captures: list[Path]) -> None:
    """Four captures, two of them benign: two folds would have attack flows, three cannot."""
    benign = [
        write_labelled(
            tmp_path / f"{name}.parquet",
            [{"flow_id": at, "capture": name, "start": at * SECOND, "end": at * SECOND} for at in range(50)],
            [False] * 50,
        )
        for name in ("quiet", "calm")
    ]
    with pytest.raises(InputError, match="4 captures, 2 of them with attack flows"):
        fold([*captures[:2], *benign], FoldChoice(by="capture"))
    assert fold([*captures[:3], *benign], FoldChoice(5, by="capture")).count == 3


def test_flows_of_unknown_time_are_left_out_by_time_alone(tmp_path: Path, captures: list[Path]) -> None:
    """A flow without a time stays with its capture, and belongs to no block of time."""
    rows = [{"flow_id": at, "capture": "timeless", "start": None, "end": None} for at in range(10)]
    timeless = write_labelled(tmp_path / "timeless.parquet", rows, [at % 2 == 0 for at in range(10)])
    assert (fold([*captures, timeless], FoldChoice(6)).of_flow != DROPPED).all()
    by_time = fold([captures[0], timeless], FoldChoice(3, "time", 2.0))
    assert (by_time.of_flow[200:] == DROPPED).all()


def test_the_same_seed_gives_the_same_folds(captures: list[Path], tmp_path: Path) -> None:
    """Folds are a function of tables and choice, and are written as plain numbers."""
    one, other = (fold(captures, FoldChoice(4)) for _ in range(2))
    assert (one.of_flow == other.of_flow).all()
    one.save(tmp_path / "folds.npy")
    assert (np.load(tmp_path / "folds.npy", allow_pickle=False) == one.of_flow).all()
    assert isinstance(one, Folds)
