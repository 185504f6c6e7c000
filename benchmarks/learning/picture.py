"""The comparison as a picture: one row of panels a test, one line a family, one point a seed."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

Result = dict[str, Any]
Value = Callable[[Result], float | None]

PANEL_WIDTH, LINE_HEIGHT, MARGIN_HEIGHT = 2.6, 0.24, 0.75
"""Inches."""
OURS, OTHERS = "#c0392b", "#34607f"


def draw(results: Sequence[Result], path: Path) -> None:
    """Draw mean AP, then silence beside false alarms at each budget, for every test of every task, as SVG."""
    tests = list({(one["task"], test): None for one in results for test in one["tests"]})
    groups = [_families(results, *test) for test in tests]
    panels = [_panels(test, list(results[0]["tests"][tests[0][1]]["budgets"])) for _, test in tests]
    heights = [MARGIN_HEIGHT + LINE_HEIGHT * len(families) for families in groups]
    with mpl.rc_context({"svg.hashsalt": "results", "font.size": 8}):
        figure = Figure(figsize=(PANEL_WIDTH * len(panels[0]), sum(heights)), layout="constrained")
        axes = figure.subplots(len(tests), len(panels[0]), squeeze=False, height_ratios=heights)
        for row, (task, test), families, shown in zip(axes, tests, groups, panels, strict=True):
            for panel, (title, (value, limit)) in zip(row, shown.items(), strict=True):
                _draw_panel(panel, families, value, limit)
                panel.set_title(title, fontsize=8, loc="right")
            row[0].set_title(f"{task}, {test}", fontsize=8, fontweight="bold", loc="left")
            row[0].set_xlim(0, 1)
            row[0].set_yticks(range(len(families)), list(families))
        figure.savefig(path, metadata={"Date": None})


def _families(results: Sequence[Result], task: str, test: str) -> dict[str, list[Result]]:
    """Return the results of each family on a test, the first one last, since lines are counted upwards."""
    chosen = [one for one in results if one["task"] == task and test in one["tests"]]
    names = reversed(dict.fromkeys(one["family"] for one in chosen))
    return {name: [one for one in chosen if one["family"] == name] for name in names}


def _panels(test: str, budgets: Sequence[str]) -> dict[str, tuple[Value, float | None]]:
    """Return what each panel shows, and the limit drawn in it, by its title."""

    def at(budget: str, name: str) -> Value:
        return lambda one: one["tests"][test]["budgets"][budget][name]

    def precision(one: Result) -> float:
        return float(one["tests"][test]["mean_average_precision"])

    shown: dict[str, tuple[Value, float | None]] = {"mean AP": (precision, None)}
    for budget in budgets:
        share = float(budget)
        shown[f"silent at {share:.1%}"] = (at(budget, "silent_rate"), None)
        shown[f"false alarms at {share:.1%}"] = (at(budget, "false_alarm_rate"), share)
    return shown


def _draw_panel(panel: Axes, families: dict[str, list[Result]], value: Value, limit: float | None) -> None:
    for line, (name, seeds) in enumerate(families.items()):
        known = [found for one in seeds if (found := value(one)) is not None]
        panel.plot(known, [line] * len(known), "o", color=OURS if name.startswith("network") else OTHERS, markersize=4)
    if limit is not None:
        panel.axvline(limit, color="grey", linewidth=0.8, linestyle="--")
    panel.set_yticks(range(len(families)), [])
    panel.set_ylim(-0.6, len(families) - 0.4)
    panel.margins(x=0.1)
    panel.set_xlim(left=0)
    panel.xaxis.set_major_locator(MaxNLocator(4))
    panel.xaxis.set_major_formatter(PercentFormatter(1.0))
    panel.grid(axis="x", linewidth=0.3)
    panel.spines[["top", "right"]].set_visible(False)
