"""Sources to tables with no job around them: what `flowtag ingest --unrecorded` runs."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from features.table import is_feature_table
from pipeline.ingest_many import Ingested, side_by_side
from pipeline.label import label
from pipeline.manifest import StageResult, known
from pipeline.settings import Settings
from pipeline.sources import rules_beside


def all_tables(sources: Sequence[Path], settings: Settings) -> list[StageResult]:
    """Return the feature table of each source, behind it the labelled one where rules lie beside the source."""
    with side_by_side(sources, settings) as ingested:
        return [table for source in sources for table in _tables(source, settings, ingested)]


def _tables(source: Path, settings: Settings, ingested: Ingested) -> Iterator[StageResult]:
    if is_feature_table(source):
        yield known(source)
        return
    table = ingested(source)
    yield table
    rules = rules_beside(source)
    if rules:
        yield label(table.path, rules, settings)
