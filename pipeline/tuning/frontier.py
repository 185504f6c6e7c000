"""The frontier of a study: silent rate against false-alarm rate, as rows, as text and as a picture."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from models.losses.implied import implied_threshold
from models.losses.settings import LossSettings
from pipeline.report_text import UNKNOWN, table
from pipeline.tuning.space import WEIGHTED
from pipeline.tuning.trial import RATES, Trial, frontier

Plain = dict[str, Any]
SHOWN = 15
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
    """Draw the frontier; implied thresholds as colours, penalties as marks."""
    os.environ.setdefault("MPLBACKEND", "Agg")
    from matplotlib.figure import Figure  # noqa: PLC0415 (takes a second that only a picture is worth)

    figure = Figure(figsize=(7.5, 4.8), layout="constrained")
    axes = figure.add_subplot()
    done = [one for one in found["trials"] if one["state"] == "complete"]
    marks = dict(zip(dict.fromkeys(one["penalty"] for one in done), "osD^vPX*", strict=False))
    for penalty, mark in marks.items():
        these = [one for one in done if one["penalty"] == penalty]
        dots = axes.scatter(
            [_shown(one) for one in these],
            [one["silent_rate"] for one in these],
            c=[one["implied_threshold"] for one in these],
            marker=mark,
            vmin=0,
            vmax=0.5,
            edgecolors="black",
            linewidths=0.5,
            label=penalty,
        )
    line = sorted((_shown(one), one["silent_rate"]) for one in done if one["on_frontier"])
    axes.step(*zip(*line, strict=True), where="post", color="grey", linewidth=1, zorder=0)
    axes.axvline(found["most_alarms"], color="firebrick", linewidth=1, linestyle="--", label="most false alarms")
    best = found["chosen"]
    axes.scatter(_shown(best), best["silent_rate"], s=160, facecolors="none", edgecolors="firebrick", label="chosen")
    axes.set(xscale="log", xlabel="false-alarm rate on folds held out", ylabel="silent rate on folds held out")
    figure.colorbar(dots, label="threshold implied by the loss at a cut of 0.5")
    axes.legend(fontsize="small")
    figure.savefig(path, format=kind, dpi=120)


def _shown(one: Plain) -> float:
    return max(one["false_alarm_rate"], LEAST_RATE)
