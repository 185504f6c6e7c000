"""Which flows a detector knows: its own, not a stranger's; and what it says survives saving."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from features.errors import ModelError
from models.dataset import TagDataset
from models.detector import FAMILIARITY_FILE, Detector
from models.familiarity import Familiarity, Shape, measure_familiarity, measure_shape


@pytest.fixture(scope="module")
def familiarity(detector: Detector, train: TagDataset, valid: TagDataset) -> Familiarity:
    return measure_familiarity(detector.network, train, valid)


def test_distances_are_those_of_mahalanobis() -> None:
    """With all axes kept and little added, the distance is SciPy's Mahalanobis distance over sqrt(inputs)."""
    from scipy.spatial.distance import mahalanobis  # noqa: PLC0415 (the oracle of this test alone)

    random = np.random.default_rng(3)
    inputs = (random.normal(size=(4_000, 4)) @ np.diag([30.0, 40.0, 50.0, 60.0])).astype(np.float32)
    shape = measure_shape(inputs)
    assert len(shape.deviations) == 4
    inverse = np.linalg.inv(np.cov(inputs.T, bias=True))
    expected = [mahalanobis(row, inputs.mean(axis=0), inverse) / 2 for row in inputs[:50]]
    np.testing.assert_allclose(shape.distances(inputs[:50]), expected, rtol=0.02)


def test_what_lies_across_the_axes_counts() -> None:
    """A flow off the plane in which all others lie is far, however near its shadow in the plane is."""
    random = np.random.default_rng(4)
    flat = np.column_stack([random.normal(size=(1_000, 2)), np.zeros(1_000)]).astype(np.float32)
    shape = measure_shape(flat)
    off = np.array([[0.0, 0.0, 1.0]], np.float32)
    assert shape.distances(off)[0] > 10 * shape.distances(flat).max()


def test_flows_of_the_same_kind_are_near(familiarity: Familiarity, detector: Detector, valid: TagDataset) -> None:
    """One validation flow in a hundred is far, which is how the reach was chosen."""
    knowing = Detector(detector.network, detector.card, familiarity)
    assert knowing.far(valid.features).mean() == pytest.approx(0.01, abs=0.002)
    assert 0.1 <= familiarity.limit <= 0.5


def test_flows_of_another_kind_are_far(familiarity: Familiarity, detector: Detector) -> None:
    """Columns that rise and fall together where they never did are far for most flows, beyond the limit."""
    stranger = np.repeat(np.expm1(np.random.default_rng(9).normal(0, 3, (500, 1))), 8, axis=1).astype(np.float32)
    knowing = Detector(detector.network, detector.card, familiarity)
    assert knowing.far(stranger).mean() > familiarity.limit


def test_a_detector_that_never_said_calls_nothing_far(detector: Detector, valid: TagDataset) -> None:
    """Without a measured shape no flow is far, and no flows give an empty answer."""
    assert not detector.far(valid.features).any()
    assert detector.far(valid.features[:0]).shape == (0,)


def test_it_is_saved_with_the_detector(
    familiarity: Familiarity, detector: Detector, valid: TagDataset, tmp_path: Path
) -> None:
    """What a loaded detector calls far is what the saved one does."""
    knowing = Detector(detector.network, detector.card, familiarity)
    again = Detector.load(knowing.save(tmp_path / "detector"))
    np.testing.assert_array_equal(again.far(valid.features), knowing.far(valid.features))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 half", b"plain text"])
def test_a_damaged_file_is_refused(detector: Detector, tmp_path: Path, content: bytes) -> None:
    """Anything but our arrays is an error that names the file."""
    folder = detector.save(tmp_path / "detector")
    (folder / FAMILIARITY_FILE).write_bytes(content)
    with pytest.raises(ModelError, match=r"familiarity\.npz"):
        Detector.load(folder)


def test_objects_are_never_unpickled(tmp_path: Path) -> None:
    """An array of Python objects in the file's place is refused, not loaded."""
    path = tmp_path / FAMILIARITY_FILE
    parts = {name: np.array([{}], object) for name in Shape.__dataclass_fields__}
    np.savez(path, reach=1.0, limit=0.1, **parts)
    with pytest.raises(ModelError, match="cannot be read"):
        Familiarity.load(path)


def test_two_kinds_of_traffic_are_known_side_by_side(
    familiarity: Familiarity, detector: Detector, valid: TagDataset, tmp_path: Path
) -> None:
    """Adapted to a stranger, the stranger is known and so is the training's traffic, also when loaded again."""
    random = np.random.default_rng(9)
    stranger = np.repeat(np.expm1(random.normal(0, 3, (900, 1))), 8, axis=1).astype(np.float32)
    flows = TagDataset(stranger, np.zeros((900, 3), np.uint8), valid.feature_names, valid.tag_names)
    local = measure_familiarity(detector.network, flows.rows(np.arange(600)), flows.rows(np.arange(600, 900)))
    both = Detector(detector.network, detector.card, familiarity.with_local(local))
    again = Detector.load(both.save(tmp_path / "detector"))
    for knowing in (both, again):
        assert knowing.far(stranger).mean() < 0.05
        assert knowing.far(valid.features).mean() < 0.02
        assert knowing.far(stranger * np.tile([1e6, -1e6], 4).astype(np.float32)).mean() > 0.5
    third = familiarity.with_local(local).with_local(familiarity)
    assert third.known == (familiarity.known[0], familiarity.known[0])


def test_the_background_of_a_training_stays_known(familiarity: Familiarity, tmp_path: Path) -> None:
    """Behind a training with background come two kinds of traffic; adapting adds a third, adapting anew replaces it."""
    background, local, other = (replace(familiarity, limit=limit) for limit in (0.2, 0.15, 0.3))
    trained = familiarity.with_background(background)
    trained.save(tmp_path / FAMILIARITY_FILE)
    trained = Familiarity.load(tmp_path / FAMILIARITY_FILE)
    assert (len(trained.known), trained.trained, trained.limit) == (2, 2, 0.2)
    adapted = trained.with_local(local)
    assert (len(adapted.known), adapted.limit) == (3, 0.2)
    assert (len(adapted.with_local(other).known), adapted.with_local(other).limit) == (3, 0.3)


def test_a_file_of_one_kind_of_traffic_is_read_as_before(familiarity: Familiarity, tmp_path: Path) -> None:
    """Arrays without a number of axes, as first written: the same distances."""
    known = familiarity.known[0]
    parts = {name: getattr(known.shape, name) for name in Shape.__dataclass_fields__}
    np.savez(tmp_path / FAMILIARITY_FILE, reach=known.reach, limit=familiarity.limit, **parts)
    old = Familiarity.load(tmp_path / FAMILIARITY_FILE)
    inputs = np.random.default_rng(2).normal(size=(50, len(known.shape.centre))).astype(np.float32)
    np.testing.assert_array_equal(old.far(inputs), familiarity.far(inputs))
