"""Stage: labelled tables to a detector, beside the two contenders it is held against."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from features.errors import InputError
from features.labels.vocabulary import read_vocabulary
from features.schema import FEATURE_NAMES, fingerprint
from features.table import columns_given, open_table
from features.views import PACKETS, View, view_of
from pipeline.manifest import Built, Plan, StageResult, digest, run_once
from pipeline.settings import Settings

VERSION = 7
DETECTOR, TRAINING_FILE = "detector", "training.json"
"""What a folder of contenders calls the detector's directory, and the account of how all of them came about."""


@dataclass(frozen=True)
class Tables:
    """Labelled tables to learn from, and others, of other captures, to choose thresholds on.

    Attributes:
        train: To learn from.
        valid: To choose thresholds on.
        background: Of ordinary traffic of other networks, labelled or not, that joins the training.
    """

    train: Sequence[Path]
    valid: Sequence[Path]
    background: Sequence[Path] = ()

    @property
    def by_role(self) -> dict[str, Sequence[Path]]:
        """The tables of each role."""
        return {"train": self.train, "valid": self.valid, "background": self.background}

    def digests(self) -> dict[str, str]:
        """Return the content of each by its role."""
        return {
            f"{role} {number}": digest(table)
            for role, tables in self.by_role.items()
            for number, table in enumerate(tables)
        }


def train(tables: Tables, settings: Settings) -> StageResult:
    """Train the detector and its contenders; the artifact is a folder as `pipeline.contenders` describes it.

    What a kill breaks off goes on behind the last finished epoch, as long as tables and settings stay the same.

    Raises:
        InputError: A table is missing, unlabelled or of another schema version, or the two sets share one.
        ModelError: Training diverged, or no usable threshold could be chosen.
    """
    for role, ones in tables.by_role.items():
        for table in ones:
            open_table(table, labelled=role != "background").close()
    asked = plan(tables, settings)
    _require_apart(asked.inputs)
    trainings = asked.artifact.with_name(f".{asked.artifact.name}.training")
    trained = run_once(asked, lambda artifact: _fitted(tables, settings, artifact, trainings / asked.key))
    shutil.rmtree(trainings, ignore_errors=True)
    return trained


def plan(tables: Tables, settings: Settings) -> Plan:
    """Return what a training depends on: the tables' content, its settings, schema and vocabulary.

    Raises:
        ModelMismatch: The tables lack columns of the view that the settings ask for.
    """
    return Plan(
        "train",
        VERSION,
        detector_folder(settings, chosen_view(tables, settings).name),
        tables.digests(),
        {
            **_chosen(tables, settings),
            "schema": fingerprint(),
            "vocabulary": read_vocabulary(settings.labels.vocabulary).fingerprint,
        },
    )


def chosen_view(tables: Tables, settings: Settings) -> View:
    """Return the view to train for: the one asked for, or the largest whose columns all tables give.

    Raises:
        ModelMismatch: The tables lack columns of the view that the settings ask for.
    """
    return view_of(given_by((*tables.train, *tables.valid, *tables.background)), settings.detector.view)


def given_by(tables: Sequence[Path]) -> frozenset[str]:
    """Return the feature columns that all tables give."""
    given = frozenset(FEATURE_NAMES)
    for path in tables:
        with open_table(path) as table:
            given &= columns_given(table)
    return given


def detector_folder(settings: Settings, view: str = PACKETS) -> Path:
    """Return where the contenders trained for a view lie, whether or not they do yet."""
    return settings.state.root / "detectors" / in_view(settings.mlflow.model_name, view)


def in_view(name: str, view: str) -> str:
    """Return what is called by a name for packets, for another view: champion-biflow."""
    return name if view == PACKETS else f"{name}-{view}"


def modules_needed(settings: Settings) -> tuple[str, ...]:
    """Return the slow modules that a training will ask for, fewer where one has finished: it is likely used again."""
    return ("pipeline.register", *(() if detector_folder(settings).exists() else ("pipeline.fitting",)))


def _chosen(tables: Tables, settings: Settings) -> dict[str, Any]:
    sections = ("detector", "network", "loss", "training", "thresholds", "unknown")
    chosen = {name: getattr(settings, name).model_dump(mode="json") for name in sections}
    background = settings.background.model_dump(mode="json", exclude={"sources"}) if tables.background else {}
    return {**chosen, **({"background": background} if background else {})}


def _require_apart(inputs: Mapping[str, str]) -> None:
    train, valid, background = (
        {inputs[role] for role in inputs if role.startswith(kind)} for kind in ("train", "valid", "background")
    )
    if train & valid:
        raise InputError(
            "the same flows for training and validation",
            "flowtag train",
            "another capture to choose thresholds on",
            next_step="name other tables with --valid",
        )
    if background & (train | valid):
        raise InputError(
            "the same flows as labelled traffic and as background",
            "flowtag train",
            "ordinary traffic of other networks",
            next_step="name other sources with --background",
        )


def _fitted(tables: Tables, settings: Settings, artifact: Path, kept: Path) -> Built:
    from pipeline.fitting import fit  # noqa: PLC0415 (brings Keras, which a finished stage needs not)

    return fit(tables, settings, artifact, kept)
