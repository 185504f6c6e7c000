"""Unknown attacks: what is unlike benign flows is reported within a budget, and tags never depend on it."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom, multivariate_normal

from features.errors import ConfigError, ModelError
from models.dataset import TagDataset
from models.detector import BENIGN_FILE, Detector
from models.familiarity import measure_familiarity
from models.thresholds import NEVER_FIRES
from models.unknown import (
    BenignFlows,
    UnknownSettings,
    anomalies_of,
    anomaly_scores,
    choose_cut,
    fit_benign,
    measure_benign,
    reports,
    surely_within,
)

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def seeing(detector: Detector, train: TagDataset, valid: TagDataset) -> Detector:
    """A detector that reports one benign validation flow in a hundred as unknown."""
    benign = measure_benign(detector.network, [train])
    anomalies = anomalies_of(detector.network, benign, valid.features)
    fired = np.asarray(detector.fired(detector.score(valid.features)).any(axis=1))
    cut = choose_cut(valid.attack, fired, anomalies, 0.01)
    return replace(detector, card=replace(detector.card, unknown=cut), benign=benign)


def test_distances_follow_the_density_of_the_mixture() -> None:
    """Two clusters in a plane: the squared distance falls with the logarithm of SciPy's density of the mixture."""
    means, precisions = np.array([[0, 0], [6, 2]], np.float32), np.array([[1, 4], [0.5, 1]], np.float32)
    weights = np.array([0.75, 0.25], np.float32)
    flows = BenignFlows(np.zeros(2, np.float32), np.eye(2, dtype=np.float32), means, precisions, weights)
    points = np.random.default_rng(1).normal(2, 3, (200, 2)).astype(np.float32)
    density = sum(
        weight * multivariate_normal(mean, np.diag(1 / precision)).pdf(points)
        for weight, mean, precision in zip(weights, means, precisions, strict=True)
    )
    highest = (weights * np.sqrt(precisions.prod(axis=1)) / (2 * np.pi)).sum()
    np.testing.assert_allclose(flows.distances(points), np.sqrt(np.log(highest / density)), rtol=1e-3, atol=1e-3)


def test_one_cluster_is_mahalanobis() -> None:
    """Of too few flows for two clusters the distance is SciPy's Mahalanobis distance over sqrt(axes), about 1."""
    from scipy.spatial.distance import mahalanobis  # noqa: PLC0415 (the oracle of this test alone)

    flows = (np.random.default_rng(2).normal(size=(39, 3)) @ np.diag([30.0, 40.0, 50.0])).astype(np.float32)
    shape = fit_benign(flows)
    inverse = np.linalg.inv(np.cov(flows.T, bias=True))
    expected = [mahalanobis(flow, flows.mean(axis=0), inverse) / np.sqrt(3) for flow in flows]
    assert shape.weights.tolist() == [1.0]
    np.testing.assert_allclose(shape.distances(flows), expected, rtol=0.02)


def test_flows_that_never_vary_have_a_shape() -> None:
    """A constant embedding has no axes to speak of: its own flows are at distance 0, others are not, nothing is NaN."""
    shape = fit_benign(np.ones((50, 4), np.float32))
    near, far = shape.distances(np.array([[1, 1, 1, 1], [1, 9, 1, 1]], np.float32))
    assert near == pytest.approx(0, abs=1e-3)
    assert np.isfinite(far)


def test_what_lies_between_clusters_is_unlike_them() -> None:
    """Flows of two kinds: the middle between them, near the mean of all, is farther than nearly every flow."""
    random = np.random.default_rng(3)
    kinds = np.concatenate([random.normal(centre, 0.3, (500, 4)) for centre in (-5, 5)]).astype(np.float32)
    shape = fit_benign(kinds)
    assert shape.distances(np.zeros((1, 4), np.float32))[0] > np.quantile(shape.distances(kinds), 0.999)


def test_scores_rise_with_distances() -> None:
    """Distances 0, 1, 3 and 1e6 are the scores 0, 1/2, 3/4 and just below 1."""
    scores = anomaly_scores(np.array([0, 1, 3, 1e6], np.float32))
    np.testing.assert_allclose(scores, [0, 0.5, 0.75, 1], atol=2e-6)
    assert scores[-1] < 1


@pytest.mark.parametrize(("flows", "budget"), [(10, 0.5), (7_564, 0.001), (700, 0.005), (2_994, 0.001), (2_995, 0.001)])
def test_the_budget_holds_with_confidence(flows: int, budget: float) -> None:
    """With a true share above the budget so few flows are seen at most once in twenty times; one more would not do."""
    most = surely_within(budget, flows)
    assert binom.cdf(most, flows, budget) <= 0.05 or most == 0
    assert binom.cdf(most + 1, flows, budget) > 0.05


def test_the_cut_keeps_the_budget_on_benign_flows_that_no_tag_reports() -> None:
    """Ten benign flows, one with a fired tag, a budget of 0.5: one is reported; of three attacks one stays silent."""
    attack = np.array([False] * 10 + [True] * 3)
    fired = np.array([False] * 9 + [True] + [True, False, False])
    anomalies = np.array([*(at / 20 for at in range(9)), 0.99, 0.1, 0.2, 0.8], np.float32)
    cut = choose_cut(attack, fired, anomalies, 0.5)
    assert cut.threshold == pytest.approx(0.375)  # between 7 / 20 and 8 / 20
    assert cut.false_alarm_rate == pytest.approx(0.1)
    assert cut.silent_rate == pytest.approx(1 / 3)
    assert reports(cut.threshold, fired, anomalies).tolist() == [*[False] * 8, True, False, False, False, True]


