"""The detector's directory: what is saved is what is loaded, and what does not fit is refused."""

import dataclasses
import json
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest

from features.errors import ModelError, ModelMismatch
from models.calibration import Calibration
from models.card import CARD_FILE, benign_medians
from models.dataset import TagDataset
from models.detector import NETWORK_FILE, WORTH_COMPILING, Detector
from models.familiarity import inputs_of, measure_familiarity
from tests.models.conftest import COLUMNS, TAGS


@pytest.fixture(scope="module")
def saved(detector: Detector, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return detector.save(tmp_path_factory.mktemp("detectors") / "first")


def edited(saved: Path, folder: Path, **changes: object) -> Path:
    """Return a copy of a saved detector with other values on its card."""
    copy = shutil.copytree(saved, folder / "copy")
    card = json.loads((copy / CARD_FILE).read_text("utf-8"))
    (copy / CARD_FILE).write_text(json.dumps({**card, **changes}), "utf-8")
    return copy


def test_a_loaded_detector_is_the_saved_one(detector: Detector, saved: Path, valid: TagDataset) -> None:
    """Card, scores and what fires survive saving."""
    again = Detector.load(saved)
    assert again.card == detector.card
    scores = detector.score(valid.features)
    np.testing.assert_array_equal(again.score(valid.features), scores)
    np.testing.assert_array_equal(again.fired(scores), detector.fired(scores))


def test_it_detects(detector: Detector, valid: TagDataset) -> None:
    """Scores lie in [0, 1] as float32, and attack flows fire."""
    scores = detector.score(valid.features)
    assert (scores.dtype, scores.shape) == (np.float32, valid.tags.shape)
    assert 0 <= scores.min() <= scores.max() <= 1
    assert detector.fired(scores)[valid.attack].any(axis=1).mean() > 0.8


def test_scores_do_not_depend_on_the_batch(detector: Detector, valid: TagDataset) -> None:
    """Batches of 7 give the scores of one batch, and no flows give no scores."""
    few = valid.features[:100]
    np.testing.assert_allclose(detector.score(few, 7), detector.score(few), atol=1e-6)
    assert detector.score(few[:0]).shape == (0, 3)


def test_many_flows_score_as_few_do(detector: Detector, valid: TagDataset) -> None:
    """From so many flows on the network is compiled for whole batches; each flow keeps its scores."""
    many = np.resize(valid.features, (WORTH_COMPILING + 5, valid.features.shape[1]))
    expected = np.resize(detector.score(valid.features), (len(many), len(valid.tag_names)))
    np.testing.assert_allclose(detector.score(many), expected, atol=1e-5)
    np.testing.assert_allclose(detector.answers(many).scores, expected, atol=1e-5)


def test_one_pass_answers_what_single_questions_do(detector: Detector, train: TagDataset, valid: TagDataset) -> None:
    """Scores, far flows and probabilities of one pass are those of the network, the familiarity and the calibration."""
    known = measure_familiarity(detector.network, train, valid)
    curves = Calibration((0.5,) * len(TAGS), (1.0,) * len(TAGS), ("own",) * len(TAGS))
    asked = dataclasses.replace(
        detector, card=dataclasses.replace(detector.card, calibration=curves), familiarity=known
    )
    answers = asked.answers(valid.features)
    np.testing.assert_allclose(answers.scores, detector.score(valid.features), rtol=1e-5)
    inputs = inputs_of(detector.network).predict(valid.features, verbose=0)
    np.testing.assert_array_equal(answers.far, known.far(inputs))
    logits = np.log(answers.scores.astype(float)) - np.log1p(-answers.scores.astype(float))
    np.testing.assert_allclose(answers.probabilities, 1 / (1 + np.exp(-(0.5 * logits + 1))), atol=1e-3)
    assert answers.any_attack is None
    assert [len(part) for part in (asked.answers(valid.features[:0]).scores, asked.far(valid.features[:0]))] == [0, 0]


def test_calibration_is_kept(detector: Detector, tmp_path: Path) -> None:
    """Curves come back from the directory as they were; without them probabilities are the scores."""
    curves = Calibration((0.5, 2.0, 1.0), (1.0, 0.0, -1.0), ("own", "own", "pooled"))
    dataclasses.replace(detector, card=dataclasses.replace(detector.card, calibration=curves)).save(tmp_path / "one")
    assert Detector.load(tmp_path / "one").card.calibration == curves
    plain = detector.answers(np.zeros((3, len(COLUMNS)), np.float32))
    np.testing.assert_array_equal(plain.probabilities, plain.scores)


def test_reasons_name_the_column_that_gives_the_tag_away(detector: Detector, valid: TagDataset) -> None:
    """For flows of the first tag, the column that was raised for it comes first, nearly always."""
    scans = valid.features[valid.tags[:, 0] == 1]
    reasons = detector.reasons(scans, [0] * len(scans), top=2)
    assert all(1 <= len(of_flow) <= 2 for of_flow in reasons)
    assert np.mean([of_flow[0].feature == "column_0" for of_flow in reasons]) > 0.9


def test_the_directory_holds_no_pickle(saved: Path) -> None:
    """A network in Keras' format and a card in JSON, nothing else, and the card's numbers are readable."""
    assert sorted(path.name for path in saved.iterdir()) == [CARD_FILE, NETWORK_FILE]
    card = json.loads((saved / CARD_FILE).read_text("utf-8"))
    assert (card["format"], card["tag_names"]) == (1, ["scan", "flood", "beacon"])


def test_saving_replaces_and_leaves_nothing_beside(detector: Detector, tmp_path: Path) -> None:
    """Saved twice to one place, one detector is there and no temporary folder."""
    for _ in range(2):
        detector.save(tmp_path / "one")
    assert [path.name for path in tmp_path.iterdir()] == ["one"]


def test_missing_columns_and_another_schema_are_refused(detector: Detector) -> None:
    """Columns that are missing are shown, more than are needed are no matter, and a fingerprint alone differs."""
    fingerprint = detector.card.schema_fingerprint
    detector.card.require_columns((*detector.card.feature_names, "another"), fingerprint)
    names = ("new_column", *detector.card.feature_names[1:])
    with pytest.raises(ModelMismatch, match="1 of them missing\n    - column_0"):
        detector.card.require_columns(names, "f" * 16)
    with pytest.raises(ModelMismatch, match=fingerprint):
        detector.card.require_columns(detector.card.feature_names, "f" * 16)


def test_features_of_another_width_are_refused(detector: Detector) -> None:
    """A matrix with other columns is no input."""
    with pytest.raises(ModelMismatch, match=r"\(flows, 8\)"):
        detector.score(np.zeros((3, 7), np.float32))


def test_a_directory_without_a_detector_is_refused(tmp_path: Path) -> None:
    """A missing card says what to run."""
    with pytest.raises(ModelError, match="flowtag train"):
        Detector.load(tmp_path)


def test_a_card_of_another_format_is_refused(saved: Path, tmp_path: Path) -> None:
    """A later format is a mismatch, not a guess."""
    with pytest.raises(ModelMismatch, match="another format"):
        Detector.load(edited(saved, tmp_path, format=99))


def test_a_card_that_does_not_fit_its_network_is_refused(saved: Path, tmp_path: Path) -> None:
    """One tag too few on the card is noticed before anything is scored."""
    with pytest.raises(ModelMismatch, match="differ in columns and tags"):
        Detector.load(edited(saved, tmp_path, tag_names=["scan", "flood"]))


def test_a_network_that_is_not_the_cards_is_refused(saved: Path, tmp_path: Path) -> None:
    """Weights are checked against the card's digest."""
    with pytest.raises(ModelError, match="not the one the card was written for"):
        Detector.load(edited(saved, tmp_path, weights="0" * 64))


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"format": 1}'])
def test_a_damaged_card_is_refused(saved: Path, tmp_path: Path, content: bytes) -> None:
    """Half a card is an error that names the file."""
    copy = shutil.copytree(saved, tmp_path / "copy")
    (copy / CARD_FILE).write_bytes(content)
    with pytest.raises(ModelError, match="card"):
        Detector.load(copy)


