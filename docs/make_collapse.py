"""Draw what a penalty on silence does as its weight grows: python docs/make_collapse.py > docs/collapse.svg.

Each point is a network trained by examples/numpy_training.py on its small set, seeded; it takes seconds.
"""

import io
import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))

from numpy_training import (
    Loss,
    bounded,
    cross_entropy,
    fit,
    hit,
    literal,
    published_cross_entropy,
    rates,
    small_set,
    start,
)

WEIGHTS = (0.0, 0.3, 0.5, 0.7, 0.8, 0.9, 1.0, 1.05, 1.1, 1.3, 2.0, 3.0)
LITERAL, BOUNDED = "#c1440e", "#1f6f8b"


def measured(published: bool) -> np.ndarray:
    """Return silent rate and false-alarm rate for each of WEIGHTS, shape (len(WEIGHTS), 2)."""
    features, tags = small_set(1_000)
    kinds = (literal, published_cross_entropy) if published else (bounded, cross_entropy)
    losses = [Loss(kinds[0], weight, kinds[1]) for weight in WEIGHTS]
    return np.array([rates(fit(start(12, 16, tags), features, tags, loss), features, tags) for loss in losses])


def draw(left: Axes, right: Axes) -> None:
    """Draw false alarms and silence over the weight on the left, the pull on a silent attack flow on the right."""
    for published, colour, name in ((True, LITERAL, "literal"), (False, BOUNDED, "bounded")):
        silent, false_alarms = measured(published).T
        left.plot(WEIGHTS, false_alarms, color=colour, marker="o", markersize=3, label=f"{name}: false alarms")
        left.plot(WEIGHTS, silent, color=colour, linestyle=":", label=f"{name}: silent attacks")
    left.axvline(1.0, color="#888888", linewidth=0.8)
    left.set(xlabel="weight of the penalty, u", ylabel="share of flows, cut at 0.5", title="Collapse at u = 1")
    left.legend(fontsize=7, frameon=False)
    logits = np.linspace(-25, 3, 200)[:, None]
    truth = np.ones_like(logits)
    right.plot(logits, -literal(truth, logits)[1], color=LITERAL, label="literal")
    right.plot(logits, -bounded(truth, logits)[1], color=BOUNDED, label="bounded")
    right.plot(logits, -hit(truth, logits)[1], color="#555555", linestyle="--", label="hit")
    right.set(xlabel="logit of the true tag (one tag)", ylabel="pull upwards, lambda 1", title="An attack flow")
    right.legend(fontsize=7, frameon=False)


def main() -> None:
    """Print the picture, the same bytes each time."""
    mpl.rcParams.update(
        {"svg.hashsalt": "flowtag", "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 9}
    )
    figure = Figure(figsize=(8.4, 3.3), layout="constrained")
    draw(*figure.subplots(1, 2))
    svg = io.StringIO()
    figure.savefig(svg, format="svg", metadata={"Date": None})
    print("\n".join(line.rstrip() for line in svg.getvalue().splitlines()))


main()
