"""A small training under the backend of KERAS_BACKEND: its detector and its scores into a folder; run as a script."""

import sys
from pathlib import Path

import numpy as np

from models.training import train_network
from tests.models.conftest import SMALL, cut_by, small_world


def main(folder: Path) -> None:
    """Train, save, load, score."""
    train, valid = small_world(2_000, 1), small_world(2_000, 2)
    trained = train_network(train, valid, SMALL, kept=folder / "kept")
    detector = cut_by(trained, train, valid)
    detector.save(folder / "detector")
    answers = type(detector).load(folder / "detector").answers(valid.features)
    np.savez(folder / "scores.npz", scores=answers.scores, history=[epoch.validation_loss for epoch in trained.history])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