def test_equal_scores_do_not_break_the_budget() -> None:
    """Where the flows to part score alike, none of them is reported."""
    cut = choose_cut(np.zeros(8, np.bool_), np.zeros(8, np.bool_), np.full(8, 0.6, np.float32), 0.25)
    assert (cut.false_alarm_rate, cut.silent_rate) == (0.0, None)
    assert cut.threshold == pytest.approx(0.6, abs=1e-6)


def test_without_a_quiet_benign_flow_nothing_is_reported() -> None:
    """Where a tag fires on every benign flow, nothing says where the cut belongs."""
    fired = np.ones(5, np.bool_)
    assert choose_cut(~fired, fired, np.linspace(0, 0.9, 5, dtype=np.float32), 0.1).threshold == NEVER_FIRES


def test_an_attack_that_no_tag_knows_is_reported(seeing: Detector, valid: TagDataset) -> None:
    """Flows with every column raised as never seen: quiet ones are unknown, and benign flows hardly ever are."""
    strange = valid.features[~valid.attack].copy()
    strange[:, 3:] += 1e4
    answers = seeing.answers(strange)
    quiet = ~seeing.fired(answers.scores).any(axis=1)
    assert seeing.unknown(answers)[quiet].mean() > 0.9
    assert not seeing.unknown(answers)[~quiet].any()
    assert seeing.unknown(seeing.answers(valid.features))[~valid.attack].mean() <= 0.01


def test_tags_do_not_depend_on_it(seeing: Detector, detector: Detector, valid: TagDataset) -> None:
    """With and without it scores are the same; without it nothing is unknown."""
    with_it, without = seeing.answers(valid.features), detector.answers(valid.features)
    np.testing.assert_allclose(with_it.scores, without.scores, rtol=1e-5)
    assert without.anomalies is None
    assert not detector.unknown(without).any()
    assert seeing.answers(valid.features[:0]).anomalies is not None


def test_its_reasons_name_the_strange_column(seeing: Detector, valid: TagDataset) -> None:
    """Flows whose fifth column alone is strange: setting it back lowers the anomaly score most, mostly."""
    strange = valid.features[~valid.attack][:50].copy()
    strange[:, 4] = 1e4
    behind_the_tags = len(seeing.card.tag_names)
    reasons = seeing.reasons(strange, [behind_the_tags] * len(strange))
    assert np.mean([bool(of_flow) and of_flow[0].feature == "column_4" for of_flow in reasons]) > 0.7


def test_it_is_saved_with_the_detector(seeing: Detector, valid: TagDataset, tmp_path: Path) -> None:
    """A loaded detector has the same cut and gives the same anomaly scores."""
    again = Detector.load(seeing.save(tmp_path / "detector"))
    assert again.card.unknown == seeing.card.unknown
    found, expected = (one.answers(valid.features).anomalies for one in (again, seeing))
    assert found is not None
    assert expected is not None
    np.testing.assert_allclose(found, expected, rtol=1e-5)


ASKED = """
import sys
import numpy as np
from pathlib import Path
from models.detector import Detector
folder = Path(sys.argv[1])
detector, features = Detector.load(folder / "detector"), np.load(folder / "features.npy")
answers = detector.answers(features)
reasons = detector.reasons(features[:2], [0, 3])
np.savez(folder / "answers.npz", scores=answers.scores, anomalies=answers.anomalies, far=answers.far)
assert all(reasons)
"""


def test_a_process_of_its_own_answers_the_same(seeing: Detector, train: TagDataset, tmp_path: Path) -> None:
    """Loaded where nothing was built before, whose operations Keras names anew, it answers and explains as here."""
    known = replace(seeing, familiarity=measure_familiarity(seeing.network, train, train))
    known.save(tmp_path / "detector")
    np.save(tmp_path / "features.npy", train.features[:300])
    subprocess.run([sys.executable, "-c", ASKED, str(tmp_path)], check=True, timeout=120, cwd=ROOT)  # noqa: S603 (ours)
    theirs, ours = np.load(tmp_path / "answers.npz"), known.answers(train.features[:300])
    np.testing.assert_allclose(theirs["scores"], ours.scores, atol=1e-6)
    np.testing.assert_allclose(theirs["anomalies"], ours.anomalies, atol=1e-5)
    np.testing.assert_array_equal(theirs["far"], ours.far)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 half", b"plain text"])
def test_a_damaged_file_is_refused(seeing: Detector, tmp_path: Path, content: bytes) -> None:
    """Anything but our arrays is an error that names the file."""
    folder = seeing.save(tmp_path / "detector")
    (folder / BENIGN_FILE).write_bytes(content)
    with pytest.raises(ModelError, match=r"benign\.npz"):
        Detector.load(folder)


@pytest.mark.parametrize("budget", [-0.1, 1.0, float("nan")])
def test_a_budget_is_a_share(budget: float) -> None:
    """Negative numbers, all flows and no number are refused by name."""
    with pytest.raises(ConfigError, match=r"unknown\.false_alarm_budget"):
        UnknownSettings(budget)
