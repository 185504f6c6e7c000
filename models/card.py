"""What a detector is, without its network: `detector.json` in its directory."""

import json
from collections.abc import Collection
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from features.errors import ModelError, ModelMismatch
from features.views import PACKETS, missing_text
from models.calibration import Calibration
from models.dataset import TagDataset, columns_of
from models.thresholds import Thresholds
from models.unknown import UnknownCut

FORMAT_VERSION = 1
CARD_FILE = "detector.json"
ADAPTED = "adapt"
"""The part of a card's settings that says how the detector was adapted to a network; absent where it was not."""


@dataclass(frozen=True)
class DetectorCard:
    """What a detector is, without its network.

    Attributes:
        tag_names: In the order of the scores' columns.
        feature_names: In the order of the features' columns.
        schema_version: Of the feature schema it was trained with.
        schema_fingerprint: Of the same.
        thresholds: One a tag, and what they did on the validation flows.
        benign_medians: The typical benign flow, one value a column, None for null; what reasons compare with.
        settings: Of training and thresholds, plain values.
        validation: Figures on the validation flows, plain values.
        view: What the set of its columns is called (`features.views`).
        calibration: Of scores, as measured on the validation flows; None for a network that nobody asks.
        vocabulary: Fingerprint of the vocabulary that its tags are from; empty where nobody said.
        background: What it does on ordinary flows of other networks (`models.background.Background.told`); empty where
            none joined the training.
        unknown: Where flows that no tag names are reported as unknown; None where nothing unknown is looked for.
    """

    tag_names: tuple[str, ...]
    feature_names: tuple[str, ...]
    schema_version: int
    schema_fingerprint: str
    thresholds: Thresholds
    benign_medians: tuple[float | None, ...]
    settings: dict[str, Any]
    validation: dict[str, Any]
    view: str = PACKETS
    calibration: Calibration | None = None
    vocabulary: str = ""
    background: dict[str, Any] = field(default_factory=dict)
    unknown: UnknownCut | None = None

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> "DetectorCard":
        """Build a card from what ``dataclasses.asdict`` and JSON made of it."""
        listed = {name: tuple(plain[name]) for name in ("tag_names", "feature_names", "benign_medians")}
        cut: dict[str, Any] = plain["thresholds"]
        of_tags: dict[str, Any] = {name: tuple(cut[name]) for name in ("values", "sources", "detecting") if name in cut}
        thresholds = Thresholds(**{**cut, **of_tags})
        curves = plain.get("calibration")
        calibration = Calibration.from_dict(curves) if curves else None
        unknown = UnknownCut(**plain["unknown"]) if plain.get("unknown") else None
        told = {"thresholds": thresholds, "calibration": calibration, "unknown": unknown}
        return cls(**{**plain, **listed, **told})

    def require_columns(self, given: Collection[str], fingerprint: str) -> None:
        """Compare what the flows to score give with what the detector needs.

        Args:
            given: Names of the feature columns that the flows' source can give.
            fingerprint: Of the flows' schema.

        Raises:
            ModelMismatch: The schema is another one, or columns are missing; says which.
        """
        needed = self.feature_names
        missing = [name for name in needed if name not in given]
        if missing:
            raise ModelMismatch(
                "the flows lack columns that the detector needs",
                f"detector of the view {self.view!r}",
                f"{len(needed)} columns",
                missing_text(missing),
                "train a detector on flows like these: flowtag train --train SOURCE --valid SOURCE",
            )
        if fingerprint != self.schema_fingerprint:
            raise ModelMismatch(
                "the detector was trained for another feature schema",
                f"schema version {self.schema_version}",
                self.schema_fingerprint,
                fingerprint,
                "extract the flows again with this version, or train a new detector",
            )

    def save(self, directory: Path, digest: str) -> None:
        """Write it into the directory of a detector, with the digest of the network it was written for."""
        plain = {"format": FORMAT_VERSION, "weights": digest, **asdict(self)}
        (directory / CARD_FILE).write_text(json.dumps(plain, indent=1) + "\n", encoding="utf-8")


def benign_medians(dataset: TagDataset) -> tuple[float | None, ...]:
    """Return the typical benign flow: each column's median, None where at least half the benign flows have null."""
    benign = ~dataset.attack
    known = (column[benign & ~np.isnan(column)] for column in columns_of(dataset.features))
    return tuple(float(np.median(part)) if 2 * len(part) > benign.sum() else None for part in known)


def read_card(directory: Path) -> DetectorCard:
    """Return what a detector is, without loading its network.

    Raises:
        ModelError: The directory holds no detector, or a damaged one.
        ModelMismatch: It was written in another format.
    """
    return card_and_digest(directory)[0]


def card_and_digest(directory: Path) -> tuple[DetectorCard, str]:
    """Return what a detector is, and the digest of the network it was written for; errors as `read_card`."""
    path = directory / CARD_FILE
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
        version = plain.pop("format")
    except FileNotFoundError as error:
        raise ModelError("there is no detector here", str(directory), CARD_FILE, "", "flowtag train") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError("the detector's card cannot be read", str(path), "JSON", str(error)) from error
    if version != FORMAT_VERSION:
        raise ModelMismatch("the detector was written in another format", str(path), str(FORMAT_VERSION), str(version))
    try:
        weights = plain.pop("weights")
        return DetectorCard.from_dict(plain), weights
    except (KeyError, TypeError) as error:
        raise ModelError("the detector's card is incomplete", str(path), "", str(error)) from error
