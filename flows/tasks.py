"""The tasks: one stage each, with a readable name. Paths and results go from one to the next, never tables.

A task tries again only after a ServiceError: a wrong file stays wrong. Nothing is cached by Prefect, because each stage
knows by its manifest whether its work is done.
"""
# ruff: noqa: PLC0415 (a task imports what it needs, so that a run that has nothing to train never loads Keras)

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prefect import Task, task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun

from features.errors import ServiceError
from pipeline.manifest import StageResult
from pipeline.settings import Settings

DELAYS_S = [2.0, 10.0, 30.0]


def may_help(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    """Return True where trying again can help: a server or database did not answer."""
    return isinstance(state.result(raise_on_failure=False), ServiceError)


@task(task_run_name="ingest {capture.name}", cache_policy=NO_CACHE)
def ingest_capture(capture: Path, settings: Settings) -> StageResult:
    """Meter one capture, or a folder of captures as one."""
    from pipeline.ingest import ingest

    return ingest(capture, settings)


@task(task_run_name="label {table.stem}", cache_policy=NO_CACHE)
def label_table(table: Path, rules: Path, settings: Settings) -> StageResult:
    """Add the tags of the rules to a feature table."""
    from pipeline.label import label

    return label(table, rules, settings)


@task(name="train", task_run_name="train the detector and two to compare", cache_policy=NO_CACHE)
def train_detector(train: Sequence[Path], valid: Sequence[Path], settings: Settings) -> StageResult:
    """Train on some labelled tables, choose thresholds on others."""
    from pipeline.train import Tables
    from pipeline.train import train as train_stage

    return train_stage(Tables(train, valid), settings)


@task(
    name="register",
    task_run_name="log to MLflow and register the detector",
    cache_policy=NO_CACHE,
    retries=len(DELAYS_S),
    retry_delay_seconds=DELAYS_S,
    retry_condition_fn=may_help,
)
def register_detector(trained: StageResult, settings: Settings) -> "Registered":
    """Log the training to MLflow; the detector becomes challenger, and champion when the verdict accepts it."""
    from pipeline.register import register

    return register(trained, settings)
