"""The comparison as tables in Markdown: mean over seeds, and the spread from the lowest to the highest."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

Result = dict[str, Any]
Figure = Callable[[Result], float | None]


def markdown(results: Sequence[Result]) -> str:
    """Return one table for each task and test, then the average precision of each tag."""
    tested = {(one["task"], test): None for one in results for test in one["tests"]}
    return "\n\n".join(_test_tables(results, task, test) for task, test in tested)


def _test_tables(results: Sequence[Result], task: str, test: str) -> str:
    chosen = [one for one in results if one["task"] == task and test in one["tests"]]
    groups = {one["family"]: [other for other in chosen if other["family"] == one["family"]] for one in chosen}
    whole = chosen[0]["tests"][test]
    heading = f"**{task}, {test}**: {whole['attack_flows']:,} attack flows of {whole['flows']:,}"
    figures = _figures(test, list(whole["budgets"]))
    rows = [[family, *(_spread(map(figure, group)) for figure in figures.values())] for family, group in groups.items()]
    of_tags = [
        [f"{tag} ({positives:,})", *(_spread(_precision(one, test, tag) for one in group) for group in groups.values())]
        for tag, (positives, _) in whole["tags"].items()
    ]
    tags_head = ["average precision of a tag (flows)", *groups]
    return "\n\n".join([heading, table(["", *figures], rows), table(tags_head, of_tags)])


def _figures(test: str, budgets: Sequence[str]) -> dict[str, Figure]:
    """Return the columns of a test's table."""

    def at(budget: str, name: str) -> Figure:
        return lambda one: one["tests"][test]["budgets"][budget][name]

    columns: dict[str, Figure] = {
        "mean AP": lambda one: one["tests"][test]["mean_average_precision"],
        "silent at 0.5": lambda one: one["tests"][test]["at_half"][0],
        "false alarms at 0.5": lambda one: one["tests"][test]["at_half"][1],
    }
    for budget in budgets:
        columns |= {
            f"silent at {float(budget):.1%}": at(budget, "silent_rate"),
            f"false alarms at {float(budget):.1%}": at(budget, "false_alarm_rate"),
            f"macro F1 at {float(budget):.1%}": at(budget, "macro_f1"),
        }
    return columns | {
        "calibration error": lambda one: one["tests"][test]["calibration_error"],
        "training CPU s": lambda one: one["training_cpu_s"],
        "flows per CPU s": lambda one: one["flows_per_cpu_s"],
    }


def _precision(one: Result, test: str, tag: str) -> float | None:
    precision: float | None = one["tests"][test]["tags"][tag][1]
    return precision


def _spread(values: Iterable[float | None]) -> str:
    """Return the mean, and lowest to highest where seeds differ: 0.845 (0.840-0.850)."""
    known = [value for value in values if value is not None]
    if not known:
        return "-"
    low, mean, high = (_number(float(value)) for value in (min(known), np.mean(known), max(known)))
    return mean if low == high else f"{mean} ({low}-{high})"


def _number(value: float) -> str:
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.3f}" if value >= 0.02 else f"{value:.4f}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = ["| " + " | ".join(line) + " |" for line in (head, *rows)]
    return "\n".join([lines[0], "|" + "---|" * len(head), *lines[1:]])
