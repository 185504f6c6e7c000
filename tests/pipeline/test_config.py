"""The configuration: layers, origins, refusals, and agreement with the layers below."""

import json
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest

from features.errors import ConfigError
from pipeline.config import Configuration, known_settings, load
from pipeline.settings import Settings


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work where no flowtag.toml lies."""
    monkeypatch.chdir(tmp_path)


def row(configuration: Configuration, key: str) -> tuple[str, str]:
    """Return value and origin of one setting as they are shown."""
    return next((row.value, row.origin) for row in configuration.rows() if row.key == key)


def toml(tmp_path: Path, text: str, name: str = "flowtag.toml") -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


def test_defaults() -> None:
    """Without file, environment or command line every value is a default."""
    configuration = load(environment={})
    assert configuration.settings == Settings()
    assert {row.origin for row in configuration.rows()} == {"default"}


def test_order_of_layers(tmp_path: Path) -> None:
    """The command line beats the environment, the environment the file, the file the defaults."""
    toml(tmp_path, "[training]\nepochs = 1\nbatch_size = 11\npatience = 111\n")
    variables = {"FLOWTAG_TRAINING__EPOCHS": "2", "FLOWTAG_TRAINING__BATCH_SIZE": "22"}
    configuration = load(overrides=["training.epochs=3"], environment=variables)
    assert row(configuration, "training.epochs") == ("3", "command line")
    assert row(configuration, "training.batch_size") == ("22", "FLOWTAG_TRAINING__BATCH_SIZE")
    assert row(configuration, "training.patience") == ("111", "flowtag.toml")
    assert row(configuration, "training.seed") == ("1", "default")


def test_named_file_replaces_the_one_in_the_folder(tmp_path: Path) -> None:
    """--config FILE is read instead of flowtag.toml."""
    toml(tmp_path, "[training]\nepochs = 1\n")
    other = toml(tmp_path, "[training]\nbatch_size = 7\n", "other.toml")
    settings = load(other, environment={}).settings
    assert (settings.training.epochs, settings.training.batch_size) == (Settings().training.epochs, 7)


def test_lists_are_written_with_commas() -> None:
    """A list of numbers is numbers with commas between them, wherever it is text."""
    assert load(overrides=["network.widths=64,32"], environment={}).settings.network.widths == (64, 32)


def test_variables_of_other_things() -> None:
    """A variable is a setting if it names section and key; with a section that does not exist it is still an error."""
    assert load(environment={"FLOWTAG_DATA": "/data", "FLOWTAG_METER": "x"}).settings == Settings()
    with pytest.raises(ConfigError, match=r"training\.epochs"):
        load(environment={"FLOWTAG_TRAINNG__EPOCHS": "2"})


@pytest.mark.parametrize(
    ("text", "variables", "overrides"),
    [
        ("[training]\nepoch = 1\n", {}, []),
        ("", {"FLOWTAG_TRAINING__EPOCH": "1"}, []),
        ("", {}, ["training.epoch=1"]),
    ],
)
def test_unknown_key_names_the_nearest(
    tmp_path: Path, text: str, variables: dict[str, str], overrides: list[str]
) -> None:
    """An unknown key is an error that names the nearest known one, wherever it stands."""
    toml(tmp_path, text)
    with pytest.raises(ConfigError, match=r"training\.epochs"):
        load(overrides=overrides, environment=variables)


@pytest.mark.parametrize(
    ("override", "word"),
    [
        ("training.epochs=many", "integer"),
        ("training.epochs=0", "greater than 0"),
        ("thresholds.false_alarm_budget=1", "less than 1"),
        ("loss.penalty=loud", "bounded"),
        ("network.widths=64,x", "integer"),
        ("mlflow.model_name=../team/detector", "pattern"),
        ("state.folder=run#3", "a path without"),
        ("meter.idle_timeout_s", "SECTION.KEY=VALUE"),
    ],
)
def test_bad_value_says_where_and_what(override: str, word: str) -> None:
    """A malformed value is an error that names the setting, its origin and what was expected."""
    with pytest.raises(ConfigError, match=word) as raised:
        load(overrides=[override], environment={})
    assert "command line" in str(raised.value)


@pytest.mark.parametrize("text", ["epochs = ", "training = 3", "\xff"])
def test_bad_file(tmp_path: Path, text: str) -> None:
    """A file that is no TOML, no tables or no UTF-8 is a configuration error."""
    path = tmp_path / "flowtag.toml"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigError):
        load(environment={})


def test_missing_named_file(tmp_path: Path) -> None:
    """A file that was named and is not there is an error."""
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path / "none.toml", environment={})


def test_variables_of_prefect_and_mlflow_are_honoured() -> None:
    """PREFECT_API_URL and MLFLOW_TRACKING_URI count, our own names for them count more."""
    theirs = {"PREFECT_API_URL": "http://p/api", "MLFLOW_TRACKING_URI": "http://m"}
    configuration = load(environment={**theirs, "FLOWTAG_MLFLOW__TRACKING_URI": "http://ours"})
    assert row(configuration, "prefect.api_url") == ("http://p/api", "PREFECT_API_URL")
    assert row(configuration, "mlflow.tracking_uri") == ("http://ours", "FLOWTAG_MLFLOW__TRACKING_URI")


def test_passwords_are_masked_where_settings_are_shown() -> None:
    """A password in a URL is neither printed nor serialised, and still used."""
    url = "postgresql://me:se@cret@host/db"
    configuration = load(
        overrides=[f"mlflow.tracking_uri={url}", "prefect.api_url=http://a:secret@b/api"], environment={}
    )
    shown = configuration.settings.model_dump_json() + json.dumps([row.value for row in configuration.rows()])
    assert "cret" not in shown
    assert "postgresql://me:***@host/db" in shown
    assert configuration.settings.tracking_uri == url


def test_frozen() -> None:
    """Settings cannot be changed once they are built."""
    with pytest.raises(ValueError, match="frozen"):
        Settings().training.epochs = 3  # type: ignore[misc]  # the point


def test_state_folder_holds_the_defaults_of_mlflow(tmp_path: Path) -> None:
    """MLflow's database and files lie in the state folder unless they are told otherwise."""
    settings = load(overrides=["state.folder=here"], environment={}).settings
    assert settings.tracking_uri == f"sqlite:///{tmp_path}/here/mlflow.db"
    assert settings.artifact_root == f"file://{tmp_path}/here/mlartifacts"


