"""Stage: a labelled table and a detector to all that can be said of how good it is there, as JSON and as text."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from features.table import open_table
from pipeline.evaluate import trained_beside
from pipeline.manifest import Built, Plan, StageResult, digest, run_once
from pipeline.progress import say
from pipeline.registered import Champion
from pipeline.report_text import NAMES, UNKNOWN, table, unknown_lines
from pipeline.settings import Settings
from pipeline.traffic import table_name

VERSION = 5
CONFUSIONS_SHOWN = 10
EXAMINED, TEXT = "examined.json", "examined.txt"

Plain = dict[str, Any]


def examine(labelled: Path, detector: Champion, settings: Settings) -> StageResult:
    """Score flows whose truth is known; the artifact is a folder with EXAMINED and TEXT.

    The contenders trained beside the detector stand beside it where they are known.

    Raises:
        InputError: The table has no labels or another schema.
        ModelMismatch: The detector was trained for another schema.
    """
    open_table(labelled, labelled=True).close()
    beside = trained_beside(detector.folder, settings)
    inputs = {"labelled": digest(labelled), "detector": digest(detector.folder)}
    if beside:
        inputs["contenders"] = digest(beside)
    artifact = settings.state.root / "reports" / f"{table_name(labelled)}.examined"
    told = {"title": detector.title, "thresholds": settings.thresholds.model_dump(mode="json")}
    plan = Plan("examine", VERSION, artifact, inputs, told)
    return run_once(plan, lambda artifact: _examined(labelled, detector, beside, settings, artifact))


def _examined(labelled: Path, detector: Champion, beside: Path | None, settings: Settings, artifact: Path) -> Built:
    from models.card import read_card  # noqa: PLC0415
    from pipeline.contenders import contenders_on  # noqa: PLC0415 (bring Keras, which a finished stage needs not)
    from pipeline.examination import examination  # noqa: PLC0415

    flows, contenders = contenders_on(labelled, detector.folder, beside)
    found = {"table": labelled.stem, "detector": detector.title, **examination(labelled, flows, contenders, settings)}
    found["background"] = read_card(detector.folder).background
    artifact.mkdir()
    (artifact / EXAMINED).write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    (artifact / TEXT).write_text("\n".join(_lines(found)) + "\n", "utf-8")
    say(f"{labelled.stem}: examined {', '.join(found['contenders'])} on {len(flows):,} flows")
    return Built(len(flows), {"contenders": len(contenders)})


def _lines(found: Plain) -> Iterator[str]:
    contenders: Plain = found["contenders"]
    names = [NAMES.get(name, name) for name in contenders]
    first = next(iter(contenders.values()))
    yield f"{found['table']}: {first['attack_flows']:,} attack flows and {first['benign_flows']:,} benign flows"
    yield f"{_length(found['hours'])}, scored with {found['detector']}"
    yield ""
    yield from table([("at their own thresholds", *names), *_overall(list(contenders.values()))])
    yield from _elsewhere(found["background"])
    yield from unknown_lines(first)
    yield ""
    yield "Per tag, of the detector"
    yield from table([("tag", "positives", "fired", "precision", "recall", "average precision"), *_tags(first)])
    yield ""
    yield from _reliable(first)
    yield "Silent rate with one cut for all tags that spends a budget of false alarms on these very flows"
    yield from table([("budget", *names), *_budgets(list(contenders.values()))], words=())
    if found["rechosen"]:
        yield ""
        yield "What thresholds chosen on the validation flows keep of their promise here: flowtag thresholds --budget"
        heads = ("budget", "false-alarm rate", "silent rate", "macro F1")
        yield from table([heads, *(_promise(one) for one in found["rechosen"])], words=())
    if first["confusions"]:
        yield ""
        yield "Tags that fired in place of others, of the detector"
        heads = ("true", "fired", "flows", "share")
        rows = [(one["true"], one["fired"], f"{one['flows']:,}", f"{one['share']:.1%}") for one in first["confusions"]]
        yield from table([heads, *rows[:CONFUSIONS_SHOWN]], words=(0, 1))


def _elsewhere(background: Plain) -> Iterator[str]:
    """Yield what the detector does on ordinary traffic of other networks, if it was trained with some."""
    if background:
        rate, held_out = background["false_alarm_rate"], background["held_out"]
        yield f"  false-alarm rate of the detector on {held_out:,} held-out flows of other networks: {_percent(rate)}"


def _reliable(detector: Plain) -> Iterator[str]:
    """Yield how far the detector's probabilities may be believed; nothing for one that gives none."""
    read = detector["calibration"].get("probabilities")
    if not read:
        return
    scores = detector["calibration"]["scores"]
    yield "Probabilities of the detector: calibration error of tags with flows here, and of the scores behind them"
    rows = [("tag", "positives", "probabilities", "scores")]
    for tag in detector["tags"]:
        if tag["positives"]:
            errors = (_number(kind["tags"][tag["name"]], 4) for kind in (read, scores))
            rows.append((tag["name"], f"{tag['positives']:,}", *errors))
    yield from table([*rows, ("all pairs of flow and tag", "", _number(read["error"], 4), _number(scores["error"], 4))])
    yield ""
    yield "Reliability: of the pairs of flow and tag whose probabilities are alike, the share that is true"
    bins = [(f"{one['mean']:.3f}", f"{one['true']:.3f}", f"{one['pairs']:,}") for one in read["reliability"]]
    yield from table([("probability", "true", "pairs"), *bins], words=())
    yield ""


