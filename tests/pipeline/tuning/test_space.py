"""A trial's answers as settings."""

import optuna
import pytest

from models.losses import LossSettings
from models.losses.guard import require_safe
from pipeline.config import load
from pipeline.settings import Settings
from pipeline.tuning.space import LAMBDA, PENALTY, RATE, SEARCHED, VIEW, WIDTHS, Space

TAGS = 25
VIEWS = ("packets", "biflow", "counters")


def given(*overrides: str) -> Settings:
    return load(overrides=overrides, environment={}).settings


def space(*overrides: str, searched: tuple[str, ...] = SEARCHED) -> Space:
    return Space(given(*overrides), searched, VIEWS, TAGS)


def answered(asked: Space, answers: dict[str, object]) -> Settings:
    return asked.settings(optuna.trial.FixedTrial(answers))


def test_the_start_is_what_is_configured() -> None:
    """Tried first: the settings as they are without a penalty, then as they are, values out of the usual range too."""
    own = ("training.learning_rate=0.05", "network.widths=48,24", "loss.lambda_=20")
    asked = space(*own)
    plain, as_given = (answered(asked, answers) for answers in asked.starts())
    assert as_given.loss == given(*own).loss
    assert as_given.training == plain.training == given(*own).training
    assert as_given.network == plain.network == given(*own).network
    assert (plain.loss.penalty, plain.loss.base) == ("none", "bce")


def test_without_a_penalty_there_is_one_start() -> None:
    """Where no penalty is configured the baseline is what is configured."""
    assert len(space("loss.penalty=none").starts()) == 1


def test_every_answer_is_safe_and_valid() -> None:
    """Of two hundred random trials none has a loss that collapses, and each is a configuration that loads."""
    asked = space()
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    seen = [asked.settings(study.ask()) for _ in range(200)]
    for settings in seen:
        require_safe(LossSettings(**settings.loss.model_dump()), TAGS)
        assert Settings.model_validate(settings.model_dump()) == settings
    assert {one.loss.penalty for one in seen} == {"none", "bounded", "hit", "event", "hurdle", "literal"}
    assert {one.detector.view for one in seen} == set(VIEWS)


def test_the_literal_penalty_is_searched_by_its_weight_against_one_tag() -> None:
    """U = 0.5 is lambda 0.5 / 25 where the base is averaged over 25 tags, and 0.5 where it is summed."""
    answers = {PENALTY: "literal", "literal.u": 0.5, RATE: 1e-3, WIDTHS: "64", VIEW: "packets"}
    assert answered(space(), answers).loss.lambda_ == pytest.approx(0.02)
    assert answered(space("loss.reduction=sum"), answers).loss.lambda_ == 0.5


def test_what_is_not_searched_stays() -> None:
    """Lambda alone: the penalty is the configured one or none, and nothing else changes."""
    asked = space("loss.penalty=hit", "network.widths=17", searched=(LAMBDA,))
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    seen = [asked.settings(study.ask()) for _ in range(30)]
    assert {one.loss.penalty for one in seen} == {"none", "hit"}
    assert {(one.network.widths, one.training.learning_rate, one.loss.base) for one in seen} == {((17,), 2e-3, "bce")}
    assert len({one.loss.lambda_ for one in seen if one.loss.penalty == "hit"}) > 5