def test_a_damaged_network_is_refused(saved: Path, tmp_path: Path) -> None:
    """Half a network is an error that names the file."""
    copy = shutil.copytree(saved, tmp_path / "copy")
    (copy / NETWORK_FILE).write_bytes((saved / NETWORK_FILE).read_bytes()[:1_000])
    with pytest.raises(ModelError, match=NETWORK_FILE):
        Detector.load(copy)


def test_code_inside_a_network_is_not_run(saved: Path, tmp_path: Path) -> None:
    """A network that carries a pickled function is refused in safe mode."""
    copy = shutil.copytree(saved, tmp_path / "copy")
    raw = keras.Input((8,))
    # the captured value makes Keras serialise the function's code
    keras.Model(raw, keras.layers.Lambda(lambda x: x[:, :3] + 1)(raw)).save(copy / NETWORK_FILE)
    with pytest.raises(ModelError, match=NETWORK_FILE):
        Detector.load(copy)


def test_the_typical_benign_flow() -> None:
    """Medians over benign flows alone; None where at least half of them have null."""
    features = np.array([[1, np.nan, np.nan], [3, np.nan, 2], [8, 5, 4], [100, 9, 9]], np.float32)
    dataset = TagDataset(features, np.array([[0], [0], [0], [1]], np.uint8), ("a", "b", "c"), ("x",))
    assert benign_medians(dataset) == (3.0, None, 3.0)
    assert dataclasses.is_dataclass(dataset)
