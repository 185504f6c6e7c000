"""A report as text of fixed width, for a terminal or a mail."""

from collections.abc import Collection, Iterator, Sequence
from typing import Any

from features.labels import vocabulary

NAMES = {"detector": "penalised", "plain_bce": "plain BCE at 0.5", "boosting": "boosted trees"}
UNKNOWN = "-"
Plain = dict[str, Any]


def as_text(report: Plain) -> str:
    """Return the whole report."""
    return "\n".join(_lines(report))


def _lines(report: Plain) -> Iterator[str]:
    unknown = f", {report['unknown']:,} of them unknown" if report["unknown"] else ""
    found = f"{report['detections']:,} of {report['flows']:,} flows are detections{unknown}"
    yield f"{report['name']}: {found} ({report['detector']})"
    yield from _packets(report["packets"])
    yield from _records(report["records"])
    yield from _applicability(report["applicability"], report["unknown"])
    if report["nothing_found"]:
        yield f"Nothing was found: {report['nothing_found']}."
    else:
        yield from _what_and_who(report)
    if report["truth"]:
        yield from _truth(report["truth"])


def _applicability(measured: Plain | None, unknown: int) -> Iterator[str]:
    """Say whether the detector may be believed here; it is a statement about the traffic, not about attacks."""
    if measured is None:
        return
    far = f"{measured['share']:.1%} of the flows are unlike what the detector learned from"
    if measured["holds"]:
        yield f"The detector knows this traffic: {far} (limit {measured['limit']:.0%})."
        return
    yield f"THE THRESHOLDS DO NOT HOLD HERE: {far} (limit {measured['limit']:.0%})."
    yield "What fired below may be false, and silence proves nothing: flowtag adapt, by traffic of this network."
    if unknown:
        yield f"The {unknown:,} unknown flows say no more than that: here nearly everything is unlike what was learned."


def _what_and_who(report: Plain) -> Iterator[str]:
    yield ""
    yield "Detections per tag"
    ordered = sorted(report["tags"].items(), key=lambda one: -one[1])
    unknown = [(vocabulary.UNKNOWN, report["unknown"])] if report["unknown"] else []
    yield from table([(tag, f"{flows:,}") for tag, flows in (*ordered, *unknown)])
    yield ""
    if not report["talkers"]:
        yield "The flows name no addresses, so there are no top talkers"
        return
    yield "Top talkers"
    heads = ("source", "detections", "targets", "ports", "mostly")
    yield from table([heads, *(_talker(one) for one in report["talkers"])], words=(0, 4))


def _packets(packets: Plain) -> Iterator[str]:
    if packets:
        skipped = [f"{n:,} {name}" for name, n in packets["skipped"].items()]
        yield f"{packets['read']:,} packets = " + " + ".join([f"{packets['in_flows']:,} in flows", *skipped])


def _records(rows: Plain) -> Iterator[str]:
    if rows:
        rejected = [f"{n:,} {name}" for name, n in rows["rejected"].items()]
        yield f"{rows['read']:,} rows = " + " + ".join([f"{rows['flows']:,} flows", *rejected])


def _talker(talker: Plain) -> tuple[str, ...]:
    numbers = (f"{talker[name]:,}" for name in ("detections", "targets", "ports"))
    return (talker["source"], *numbers, ", ".join(list(talker["tags"])[:3]))


def _truth(truth: Plain) -> Iterator[str]:
    contenders = list(truth)
    first = truth[contenders[0]]
    yield ""
    yield f"Truth is known: {first['attack_flows']:,} attack flows, {first['benign_flows']:,} benign flows"
    rates = (("silent rate", "silent_rate"), ("false-alarm rate", "false_alarm_rate"))
    scores = (("macro F1", "macro_f1"), ("mean average precision", "mean_average_precision"))
    yield from table(
        [
            ("over all tags", *(NAMES.get(name, name) for name in contenders)),
            *((title, *(_percent(truth[name][key]) for name in contenders)) for title, key in rates),
            *((title, *(_ratio(truth[name][key]) for name in contenders)) for title, key in scores),
        ]
    )
    yield from unknown_lines(first)
    yield ""
    yield "Per tag: precision / recall"
    yield from table(
        [("tag", "positives", *(NAMES.get(name, name) for name in contenders)), *_per_tag(truth, contenders)]
    )


def unknown_lines(detector: Plain) -> Iterator[str]:
    """Yield what reporting unknown attacks adds to a detector's tags; nothing for one that looks for none."""
    found = detector.get(vocabulary.UNKNOWN)
    if found:
        silent, alarms = _percent(found["silent_rate"]), _percent(found["false_alarm_rate"])
        yield f"With unknown beside the tags: silent rate {silent}, and {alarms} more false alarms"


def _per_tag(truth: Plain, contenders: Sequence[str]) -> Iterator[tuple[str, ...]]:
    for figures in zip(*(truth[name]["tags"] for name in contenders), strict=True):
        if any(one["positives"] or one["fired"] for one in figures):
            cells = (f"{_ratio(one['precision'])} / {_ratio(one['recall'])}" for one in figures)
            yield (figures[0]["name"], f"{figures[0]['positives']:,}", *cells)


def table(rows: Sequence[Sequence[str]], words: Collection[int] = (0,)) -> Iterator[str]:
    """Yield rows as aligned columns: those of words to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = enumerate(zip(row, widths, strict=True))
        aligned = [text.ljust(width) if at in words else text.rjust(width) for at, (text, width) in cells]
        yield f"  {'  '.join(aligned)}".rstrip()


def _percent(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.2%}"


def _ratio(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.3f}"
