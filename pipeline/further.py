"""Captures that grow, run after run: each run meters what has come since the last one, every packet exactly once.

`features/NAME.runs/NAME-000001/` is a run: the table of the flows that were complete by then, and what was kept of the
others. Both come into place with one rename of their folder, so a run that was killed has left nothing and its packets
are read again, and one that was not has left both. A run begins where the folder of the highest number ended.
"""

import re
from dataclasses import replace
from pathlib import Path

from features.extract import Extraction, extract
from features.kept import Kept
from features.metering.meter import MeterSettings
from features.schema import arrow_schema, fingerprint
from features.table import giving, write_table
from pipeline.manifest import Built, Plan, StageResult, digest, known, locked, run_once
from pipeline.progress import counted, say
from pipeline.traffic import Traffic

VERSION = 1
KEPT_FILE = "kept.npz"
RUNS_WITH_KEPT = 2
"""So many of the latest runs hold what they kept; of the others it is of no more use."""


def meter_further(traffic: Traffic, meter: MeterSettings, context: bool, root: Path) -> StageResult:
    """Meter what has come to some captures since the last run, as the next run; the last one's result if nothing has.

    Args:
        traffic: Captures in order of their first packet.
        meter: As in the earlier runs.
        context: Whether the columns of neighbours are computed, likewise.
        root: The state folder.

    Raises:
        InputError: The earlier runs were made with other settings or by another version.
    """
    folder = root / "features" / f"{traffic.name}.runs"
    with locked(folder / ".lock"):
        runs = _runs(folder, traffic.name)
        kept = Kept.load(runs[-1] / KEPT_FILE, meter, context) if runs else Kept()
        inputs = {f"{number}: {file.name}": digest(file) for number, file in enumerate(traffic.files)}
        if runs and not any(map(kept.has_news_of, traffic.files)):
            say(f"{traffic.name}: no new packets since {runs[-1].name}")
            return _table_of(runs[-1], known(runs[-1]))
        inputs |= {"before": digest(runs[-1] / KEPT_FILE)} if runs else {}
        number = int(runs[-1].name.rpartition("-")[2]) + 1 if runs else 1
        run = folder / f"{traffic.name}-{number:06}"
        chosen = {"meter": vars(meter), "schema": fingerprint(), "context": context}
        extraction = extract(traffic.files, meter, traffic.name, kept, context)

        def metered(artifact: Path) -> Built:
            table = artifact / f"{run.name}.parquet"
            built = _metered(extraction, traffic.name, table)
            kept.save(table.with_name(KEPT_FILE), meter, context)
            return built

        made = run_once(Plan("meter_further", VERSION, run, inputs, chosen), metered)
        for old in [*runs, run][:-RUNS_WITH_KEPT]:
            (old / KEPT_FILE).unlink(missing_ok=True)
    return _table_of(run, made)


def _metered(extraction: Extraction, name: str, table: Path) -> Built:
    table.parent.mkdir()
    schema = giving(arrow_schema(), extraction.columns_given())
    written = write_table(counted(extraction, f"metering {name}"), table, schema)
    counts = extraction.counts
    say(f"{table.stem}: {counts['packets_read']:,} packets more, {written.rows:,} flows complete by now")
    return Built(written.rows, counts, written.columns_present)


def _runs(folder: Path, name: str) -> list[Path]:
    numbered = re.compile(rf"{re.escape(name)}-\d{{6,}}")
    return sorted(path for path in folder.iterdir() if path.is_dir() and numbered.fullmatch(path.name))


def _table_of(run: Path, made: StageResult) -> StageResult:
    table = run / f"{run.name}.parquet"
    return replace(made, path=table, digest=digest(table))
