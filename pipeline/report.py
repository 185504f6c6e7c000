"""Stage: what scoring found, as a report for people and for programs."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.ingest import silence_explained
from pipeline.manifest import Built, Plan, StageResult, run_once, write_atomically
from pipeline.report_text import as_text
from pipeline.settings import Settings
from pipeline.traffic import table_name

VERSION = 4
TALKERS = 5
Plain = dict[str, Any]


@dataclass(frozen=True)
class Findings:
    """What a report is about.

    Attributes:
        flows: The feature table that was scored.
        detections: What scoring it gave.
        detector: How the detector is called, such as "flowtag version 3".
        truth: The evaluation, where rules tell what really happened.
    """

    flows: StageResult
    detections: StageResult
    detector: str
    truth: StageResult | None = None


def report(findings: Findings, settings: Settings) -> StageResult:
    """Write the report as JSON, and as text beside it; rows and counts are those of the detections."""
    name = table_name(findings.flows.path)
    inputs = {"flows": findings.flows.digest, "detections": findings.detections.digest}
    if findings.truth:
        inputs["truth"] = findings.truth.digest
    plan = Plan(
        "report",
        VERSION,
        settings.state.root / "reports" / f"{name}.json",
        inputs,
        {"detector": findings.detector, "counts": dict(findings.flows.counts)},
    )
    written = run_once(plan, lambda artifact: _written(name, findings, artifact))
    write_atomically(written.path.with_suffix(".txt"), as_text(read_report(written.path)) + "\n")
    return written


def read_report(path: Path) -> Plain:
    """Return the report as plain values."""
    content: Plain = json.loads(path.read_text("utf-8"))
    return content


def _written(name: str, findings: Findings, artifact: Path) -> Built:
    content = contents(name, findings)
    artifact.write_text(json.dumps(content, indent=1) + "\n", "utf-8")
    return Built(findings.detections.rows, findings.detections.counts)


def contents(name: str, findings: Findings) -> Plain:
    """Return the report's contents: where the flows came from, what fired, who, and how right it was."""
    read, found = findings.flows.counts, findings.detections.counts
    detections = pq.read_table(findings.detections.path / "detections.parquet")
    return {
        "name": name,
        "detector": findings.detector,
        "packets": _packets(read),
        "records": _records(read),
        "flows": found["flows"],
        "detections": found["detections"],
        "unknown": found["unknown"],
        "quiet": found["quiet"],
        "applicability": _applicability(findings.detections),
        "tags": {key.removeprefix("tag."): n for key, n in found.items() if key.startswith("tag.") and n},
        "talkers": _talkers(detections),
        "nothing_found": _nothing_found(findings),
        "truth": json.loads(findings.truth.path.read_text("utf-8")) if findings.truth else None,
    }


def _packets(counts: Mapping[str, int]) -> Plain:
    """Return packets in, packets in flows, and what became of the others by name; empty for a table without a past."""
    if "packets_read" not in counts:
        return {}
    return {
        "read": counts["packets_read"],
        "in_flows": counts["packets_metered"],
        "skipped": _left_out("skipped.", counts),
    }


def _records(counts: Mapping[str, int]) -> Plain:
    """Return rows of flow records in, those that are flows, and what became of the others; empty for other traffic."""
    if "rows_read" not in counts:
        return {}
    return {
        "read": counts["rows_read"],
        "flows": counts["rows_out"],
        "rejected": _left_out("rejected.", counts),
    }


def _left_out(prefix: str, counts: Mapping[str, int]) -> dict[str, int]:
    return {key.removeprefix(prefix): n for key, n in counts.items() if key.startswith(prefix) and n}


def _applicability(scored: StageResult) -> Plain | None:
    """Return how much of the traffic is unlike what the detector knows, and whether its thresholds hold here."""
    limit = json.loads((scored.path / "applicability.json").read_text("utf-8"))["limit"]
    if limit is None or not scored.counts["flows"]:
        return None
    share = scored.counts["far"] / scored.counts["flows"]
    return {"far_flows": scored.counts["far"], "share": share, "limit": limit, "holds": share <= limit}


def _talkers(detections: pa.Table) -> list[Plain]:
    """Return the sources of most detections: how many, at how many targets and ports, with which tags most.

    Of flow records without addresses, which name no source, there are none.
    """
    counted = (
        detections.filter(detections["src_ip"].is_valid())
        .select(["src_ip", "dst_ip", "dst_port"])
        .group_by("src_ip")
        .aggregate([("src_ip", "count"), ("dst_ip", "count_distinct"), ("dst_port", "count_distinct")])
        .sort_by([("src_ip_count", "descending"), ("src_ip", "ascending")])
        .slice(0, TALKERS)
    )
    return [
        {
            "source": row["src_ip"],
            "detections": row["src_ip_count"],
            "targets": row["dst_ip_count_distinct"],
            "ports": row["dst_port_count_distinct"],
            "tags": _tags_of(detections.filter(pc.equal(detections["src_ip"], row["src_ip"]))),
        }
        for row in counted.to_pylist()
    ]


def _tags_of(detections: pa.Table) -> dict[str, int]:
    counts = pc.value_counts(detections["tags"].combine_chunks().flatten()).to_pylist()
    ordered = sorted(counts, key=lambda one: (-one["counts"], one["values"]))
    return {one["values"]: one["counts"] for one in ordered}


def _nothing_found(findings: Findings) -> str | None:
    """Return why there are no detections, None where there are."""
    counts = findings.detections.counts
    if counts["detections"]:
        return None
    if counts["flows"]:
        return _nearest(findings.detections.path)
    if not {"packets_read", "rows_read"} & findings.flows.counts.keys():
        return "the feature table is empty"
    return f"there are no flows: {silence_explained(findings.flows.counts)}"


def _nearest(folder: Path) -> str:
    """Return which tag came nearest to its threshold."""
    highest = json.loads((folder / "highest.json").read_text("utf-8"))
    tag, (score, threshold) = max(highest.items(), key=lambda one: one[1][0] - one[1][1])
    return f"no flow reached a threshold; nearest came {tag}: {score:.4f} of {threshold:.4f}"
