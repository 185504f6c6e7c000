"""The configuration: defaults, then a file, then the environment, then the command line, each value with its origin.

The only module that reads settings from files or the environment. Importing it does nothing.
"""

import difflib
import os
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from features.errors import ConfigError
from pipeline.settings import Section, Settings

FILE_NAME = "flowtag.toml"
PREFIX = "FLOWTAG_"
OTHERS_NAMES = {"PREFECT_API_URL": "prefect.api_url", "MLFLOW_TRACKING_URI": "mlflow.tracking_uri"}
"""Variables of the tools below that are honoured; our own name for the same setting wins."""

DEFAULT = "default"


@dataclass(frozen=True)
class ConfigRow:
    """One setting as it is shown; passwords inside URLs are masked."""

    key: str
    value: str
    unit: str
    origin: str
    meaning: str


@dataclass(frozen=True)
class Configuration:
    """The settings of this run and where each one that is no default came from."""

    settings: Settings
    origins: Mapping[str, str]

    def rows(self) -> list[ConfigRow]:
        """Return every setting, in order."""
        shown = self.settings.model_dump(mode="json")
        return [
            ConfigRow(
                key, _text(_at(shown, key)), _unit(field), self.origins.get(key, DEFAULT), field.description or ""
            )
            for key, field in known_settings()
        ]


def load(
    config_file: Path | None = None,
    overrides: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> Configuration:
    """Build the settings.

    Args:
        config_file: A TOML file with a table for each section; without it `flowtag.toml` in the working directory, if
            there is one.
        overrides: The command line's "section.key=value", the strongest.
        environment: Variables FLOWTAG_SECTION__KEY; the process's own when None. Names without __ are no settings.

    Raises:
        ConfigError: A key is unknown (the nearest known one is named), a value is malformed, the file cannot be read.
    """
    chosen: dict[str, Any] = {}
    origins: dict[str, str] = {}
    layers = (
        _from_file(config_file),
        _from_environment(os.environ if environment is None else environment),
        _from_command_line(overrides),
    )
    for layer in layers:
        for key, value, origin in layer:
            _require_known(key, origin)
            chosen[key], origins[key] = value, origin
    return Configuration(_validated(chosen, origins), origins)


def known_settings() -> Iterator[tuple[str, FieldInfo]]:
    """Yield every setting's key and field, in order: ("meter.idle_timeout_s", ...)."""
    for section, outer in Settings.model_fields.items():
        kind = outer.annotation
        if isinstance(kind, type) and issubclass(kind, Section):
            for name, field in kind.model_fields.items():
                yield f"{section}.{name}", field


Values = Iterator[tuple[str, Any, str]]


def _from_file(given: Path | None) -> Values:
    path = given or Path(FILE_NAME)
    if given is None and not path.is_file():
        return
    try:
        tables = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError("the configuration file cannot be read", str(path), "a TOML file", str(error)) from error
    for section, values in tables.items():
        for key, value in values.items() if isinstance(values, dict) else ():
            yield f"{section}.{key}", value, str(path)
        if not isinstance(values, dict):
            yield section, values, str(path)


def _from_environment(variables: Mapping[str, str]) -> Values:
    for name, key in OTHERS_NAMES.items():
        if variables.get(name):
            yield key, variables[name], name
    for name in sorted(variables):
        section, parted, key = name.removeprefix(PREFIX).lower().partition("__")
        if name.startswith(PREFIX) and parted:
            yield f"{section}.{key}", variables[name], name


def _from_command_line(overrides: Sequence[str]) -> Values:
    for text in overrides:
        key, equals, value = text.partition("=")
        if not equals:
            raise ConfigError("a setting without a value", "command line", "--set SECTION.KEY=VALUE", repr(text))
        yield key.strip(), value.strip(), "command line"


def _require_known(key: str, origin: str) -> None:
    known = [name for name, _ in known_settings()]
    if key not in known:
        nearest = difflib.get_close_matches(key, known, n=1, cutoff=0)[0]
        raise ConfigError(f"unknown setting {key!r}", origin, f"did you mean {nearest!r}?", next_step="flowtag config")


def _validated(chosen: Mapping[str, Any], origins: Mapping[str, str]) -> Settings:
    nested: dict[str, dict[str, Any]] = {}
    for key, value in chosen.items():
        section, _, name = key.partition(".")
        nested.setdefault(section, {})[name] = value
    try:
        return Settings.model_validate(nested)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"][:2])
        origin = ", ".join(dict.fromkeys(origins[name] for name in origins if name.startswith(key))) or DEFAULT
        raise ConfigError(
            f"bad value of {key}", origin, first["msg"].removeprefix("Value error, "), repr(first["input"])
        ) from error


def _at(nested: Mapping[str, Any], key: str) -> object:
    section, _, name = key.partition(".")
    return nested[section][name]


def _text(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _unit(field: FieldInfo) -> str:
    extra = field.json_schema_extra
    return str(extra.get("unit", "")) if isinstance(extra, dict) else ""