def test_every_setting_has_a_meaning() -> None:
    """Each setting says what it means, and a number with a unit in its name says the same unit."""
    for key, field in known_settings():
        assert field.description, key
        if key.endswith("_s"):
            assert field.json_schema_extra == {"unit": "s"}, key


def defaults(kind: type) -> dict[str, Any]:
    """Return the plain fields of a dataclass with their defaults, nested settings left out."""
    assert is_dataclass(kind)
    return {one.name: one.default for one in fields(kind) if one.default is not MISSING}


def test_sections_repeat_the_layers_below() -> None:
    """Names and defaults of each section are those of the dataclass it becomes; the budget is in one section only."""
    from features.labels.settings import LabelSettings  # noqa: PLC0415
    from features.metering.meter import MeterSettings  # noqa: PLC0415 (Keras and numba only where they are compared)
    from features.records.settings import RecordSettings  # noqa: PLC0415
    from models.adaptation import AdaptSettings  # noqa: PLC0415
    from models.background import BackgroundSettings  # noqa: PLC0415
    from models.losses import LossSettings  # noqa: PLC0415
    from models.network import NetworkSettings  # noqa: PLC0415
    from models.thresholds import ThresholdSettings  # noqa: PLC0415
    from models.training import TrainingSettings  # noqa: PLC0415
    from models.verdict import VerdictLimits  # noqa: PLC0415

    settings = Settings()
    assert settings.labels.model_dump() == defaults(LabelSettings)
    assert settings.meter.model_dump() == defaults(MeterSettings)
    assert settings.records.model_dump() == defaults(RecordSettings)
    assert settings.network.model_dump() == defaults(NetworkSettings)
    assert settings.loss.model_dump() == defaults(LossSettings)
    budget = settings.thresholds.false_alarm_budget
    assert {**settings.training.model_dump(), "false_alarm_budget": budget} == defaults(TrainingSettings)
    assert settings.thresholds.model_dump() == defaults(ThresholdSettings)
    assert settings.adapt.model_dump() == defaults(AdaptSettings)
    assert settings.background.model_dump(exclude={"sources"}) == defaults(BackgroundSettings)
    assert {**settings.verdict.model_dump(), "false_alarm_budget": budget} == defaults(VerdictLimits)
