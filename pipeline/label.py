"""Stage: a feature table and the rules of truth to a labelled table."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from features.labels.rules import Labeller, Rule, read_rules
from features.labels.vocabulary import Vocabulary, read_vocabulary
from features.schema import fingerprint, labelled_schema
from features.table import columns_given, giving, open_table, write_table
from pipeline.manifest import Built, Plan, StageResult, digest, run_once
from pipeline.progress import counted, say
from pipeline.settings import Settings

VERSION = 2
NAMED = 3


def label(table: Path, rules: Path, settings: Settings) -> StageResult:
    """Add to each flow the tags and the names of the rules that match it.

    Returns:
        Counts: rules, rules_unmatched, benign, attack, flows per tag (tag.NAME) and per rule (rule.NAME).

    Raises:
        SchemaError: The table is not a feature table of this version.
        LabelError: A rule cannot be read or has an unknown tag.
    """
    vocabulary = read_vocabulary()
    open_table(table).close()
    read_rules(rules, vocabulary)
    plan = Plan(
        "label",
        VERSION,
        settings.state.root / "labelled" / table.name,
        {"table": digest(table), "rules": digest(rules)},
        {"schema": fingerprint(), "vocabulary": vocabulary.fingerprint},
    )
    return run_once(plan, lambda artifact: _labelled(table, rules, vocabulary, artifact))


def _labelled(table: Path, rules: Path, vocabulary: Vocabulary, artifact: Path) -> Built:
    read = read_rules(rules, vocabulary)
    labeller = Labeller(read, vocabulary)
    with open_table(table) as source:
        batches = counted(labeller.label(source.iter_batches()), f"labelling {table.stem}")
        written = write_table(batches, artifact, giving(labelled_schema(), columns_given(source)))
    if unmatched := labeller.unmatched():
        named = ", ".join(f"{rule.name} (line {rule.line})" for rule in unmatched[:NAMED])
        say(f"{table.stem}: {len(unmatched)} rules match no flow, such as {named}")
    counts = _counts(read, labeller, written.rows)
    say(f"{table.stem}: {counts['attack']:,} of {written.rows:,} flows carry tags, by {counts['rules']} rules")
    return Built(written.rows, counts, written.columns_present)


def _counts(rules: Sequence[Rule], labeller: Labeller, rows: int) -> dict[str, int]:
    counts = Counter({f"tag.{tag}": flows for tag, flows in labeller.flows_per_tag.items() if flows})
    for rule, flows in zip(rules, labeller.flows_per_rule.tolist(), strict=True):
        counts[f"rule.{rule.name}"] += flows
    totals = {"rules": len(rules), "rules_unmatched": len(labeller.unmatched())}
    return {**totals, "benign": labeller.benign, "attack": rows - labeller.benign, **counts}
