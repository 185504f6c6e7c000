"""Stage: captures or flow records to a feature table."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from features.content import Kind
from features.errors import InputError
from features.extract import extract
from features.metering.meter import MeterSettings
from features.records.extraction import extract_records
from features.records.rejects import Reject
from features.schema import arrow_schema, fingerprint
from features.table import Written, giving, write_table
from pipeline.further import meter_further
from pipeline.manifest import Built, Plan, StageResult, digest, run_once, write_atomically
from pipeline.progress import counted, say
from pipeline.settings import Settings
from pipeline.traffic import NAMED, Traffic, look_at, record_settings
from pipeline.warmup import say_if_cold

VERSION = 3
REJECTS_SUFFIX = ".rejects.csv"


def ingest(path: Path, settings: Settings) -> StageResult:
    """Make a feature table of a capture or of flow records; a folder or a pattern is taken as one.

    With `state.keep` captures are gone on with where the last run stopped (`pipeline.further`).

    Returns:
        Counts: of captures those of `features.extract.Extraction`, of flow records those of
        `features.records.extraction.RecordExtraction`. Malformed rows lie beside the table, in NAME.rejects.csv.

    Raises:
        InputError: The path is missing, holds nothing that is known, or files of several kinds.
    """
    traffic = look_at(path, settings)
    if traffic.kind is Kind.TABLE:
        raise InputError("a feature table already", str(path), "a capture or flow records", next_step="flowtag score")
    if traffic.left_out:
        names = ", ".join(file.name for file in traffic.left_out[:NAMED])
        say(f"{traffic.name}: {len(traffic.left_out)} files are no traffic and left out, such as {names}")
    if settings.state.keep:
        if traffic.kind is not Kind.CAPTURE:
            raise InputError("only captures can be gone on with", str(path), "captures", traffic.kind.value)
        return meter_further(traffic, _meter(settings), settings.ingest.context, settings.state.root)
    return run_once(_plan(traffic, settings), lambda artifact: _extracted(traffic, settings, artifact))


def silence_explained(counts: Mapping[str, int]) -> str:
    """Return why a table has no rows: what became of the packets or records that were read."""
    kind, prefix, none = ("rows", "rejected.", "a flow") if "rows_read" in counts else ("packets", "skipped.", "IP")
    read = counts.get(f"{kind}_read", 0)
    if not read:
        return f"the {'file' if kind == 'rows' else 'capture'} holds no {kind}"
    if waiting := counts.get("packets_metered", 0):
        return f"the flows of {waiting:,} packets are not complete by now (state.keep)"
    skipped = ((name.removeprefix(prefix), n) for name, n in counts.items() if name.startswith(prefix) and n)
    return f"none of {read:,} {kind} is {none}: " + ", ".join(f"{n:,} {name}" for name, n in skipped)


def _plan(traffic: Traffic, settings: Settings) -> Plan:
    inputs = {f"{number}: {file.name}": digest(file) for number, file in enumerate(traffic.files)}
    chosen: dict[str, object] = {"meter": asdict(_meter(settings))}
    if traffic.kind is Kind.RECORDS:
        inputs |= {f"joined {number}: {file.name}": digest(file) for number, file in enumerate(traffic.joined)}
        chosen = {"records": settings.records.model_dump(mode="json")}
        if settings.records.mapping:
            inputs["mapping"] = digest(settings.records.mapping)
    artifact = settings.state.root / "features" / f"{traffic.name}.parquet"
    chosen |= {} if settings.ingest.context else {"context": False}
    return Plan("ingest", VERSION, artifact, inputs, {**chosen, "schema": fingerprint()})


def _meter(settings: Settings) -> MeterSettings:
    return MeterSettings(**settings.meter.model_dump())


def _extracted(traffic: Traffic, settings: Settings, artifact: Path) -> Built:
    make = _of_records if traffic.kind is Kind.RECORDS else _of_captures
    written, counts = make(traffic, settings, artifact)
    if not written.rows:
        say(f"{traffic.name}: no flows, because {silence_explained(counts)}")
    return Built(written.rows, counts, written.columns_present)


def _of_captures(traffic: Traffic, settings: Settings, artifact: Path) -> tuple[Written, dict[str, int]]:
    say_if_cold()
    extraction = extract(traffic.files, _meter(settings), context=settings.ingest.context)
    schema = giving(arrow_schema(), extraction.columns_given())
    written = write_table(counted(extraction, f"metering {traffic.name}"), artifact, schema)
    say(f"{traffic.name}: {extraction.counts['packets_read']:,} packets became {written.rows:,} flows")
    return written, extraction.counts


def _of_records(traffic: Traffic, settings: Settings, artifact: Path) -> tuple[Written, dict[str, int]]:
    context = settings.ingest.context
    extraction = extract_records(traffic.files, record_settings(settings), joined=traffic.joined, context=context)
    schema = giving(arrow_schema(), extraction.columns_given())
    written = write_table(counted(extraction, f"reading {traffic.name}"), artifact, schema)
    say(
        f"{traffic.name}: {extraction.counts['rows_read']:,} rows became {written.rows:,} flows, "
        f"with values in {extraction.counts['columns_present']} of {len(schema)} columns"
    )
    if traffic.joined:
        counted_by_log = {name: n for name, n in extraction.counts.items() if name.startswith("joined.")}
        say(f"{traffic.name}: " + ", ".join(f"{n:,} {name}" for name, n in counted_by_log.items()))
    _write_rejects(extraction.rejects, settings.state.root / "features" / f"{traffic.name}{REJECTS_SUFFIX}")
    return written, extraction.counts


def _write_rejects(rejects: Sequence[Reject], path: Path) -> None:
    """Write malformed rows by file and line, or take away those of an earlier run where there are none."""
    if not rejects:
        path.unlink(missing_ok=True)
        return
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(("file", "line", "reason"))
    table.writerows((reject.path, reject.line, reject.reason) for reject in rejects)
    write_atomically(path, text.getvalue())
    say(f"{path.name}: {len(rejects):,} malformed rows, with file, line and reason")
