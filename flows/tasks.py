"""The tasks: one stage each, with a readable name. Paths and results go from one to the next, never tables.

A task tries again only after a ServiceError: a wrong file stays wrong. Nothing is cached by Prefect, because each stage
knows by its manifest whether its work is done.
"""
# ruff: noqa: PLC0415 (a task imports what it needs, so that a run that has nothing to train never loads Keras)

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prefect import Task, task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun

from features.errors import ServiceError
from pipeline.adapting.adapted import Adapted, Sources
from pipeline.ingest import ingest
from pipeline.ingest_many import Ingested
from pipeline.manifest import StageResult
from pipeline.registered import Champion, Registered
from pipeline.report import Findings
from pipeline.settings import Settings
from pipeline.train import Tables, train
from pipeline.tuning.choice import TuneChoice

DELAYS_S = [2.0, 10.0, 30.0]


def may_help(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    """Return True where trying again can help: a server or database did not answer."""
    return isinstance(state.result(raise_on_failure=False), ServiceError)


TRYING_AGAIN: dict[str, Any] = {
    "cache_policy": NO_CACHE,
    "retries": len(DELAYS_S),
    "retry_delay_seconds": DELAYS_S,
    "retry_condition_fn": may_help,
}
"""Of a task that talks to MLflow."""


@task(task_run_name="ingest {source.name}", cache_policy=NO_CACHE)
def ingest_traffic(source: Path, settings: Settings, ahead: Ingested | None = None) -> StageResult:
    """Meter a capture or read flow records, as one of several where it is; a folder or a pattern is taken as one."""
    return ahead(source) if ahead else ingest(source, settings)


@task(task_run_name="label {table.stem}", cache_policy=NO_CACHE)
def label_table(table: Path, rules: Path, settings: Settings) -> StageResult:
    """Add the tags of the rules to a feature table."""
    from pipeline.label import label

    return label(table, rules, settings)


@task(name="train", task_run_name="train the detector and two to compare", cache_policy=NO_CACHE)
def train_detector(tables: Tables, settings: Settings) -> StageResult:
    """Train on some labelled tables, choose thresholds on others."""
    return train(tables, settings)


@task(name="tune", task_run_name="search settings by cross-validation", cache_policy=NO_CACHE)
def tune_settings(
    tables: Sequence[Path], choice: TuneChoice, settings: Settings, background: Sequence[Path]
) -> StageResult:
    """Search the settings that are least silent within the budget."""
    from pipeline.tuning.tune import tune

    return tune(tables, choice, settings, background)


@task(name="register", task_run_name="log to MLflow and register the detector", **TRYING_AGAIN)
def register_detector(trained: StageResult, tables: Tables, settings: Settings) -> Registered:
    """Log the training to MLflow; the detector becomes challenger, and champion when the verdict accepts it."""
    from pipeline.register import register

    return register(trained, tables, settings)


@task(name="champion", task_run_name="fetch the champion", **TRYING_AGAIN)
def fetch_champion(table: Path, settings: Settings) -> Champion:
    """Fetch the detector in use for the columns that a table gives from the registry."""
    from features.table import columns_given, open_table
    from pipeline.register import champion

    with open_table(table) as flows:
        given = columns_given(flows)
    return champion(settings, given)


@task(name="adapt", task_run_name="adapt the detector and register it", **TRYING_AGAIN)
def adapt_detector(sources: Sources, detector: str, use: bool, settings: Settings) -> Adapted:
    """Adapt a registered detector to a network by its own traffic."""
    from pipeline.adapting.adapt import adapt

    return adapt(sources, detector, use, settings)


@task(task_run_name="score {table.stem}", cache_policy=NO_CACHE)
def score_table(table: Path, detector: Path, settings: Settings) -> StageResult:
    """Score every flow of a feature table."""
    from pipeline.score import score

    return score(table, detector, settings)


@task(task_run_name="compare with the truth of {labelled.stem}", cache_policy=NO_CACHE)
def evaluate_table(labelled: Path, detector: Path, settings: Settings) -> StageResult:
    """Compare what fired with what really happened, side by side with the other contenders."""
    from pipeline.evaluate import evaluate

    return evaluate(labelled, detector, settings)


@task(task_run_name="examine the detector on {labelled.stem}", cache_policy=NO_CACHE)
def examine_table(labelled: Path, detector: Champion, settings: Settings) -> StageResult:
    """Say all that can be said of how good a detector is on labelled flows."""
    from pipeline.examine import examine

    return examine(labelled, detector, settings)


@task(name="report", task_run_name="report", cache_policy=NO_CACHE)
def write_report(findings: Findings, settings: Settings) -> StageResult:
    """Write the report, and show it among the run's artifacts."""
    from pipeline.report import report

    written = report(findings, settings)
    text = written.path.with_suffix(".txt").read_text("utf-8")
    create_markdown_artifact(f"```\n{text}\n```", _key(f"report-{written.path.stem}"), "What scoring found")
    return written


@task(name="counts", task_run_name="show counts", cache_policy=NO_CACHE)
def show_counts(results: Sequence[StageResult]) -> None:
    """Show what came of each stage among the run's artifacts."""
    rows = [{"artifact": str(one.path), "rows": one.rows, "reused": one.reused, **one.counts} for one in results]
    create_table_artifact(rows, "counts", "What each stage made, and where everything went")


def _key(text: str) -> str:
    """Return a name as Prefect wants it: lower-case letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
