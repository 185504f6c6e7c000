"""Stage: a feature table and truth about its flows to a labelled table, with a report beside it."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from features.errors import LabelError
from features.labels.equal_rows import TagUnion
from features.labels.labeller import SOURCE_LABEL, RuleLabeller, WordLabeller
from features.labels.rules import Truth
from features.labels.settings import LabelSettings
from features.labels.speech import named, noted
from features.labels.truth import read_truth
from features.labels.vocabulary import Vocabulary, read_vocabulary
from features.schema import arrow_schema, fingerprint, labelled_schema
from features.table import columns_given, giving, open_table, write_table
from pipeline.label_report import counts, merged_report, rules_report, words_report
from pipeline.manifest import Built, Plan, StageResult, digest, run_once, write_atomically
from pipeline.progress import counted, say
from pipeline.settings import Settings

VERSION = 3
NAMED = 3
REPORT_SUFFIX = ".labels.json"
REPORT_KEY = "flowtag.label_report"


def label(table: Path, truth: Path | None, settings: Settings) -> StageResult:
    """Add to each flow its tags and the names of the rules behind them.

    Args:
        table: A feature table.
        truth: Rules, or another tool's verdicts, told by content; None for the labels that the source itself gave.
        settings: The vocabulary and how truth is joined, among others.

    Returns:
        Counts: rules, rules_unmatched, benign, attack, flows per tag (tag.NAME) and per rule (rule.NAME), and more. The
        report lies beside the table, see `report_path`.

    Raises:
        SchemaError: The table is not a feature table of this version.
        LabelError: The truth cannot be read, has an unknown tag, or matches nothing where it should.
    """
    chosen = label_settings(settings)
    vocabulary = read_vocabulary(chosen.vocabulary)
    open_table(table).close()
    read = read_truth(truth, vocabulary, chosen) if truth else None
    plan = Plan(
        "label",
        VERSION,
        settings.state.root / "labelled" / table.name,
        {"table": digest(table), **({"truth": digest(truth)} if truth else {})},
        {
            "schema": fingerprint(),
            "vocabulary": vocabulary.whole_fingerprint,
            "labels": {**asdict(chosen), "vocabulary": None},
        },
    )
    stage = _Stage(table, truth, read, vocabulary, chosen)
    result = run_once(plan, stage.build)
    write_report(result.path)
    return result


def label_settings(settings: Settings) -> LabelSettings:
    """Return the label settings that the configuration asks for."""
    return LabelSettings(**settings.labels.model_dump())


def report_path(labelled: Path) -> Path:
    """Return where the report on a labelled table lies."""
    return labelled.with_suffix(REPORT_SUFFIX)


def write_report(labelled: Path) -> None:
    """Write the report that travels in a labelled table beside it, unless it lies there."""
    text = (pq.read_metadata(labelled).metadata or {}).get(REPORT_KEY.encode(), b"{}").decode() + "\n"
    path = report_path(labelled)
    if not path.is_file() or path.read_text("utf-8") != text:
        write_atomically(path, text)


class _Stage:
    """One labelling on its way."""

    def __init__(
        self, table: Path, path: Path | None, truth: Truth | None, vocabulary: Vocabulary, settings: LabelSettings
    ) -> None:
        self._table, self._path, self._truth = table, path, truth
        self._vocabulary, self._settings = vocabulary, settings
        of_truth = truth.speaks_of if truth else ()
        self._spoken = named(settings.speaks_of, vocabulary, "labels.speaks_of") or of_truth

    def build(self, artifact: Path) -> Built:
        """Write the labelled table."""
        labeller = self._labeller()
        report: dict[str, Any] = {}

        def notes() -> dict[str, str]:
            """Look at what was done, once all rows have passed and before the table is finished."""
            report.update(self._report(labeller, united))
            return {REPORT_KEY: json.dumps(report, indent=1)}

        with open_table(self._table) as source:
            if not self._truth:
                _require_words(source, self._table)
            united = self._united(source) if self._settings.merge_equal else None
            schema = giving(labelled_schema(), columns_given(source))
            spoken = noted(self._spoken, self._vocabulary)
            schema = schema.with_metadata({**schema.metadata, **self._vocabulary.metadata(), **spoken})
            batches = labeller.label(_rows(source))
            told = counted(united.apply(batches) if united else batches, f"labelling {self._table.stem}")
            written = write_table(told, artifact, schema, notes)
        say(f"{self._table.stem}: {report['attack']:,} of {written.rows:,} flows carry tags, by {report['kind']}")
        if self._spoken:
            say(f"{self._table.stem}: {len(self._spoken)} of {len(self._vocabulary.names)} tags are known")
        return Built(written.rows, counts(report), written.columns_present)

    def _labeller(self) -> RuleLabeller | WordLabeller:
        if self._truth is None:
            return WordLabeller(self._vocabulary)
        return RuleLabeller(self._truth.rules, self._vocabulary, self._settings.near_s)

    def _united(self, source: pq.ParquetFile) -> TagUnion:
        """Look at all rows and their tags once, to know which equal ones differ."""
        united = TagUnion(self._vocabulary)
        united.learn(counted(self._labeller().label(_rows(source)), f"comparing the flows of {self._table.stem}"))
        return united

    def _report(self, labeller: RuleLabeller | WordLabeller, united: TagUnion | None) -> dict[str, Any]:
        """Return the report on what was done.

        Raises:
            LabelError: What should have matched or had a meaning did not.
        """
        account = labeller.account
        if self._truth and isinstance(labeller, RuleLabeller):
            self._judge_rules(self._truth, labeller)
            report = rules_report(self._truth, account, self._settings.near_s)
        else:
            report = words_report(account)
        self._judge_words(report["unmapped"])
        report["tags_known"] = list(self._spoken or self._vocabulary.names)
        return merged_report(report, united) if united else report

    def _judge_rules(self, truth: Truth, labeller: RuleLabeller) -> None:
        """Refuse rules that match nothing, and verdicts of which none does; say it where it is allowed."""
        unmatched = labeller.unmatched()
        if not unmatched:
            return
        named = ", ".join(f"{rule.name} (line {rule.line})" for rule in unmatched[:NAMED])
        allowed = truth.allow_unmatched or self._settings.allow_unmatched
        if allowed or (truth.kind != "rules" and labeller.account.matched):
            say(f"{self._table.stem}: {len(unmatched):,} entries match no flow, such as {named}")
            return
        raise LabelError(
            f"{len(unmatched):,} of {len({rule.line for rule in truth.rules}):,} {truth.kind} match no flow",
            str(self._path),
            f"each to match a flow of {self._table.name}",
            f"{named}; {labeller.account.near_flows:,} flows are within {self._settings.near_s:g} s of a rule's time",
            "look at times and time zone (--clock-offset-s, --time-zone), or allow it with --allow-unmatched",
        )

    def _judge_words(self, unmapped: dict[str, int]) -> None:
        if not unmapped or self._settings.allow_unmapped:
            return
        ordered = sorted(unmapped.items(), key=lambda one: -one[1])
        raise LabelError(
            f"{len(unmapped):,} words have no meaning in the vocabulary",
            str(self._path or self._table),
            "words that the vocabulary maps to tags",
            ", ".join(f"{word!r} ({flows:,})" for word, flows in ordered[:NAMED]),
            "map them in a vocabulary of your own (docs/labels.md), or allow them with --allow-unmapped",
        )


def _rows(source: pq.ParquetFile) -> Iterator[pa.RecordBatch]:
    return source.iter_batches(columns=arrow_schema().names)


def _require_words(source: pq.ParquetFile, table: Path) -> None:
    if SOURCE_LABEL in source.schema_arrow.names:
        column = source.read([SOURCE_LABEL]).column(0)
        if column.null_count < len(column):
            return
    raise LabelError(
        "the table carries no labels of its source",
        str(table),
        f"a column {SOURCE_LABEL} with words in it",
        "none",
        "flowtag label TABLE RULES",
    )
