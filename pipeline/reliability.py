"""Reliability curves as a picture: of flows and tags whose probabilities are alike, the share that is true."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from models.calibration import ReliabilityBin


def draw_reliability(curves: Mapping[str, Sequence[ReliabilityBin]], path: Path) -> None:
    """Draw curves by their names as PNG, beside the line on which probabilities are true."""
    os.environ.setdefault("MPLBACKEND", "Agg")
    from matplotlib.figure import Figure  # noqa: PLC0415 (takes a second that only a picture is worth)

    figure = Figure(figsize=(5, 4.5), layout="constrained")
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color="grey", linewidth=1, label="true")
    for name, bins in curves.items():
        axes.plot([one.mean for one in bins], [one.true for one in bins], marker="o", markersize=4, label=name)
    axes.set(xlabel="mean of the bin", ylabel="share of flows that carry the tag", xlim=(0, 1), ylim=(0, 1))
    axes.legend()
    figure.savefig(path, format="png", dpi=120)