def _length(hours: float) -> str:
    """Return how long the traffic is; flows that name no times have no intervals either, which are by blocks of it."""
    return f"95 % intervals, by blocks of time: {hours:.2f} hours of traffic" if hours else "flows without times"


def _overall(contenders: list[Plain]) -> Iterator[tuple[str, ...]]:
    for title, name in (("silent rate", "silent_rate"), ("false-alarm rate", "false_alarm_rate")):
        yield (title, *(_percent(one[name], one["intervals"].get(name)) for one in contenders))
    yield ("false alarms per hour", *(_number(one["false_alarms_per_hour"], 1) for one in contenders))
    ratios = ("macro_f1", "micro_f1", "mean_average_precision", "exact_match", "calibration_error")
    for name in ratios:
        yield (name.replace("_", " ").replace("f1", "F1"), *(_number(one[name], 3) for one in contenders))


def _tags(detector: Plain) -> Iterator[tuple[str, ...]]:
    for tag in detector["tags"]:
        if tag["positives"] or tag["fired"]:
            figures = [
                _number(tag[name], 3, detector["intervals"].get(f"{tag['name']}.{name}"))
                for name in ("precision", "recall", "average_precision")
            ]
            yield (tag["name"], f"{tag['positives']:,}", f"{tag['fired']:,}", *figures)


def _budgets(contenders: list[Plain]) -> Iterator[tuple[str, ...]]:
    for at, first in enumerate(contenders[0]["at_budgets"]):
        yield (f"{first['budget']:.2%}", *(_percent(one["at_budgets"][at]["silent_rate"]) for one in contenders))


def _promise(one: Plain) -> tuple[str, ...]:
    rates = (_percent(one[name]) for name in ("false_alarm_rate", "silent_rate"))
    return (f"{one['budget']:.2%}", *rates, _number(one["macro_f1"], 3))


def _percent(value: float | None, interval: list[float] | None = None) -> str:
    if value is None:
        return UNKNOWN
    return f"{value:.2%}" + (f" ({interval[0]:.2%} to {interval[1]:.2%})" if interval else "")


def _number(value: float | None, digits: int, interval: list[float] | None = None) -> str:
    if value is None:
        return UNKNOWN
    within = f" ({interval[0]:.{digits}f} to {interval[1]:.{digits}f})" if interval else ""
    return f"{value:.{digits}f}{within}"
