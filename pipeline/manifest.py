"""Build an artifact once: a manifest beside it says what it was made from, and the same question is answered at once.

The order of writes makes a kill harmless at any moment: the artifact under a temporary name, flushed, renamed; then the
manifest the same way. An artifact without a manifest, with a manifest of other inputs, or whose content is not what the
manifest says, is built again. A lock per artifact makes two processes take turns; the second finds the work done.
"""

import fcntl
import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pipeline.progress import say

SUFFIX = ".manifest.json"
UNFINISHED = r"\.\d+-[0-9a-f]{8}\.part"


@dataclass(frozen=True)
class StageResult:
    """What a stage left behind.

    Attributes:
        path: The artifact, a file or a directory.
        rows: Rows in it, or flows it was made from.
        counts: Named counts; rows in = rows out + named drops.
        digest: SHA-256 of the artifact's content, hexadecimal.
        reused: True when it was found finished and intact.
        columns_present: Of a table, the columns that hold at least one value; empty where nobody noted them.
    """

    path: Path
    rows: int
    counts: Mapping[str, int]
    digest: str
    reused: bool
    columns_present: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        plain = {**asdict(self), "path": str(self.path), "counts": dict(self.counts)}
        return {**plain, "columns_present": list(self.columns_present)}


@dataclass(frozen=True)
class Plan:
    """What a stage is about to make; everything that may change the artifact is in here.

    Attributes:
        stage: The stage's name.
        version: Raised by hand when the stage's code makes something else of the same inputs.
        artifact: Where the result goes.
        inputs: SHA-256 of each input by its role.
        settings: Plain values: settings, schema and vocabulary fingerprints.
    """

    stage: str
    version: int
    artifact: Path
    inputs: Mapping[str, str]
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """SHA-256 over everything but the place."""
        parts = [self.stage, self.version, dict(self.inputs), dict(self.settings)]
        return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


@dataclass(frozen=True)
class Built:
    """What a stage's builder reports about the artifact it wrote."""

    rows: int
    counts: Mapping[str, int]
    columns_present: tuple[str, ...] = ()


Builder = Callable[[Path], Built]
"""Writes the artifact to the path it is given, which is new."""


def run_once(plan: Plan, build: Builder) -> StageResult:
    """Return the finished artifact of this plan, building it only when there is none.

    Whatever the builder raises passes through and leaves the old artifact as it was.
    """
    plan.artifact.parent.mkdir(parents=True, exist_ok=True)
    with locked(plan.artifact.with_name(f".{plan.artifact.name}.lock")):
        _sweep(plan.artifact)
        result = finished(plan)
        if result is None:
            return _build(plan, build)
        say(f"{plan.stage} {plan.artifact.stem}: nothing has changed, used again")
        return result


def finished(plan: Plan) -> StageResult | None:
    """Return the artifact of this plan if it lies there finished and intact."""
    record = _read_manifest(plan.artifact)
    if record.get("key") != plan.key or not plan.artifact.exists() or digest(plan.artifact) != record["digest"]:
        return None
    return _recorded(plan.artifact, record)


def known(artifact: Path) -> StageResult:
    """Return what is known of an artifact that lies there: all its manifest says, or only its digest."""
    record, content = _read_manifest(artifact), digest(artifact)
    if record.get("digest") != content:
        return StageResult(artifact, 0, {}, content, reused=True)
    return _recorded(artifact, record)


def digest(path: Path) -> str:
    """Return the SHA-256 of a file's content, or of a directory's files with their names, hexadecimal."""
    if path.is_dir():
        files = sorted(file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file())
        listing = [(name, digest(path / name)) for name in files]
        return hashlib.sha256(json.dumps(listing).encode()).hexdigest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on a file, waiting for whoever has it; a killed holder lets go."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def write_atomically(path: Path, text: str) -> None:
    """Write a text file that is there whole or not at all."""
    temporary = _temporary(path)
    temporary.write_text(text, "utf-8")
    _put_in_place(temporary, path)


def _build(plan: Plan, build: Builder) -> StageResult:
    temporary = _temporary(plan.artifact)
    try:
        built = build(temporary)
        content = digest(temporary)
        _manifest_path(plan.artifact).unlink(missing_ok=True)
        _put_in_place(temporary, plan.artifact)
    finally:
        _remove(temporary)
    present = tuple(built.columns_present)
    result = StageResult(plan.artifact, built.rows, dict(built.counts), content, reused=False, columns_present=present)
    record = {"key": plan.key, "stage": plan.stage, "version": plan.version, "inputs": dict(plan.inputs)}
    record |= {"settings": dict(plan.settings), "rows": result.rows, "counts": result.counts, "digest": content}
    record |= {"columns_present": list(present)} if present else {}
    write_atomically(_manifest_path(plan.artifact), json.dumps(record, indent=2, default=str) + "\n")
    return result


def _recorded(artifact: Path, record: Mapping[str, Any]) -> StageResult:
    present = tuple(record.get("columns_present", ()))
    return StageResult(artifact, record["rows"], record["counts"], record["digest"], True, present)


def _read_manifest(artifact: Path) -> dict[str, Any]:
    try:
        record = json.loads(_manifest_path(artifact).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    complete = isinstance(record, dict) and {"key", "rows", "counts", "digest"} <= record.keys()
    return record if complete else {}


def _manifest_path(artifact: Path) -> Path:
    return artifact.with_name(artifact.name + SUFFIX)


def _temporary(path: Path) -> Path:
    """Return an unused name that keeps the file's ending, because some writers look at it."""
    return path.with_name(f".{path.stem}.{os.getpid()}-{secrets.token_hex(4)}.part{path.suffix}")


def _sweep(artifact: Path) -> None:
    """Remove what killed runs left of this artifact; only called under its lock."""
    names = "|".join(
        f"{re.escape(path.stem)}{UNFINISHED}{path.suffix}" for path in (artifact, _manifest_path(artifact))
    )
    leftover = re.compile(rf"\.+({names})(\.\d+\.part)?")  # a writer may put a temporary name of its own around ours
    for path in artifact.parent.iterdir():
        if leftover.fullmatch(path.name):
            _remove(path)


def _put_in_place(temporary: Path, path: Path) -> None:
    for file in [temporary, *(temporary.rglob("*") if temporary.is_dir() else ())]:
        _flush(file)
    if path.is_dir():
        replaced = _temporary(path)
        path.rename(replaced)
        temporary.rename(path)
        _remove(replaced)
    else:
        temporary.replace(path)
    _flush(path.parent)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
