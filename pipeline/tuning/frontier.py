"""The frontier of a study: silent rate against false-alarm rate, as rows, as text and as a picture."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from models.losses.implied import implied_threshold
from models.losses.settings import LossSettings
from pipeline.report_text import UNKNOWN, table
from pipeline.tuning.space import WEIGHTED
from pipeline.tuning.trial import RATES, Trial, frontier

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Plain = dict[str, Any]
SHOWN = 15
MARKS = "osD^vPX*"
LEAST_RATE = 1e-5
"""Where a logarithmic axis shows a rate of 0."""


def rows(trials: Sequence[Trial], n_tags: int) -> list[Plain]:
    """Return every finished trial as plain values: settings, rates as means over folds, implied threshold, folds."""
    best = {one.number for one in frontier(trials)}
    return [{**_row(one, n_tags), "on_frontier": one.number in best} for one in trials]


def _row(one: Trial, n_tags: int) -> Plain:
    loss = one.settings.loss
    means = {name: one.mean(name) if one.outcomes else None for name in RATES}
    return {
        "trial": one.number,
        "state": one.state,
        "penalty": loss.penalty,
        "lambda": loss.lambda_ if loss.penalty in (*WEIGHTED, "literal") else None,
        "base": loss.base,
        "learning_rate": one.settings.training.learning_rate,
        "widths": list(one.settings.network.widths),
        "view": one.settings.detector.view,
        "implied_threshold": implied_threshold(LossSettings(**loss.model_dump()), n_tags),
        **means,
        "failure": one.failure,
        "folds": [outcome.to_dict() for outcome in one.outcomes],
    }


def text(found: Plain) -> Iterator[str]:
    """Yield the account of a study as lines."""
    folds, best = found["folds"], found["chosen"]
    yield (
        f"{found['flows']:,} flows in {folds['count']} folds by {folds['by']}, {found['dropped']:,} left out in gaps; "
        f"{found['counts']['complete']} trials complete, {found['counts']['pruned']} pruned, "
        f"{found['counts']['failed']} failed"
    )
    yield f"means over folds that were held out, thresholds chosen on another, budget {found['budget']:.3%}"
    yield ""
    done = sorted((one for one in found["trials"] if one["state"] == "complete"), key=_order(found["most_alarms"]))
    heads = ("trial", "penalty", "lambda", "base", "rate", "widths", "view", "implied", "silent", "false alarms")
    yield from table([(*heads, "mean AP", ""), *(_cells(one, best) for one in done[:SHOWN])], words=(1, 3, 5, 6, 11))
    if len(done) > SHOWN:
        yield f"  and {len(done) - SHOWN:,} more in the folder of the study"
    yield ""
    yield from _verdict(found)


def _verdict(found: Plain) -> Iterator[str]:
    best, plain = found["chosen"], found["baseline"]
    if best is None:
        yield "No trial was finished: nothing can be chosen."
        return
    yield f"chosen: trial {best['trial']}, {_rates(best)}"
    if plain:
        yield f"without a penalty: trial {plain['trial']}, {_rates(plain)}"
    if not found["within_budget"]:
        yield (
            f"NO TRIAL KEPT FALSE ALARMS BELOW {found['most_alarms']:.3%} on folds that were held out: thresholds of "
            "one fold do not hold on another. This is the one with the least."
        )


def _rates(one: Mapping[str, Any]) -> str:
    silent, alarms, precision = one["silent_rate"], one["false_alarm_rate"], one["mean_average_precision"]
    return f"silent rate {silent:.3%}, false alarms {alarms:.3%}, mean AP {precision:.3f}"


def _order(most_alarms: float) -> Any:  # noqa: ANN401 (a sort key)
    return lambda one: (one["false_alarm_rate"] > most_alarms, one["silent_rate"], -one["mean_average_precision"])


def _cells(one: Plain, best: Plain | None) -> tuple[str, ...]:
    marks = ["frontier"] * one["on_frontier"] + ["chosen"] * bool(best and one["trial"] == best["trial"])
    return (
        str(one["trial"]),
        one["penalty"],
        UNKNOWN if one["lambda"] is None else f"{one['lambda']:.3g}",
        one["base"],
        f"{one['learning_rate']:.2g}",
        ",".join(map(str, one["widths"])),
        one["view"],
        f"{one['implied_threshold']:.3f}",
        f"{one['silent_rate']:.3%}",
        f"{one['false_alarm_rate']:.3%}",
        f"{one['mean_average_precision']:.3f}",
        ", ".join(marks),
    )


def draw(found: Plain, path: Path, kind: Literal["png", "svg"] = "png") -> None:
    """Draw the frontier, both rates on logarithmic axes; implied thresholds as colours, penalties as marks."""
    os.environ.setdefault("MPLBACKEND", "Agg")
    from matplotlib.figure import Figure  # noqa: PLC0415 (takes a second that only a picture is worth)

    figure = Figure(figsize=(7.5, 4.8), layout="constrained")
    axes = figure.add_subplot()
    done = [one for one in found["trials"] if one["state"] == "complete"]
    for penalty, mark in zip(dict.fromkeys(one["penalty"] for one in done), MARKS, strict=False):
        these = [one for one in done if one["penalty"] == penalty]
        alarms, silent = zip(*map(_point, these), strict=True)
        dots = axes.scatter(
            alarms,
            silent,
            c=[one["implied_threshold"] for one in these],
            vmin=0,
            vmax=0.5,
            marker=mark,
            edgecolors="black",
            linewidths=0.5,
            label=penalty,
        )
    line = sorted(_point(one) for one in done if one["on_frontier"])
    axes.step(*zip(*line, strict=True), where="post", color="grey", linewidth=1, zorder=0, label="frontier")
    axes.axvline(found["most_alarms"], color="firebrick", linewidth=1, linestyle="--", label="most false alarms")
    axes.scatter(*_point(found["chosen"]), s=160, facecolors="none", edgecolors="firebrick", label="chosen")
    axes.set(xlabel="false-alarm rate on folds held out", ylabel="silent rate on folds held out")
    _by_decades(axes)
    figure.colorbar(dots, label="threshold implied by the loss at a cut of 0.5")
    figure.legend(loc="outside upper center", ncols=5, fontsize="small")
    figure.savefig(path, format=kind, dpi=120)


def _point(one: Plain) -> tuple[float, float]:
    return max(one["false_alarm_rate"], LEAST_RATE), max(one["silent_rate"], LEAST_RATE)


def _by_decades(axes: "Axes") -> None:
    """Make both axes logarithmic, with ticks in per cent."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter  # noqa: PLC0415

    axes.set(xscale="log", yscale="log")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(FuncFormatter(lambda rate, _: f"{100 * rate:.3g} %"))
        axis.set_minor_formatter(NullFormatter())
