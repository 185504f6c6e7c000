"""The jobs: which stage runs when, recorded by Prefect. Sources are traffic, with rules beside it, or tables."""

from pathlib import Path

from prefect import flow

from features.table import is_feature_table
from flows.tasks import (
    adapt_detector,
    evaluate_table,
    examine_table,
    fetch_champion,
    ingest_traffic,
    label_table,
    register_detector,
    score_table,
    show_counts,
    train_detector,
    tune_settings,
    write_report,
)
from pipeline.adapting.adapted import Adapted, Sources
from pipeline.ingest_many import Ingested, side_by_side
from pipeline.manifest import StageResult, known
from pipeline.registered import Registered
from pipeline.report import Findings
from pipeline.settings import Settings
from pipeline.sources import DemoCaptures, rules_beside
from pipeline.train import Tables
from pipeline.tuning.choice import TuneChoice


@flow(name="ingest", flow_run_name="ingest {sources[0].name}")
def ingest(sources: list[Path], settings: Settings) -> list[StageResult]:
    """Make a feature table of each source, and a labelled one where rules lie beside it."""
    with side_by_side(sources, settings) as ahead:
        made = [table for source in sources for table in _tables(source, settings, ahead)]
    show_counts(made)
    return made


@flow(name="train", flow_run_name="train on {train_on[0].name}")
def train(train_on: list[Path], valid_on: list[Path], settings: Settings) -> Registered:
    """Train on some sources, choose thresholds on others, register the detector and let the verdict decide.

    Ordinary traffic of other networks joins as `background.sources` says.
    """
    others = settings.background.sources
    with side_by_side([*train_on, *valid_on, *others], settings) as ahead:
        learned, judged = ([_tables(one, settings, ahead)[-1] for one in part] for part in (train_on, valid_on))
        ordinary = [_flows(one, settings, ahead) for one in others]
    tables = Tables(*([one.path for one in part] for part in (learned, judged, ordinary)))
    trained = train_detector(tables, settings)
    show_counts([*learned, *judged, *ordinary, trained])
    return register_detector(trained, tables, settings)


@flow(name="tune", flow_run_name="tune on {sources[0].name}")
def tune(sources: list[Path], choice: TuneChoice, settings: Settings) -> StageResult:
    """Search settings by cross-validation over labelled traffic or labelled tables; background joins every training."""
    others = settings.background.sources
    with side_by_side([*sources, *others], settings) as ahead:
        learned = [_tables(source, settings, ahead)[-1] for source in sources]
        ordinary = [_flows(one, settings, ahead) for one in others]
    tuned = tune_settings([one.path for one in learned], choice, settings, [one.path for one in ordinary])
    show_counts([*learned, *ordinary, tuned])
    return tuned


@flow(name="adapt", flow_run_name="adapt to {sources.local[0].name}")
def adapt(sources: Sources, detector: str, use: bool, settings: Settings) -> Adapted:
    """Adapt a registered detector to a network by its unlabelled traffic, and by labelled flows if there are any."""
    with side_by_side([*sources.local, *sources.labelled, *sources.replayed], settings) as ahead:
        local = [_flows(one, settings, ahead) for one in sources.local]
        labelled = [_tables(one, settings, ahead)[-1] for one in sources.labelled]
        replayed = [_tables(one, settings, ahead)[-1] for one in sources.replayed]
    show_counts([*local, *labelled, *replayed])
    tables = Sources(*(tuple(one.path for one in part) for part in (local, labelled, replayed)))
    return adapt_detector(tables, detector, use, settings)


@flow(name="score", flow_run_name="score {source.name}")
def score(source: Path, rules: Path | None, settings: Settings) -> StageResult:
    """Score traffic or a feature table with the champion, and report; with rules, against the truth."""
    flows = _flows(source, settings)
    detector = fetch_champion(flows.path, settings)
    labelled = label_table(flows.path, rules, settings) if rules else None
    detections = score_table(flows.path, detector.folder, settings)
    truth = evaluate_table(labelled.path, detector.folder, settings) if labelled else None
    show_counts([one for one in (flows, labelled, detections) if one])
    return write_report(Findings(flows, detections, detector.title, truth), settings)


@flow(name="evaluate", flow_run_name="evaluate on {source.name}")
def evaluate(source: Path, settings: Settings) -> StageResult:
    """Say how good the champion is on labelled traffic or a labelled table."""
    labelled = _tables(source, settings)[-1]
    detector = fetch_champion(labelled.path, settings)
    return examine_table(labelled.path, detector, settings)


@flow(name="demo", flow_run_name="demo in {settings.state.folder}")
def demo(captures: DemoCaptures, settings: Settings) -> StageResult:
    """Train on the first capture, choose thresholds on the second, score the third and compare with its truth."""
    train([captures.train], [captures.valid], settings)
    return score(captures.score, rules_beside(captures.score), settings)


def _flows(source: Path, settings: Settings, ahead: Ingested | None = None) -> StageResult:
    """Return the feature table of a source, which it may be itself; labels do not matter."""
    return known(source) if is_feature_table(source) else ingest_traffic(source, settings, ahead)


def _tables(source: Path, settings: Settings, ahead: Ingested | None = None) -> list[StageResult]:
    """Return what a source becomes: a table stays; traffic is ingested, and labelled where rules lie beside it."""
    table = _flows(source, settings, ahead)
    rules = None if is_feature_table(source) else rules_beside(source)
    return [table, label_table(table.path, rules, settings)] if rules else [table]
