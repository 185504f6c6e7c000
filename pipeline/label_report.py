"""What labelling did, as plain values for JSON and as text for a person."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from features.labels.equal_rows import TagUnion
from features.labels.labeller import Account
from features.labels.rules import Rule, Truth
from pipeline.report_text import table

Plain = dict[str, Any]
SHOWN = 20


def rules_report(truth: Truth, account: Account, near_s: float) -> Plain:
    """Return the report on labelling by rules or by verdicts that became rules."""
    overlaps = [{"rules": list(pair), "flows": flows} for pair, flows in account.overlaps().items()]
    return {
        "kind": truth.kind,
        **_totals(account),
        "rules": _by_name(truth.rules, account),
        "near_s": near_s,
        "near_flows": account.near_flows,
        "overlaps": overlaps,
        "ignored": dict(truth.ignored),
        "unmapped": dict(truth.unmapped),
    }


def words_report(account: Account) -> Plain:
    """Return the report on labelling by the source's own words."""
    words = [{"name": word, "flows": flows} for word, flows in account.matched.most_common()]
    return {"kind": "source labels", **_totals(account), "words": words, "unmapped": dict(account.unmapped)}


def merged_report(report: Plain, united: TagUnion) -> Plain:
    """Return a report with the totals after rows of equal features got the union of their tags."""
    attack = report["flows"] - united.benign
    return {
        **report,
        "benign": united.benign,
        "attack": attack,
        "tags": dict(united.tags),
        "equal": dict(united.counts),
    }


def counts(report: Plain) -> dict[str, int]:
    """Return the report's numbers as a stage's counts."""
    named = {f"rule.{one['name']}": one["flows"] for one in report.get("rules", ())}
    named |= {f"word.{one['name']}": one["flows"] for one in report.get("words", ())}
    totals = {
        "rules": sum(one["lines"] for one in report.get("rules", ())),
        "rules_unmatched": sum(len(one["unmatched"]) for one in report.get("rules", ())),
        "near_flows": report.get("near_flows", 0),
        "overlapping_rules": len(report.get("overlaps", ())),
        "unmapped": sum(report["unmapped"].values()),
        **{key: report[key] for key in ("benign", "attack")},
        **{f"equal.{name}": number for name, number in report.get("equal", {}).items()},
    }
    return {**totals, **{f"tag.{tag}": flows for tag, flows in report["tags"].items()}, **named}


def report_text(report: Plain) -> str:
    """Return the report as text: totals, a line a rule or word, and what looks wrong."""
    lines = [f"{report['attack']:,} of {report['flows']:,} flows carry tags, {report['benign']:,} are benign", ""]
    if "rules" in report:
        lines += _rules_text(report)
    else:
        lines += table(
            [("word", "flows"), *((one["name"], f"{one['flows']:,}") for one in report["words"])], words=(0,)
        )
    lines += _listed("rows with equal features and different tags", report.get("equal", {}))
    lines += _listed("words without a meaning", report["unmapped"])
    lines += _listed("ignored", report.get("ignored", {}))
    return "\n".join(lines)


def _rules_text(report: Plain) -> list[str]:
    head = ("rule", "lines", "unmatched", "flows", "near", "tags")
    rows = [
        (
            one["name"],
            one["lines"],
            len(one["unmatched"]),
            f"{one['flows']:,}",
            f"{one['near']:,}",
            " ".join(one["tags"]),
        )
        for one in report["rules"]
    ]
    lines = list(table([head, *(tuple(map(str, row)) for row in rows)], words=(0, 5)))
    if report["near_flows"]:
        lines.append(f"\n{report['near_flows']:,} flows lie within {report['near_s']:g} s of a rule and carry no tag")
    shared = {" and ".join(one["rules"]): one["flows"] for one in report["overlaps"]}
    return lines + _listed("flows that two rules share", shared)


def _listed(what: str, counted: Mapping[str, int]) -> list[str]:
    if not counted:
        return []
    ordered = sorted(counted.items(), key=lambda one: -one[1])
    more = [f"  and {len(ordered) - SHOWN:,} more"] if len(ordered) > SHOWN else []
    return [f"\n{what}:", *(f"  {name}: {flows:,}" for name, flows in ordered[:SHOWN]), *more]


def _totals(account: Account) -> Plain:
    tags = {tag: flows for tag, flows in account.tags.items() if flows}
    return {"flows": account.flows, "benign": account.benign, "attack": account.flows - account.benign, "tags": tags}


def _by_name(rules: Sequence[Rule], account: Account) -> list[Plain]:
    """Return rules of one name as one entry: its lines, flows (those of each line added up) and unmatched lines."""
    entries: dict[str, Plain] = {}
    flows_of_line: Counter[tuple[str, int]] = Counter()
    for number, rule in enumerate(rules):
        entry = entries.setdefault(
            rule.name, {"name": rule.name, "tags": list(rule.tags), "lines": 0, "flows": 0, "near": 0, "unmatched": []}
        )
        flows_of_line[rule.name, rule.line] += account.matched[number]
        entry["flows"] += account.matched[number]
        entry["near"] += account.near[number]
    for (name, line), flows in flows_of_line.items():
        entries[name]["lines"] += 1
        if not flows:
            entries[name]["unmatched"].append(line)
    return list(entries.values())
