"""Building once: what is used again, what is built anew, and what a kill leaves."""

import hashlib
import json
import multiprocessing
import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.manifest import SUFFIX, Built, Plan, StageResult, digest, finished, known, run_once, write_atomically


def plan(folder: Path, name: str = "table.parquet") -> Plan:
    return Plan("stage", 1, folder / "made" / name, {"input": "abc"}, {"epochs": 3, "widths": [1, 2]})


def build(artifact: Path) -> Built:
    """Write a file and count three rows."""
    artifact.write_text("content")
    return Built(3, {"in": 5, "dropped": 2})


def build_folder(artifact: Path) -> Built:
    """Write a folder of two files, one of them deeper."""
    (artifact / "deep").mkdir(parents=True)
    (artifact / "one").write_text("1")
    (artifact / "deep" / "two").write_text("2")
    return Built(2, {})


def refuse(artifact: Path) -> Built:
    """Fail where nothing should be built."""
    raise AssertionError(f"built {artifact}")


def visible(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))


def test_second_time_the_manifest_answers(tmp_path: Path) -> None:
    """The same plan is answered from the manifest, with the same rows, counts and digest."""
    first = run_once(plan(tmp_path), build)
    second = run_once(plan(tmp_path), refuse)
    assert first == StageResult(
        tmp_path / "made/table.parquet",
        3,
        {"in": 5, "dropped": 2},
        hashlib.sha256(b"content").hexdigest(),
        reused=False,
    )
    assert second == replace(first, reused=True)


@pytest.mark.parametrize(
    "change",
    [
        {"stage": "other"},
        {"version": 2},
        {"inputs": {"input": "abd"}},
        {"settings": {"epochs": 4, "widths": [1, 2]}},
    ],
)
def test_any_change_builds_anew(tmp_path: Path, change: dict[str, object]) -> None:
    """Another stage, version, input or setting is another question."""
    run_once(plan(tmp_path), build)
    changed = replace(plan(tmp_path), **change)  # type: ignore[arg-type]  # a field of the right type each
    assert finished(changed) is None
    assert not run_once(changed, build).reused


def test_place_does_not_matter(tmp_path: Path) -> None:
    """The key says what is made, not where."""
    assert plan(tmp_path / "a").key == plan(tmp_path / "b").key


@pytest.mark.parametrize("harm", ["missing", "changed", "no manifest", "torn manifest", "foreign manifest"])
def test_harmed_artifacts_are_built_anew(tmp_path: Path, harm: str) -> None:
    """A missing or changed artifact, or a manifest that cannot be trusted, leads to the same result again."""
    first = run_once(plan(tmp_path), build)
    manifest = first.path.with_name(first.path.name + SUFFIX)
    match harm:
        case "missing":
            first.path.unlink()
        case "changed":
            first.path.write_text("Content")
        case "no manifest":
            manifest.unlink()
        case "torn manifest":
            manifest.write_text(manifest.read_text()[:40])
        case "foreign manifest":
            manifest.write_text(json.dumps({"key": plan(tmp_path).key}))
    assert run_once(plan(tmp_path), build) == first
    assert run_once(plan(tmp_path), refuse).reused


def test_folders(tmp_path: Path) -> None:
    """An artifact may be a folder: replaced as a whole, changed when any file or name in it changes."""
    where = plan(tmp_path, "folder")
    first = run_once(where, build_folder)
    assert run_once(where, refuse).reused
    (first.path / "deep" / "two").rename(first.path / "deep" / "three")
    (first.path / "stray").write_text("")
    assert run_once(where, build_folder) == first
    assert visible(first.path) == ["deep", "one"]


def test_a_failing_builder_leaves_the_old_artifact(tmp_path: Path) -> None:
    """What the builder raises passes through, and the earlier artifact still answers its own question."""
    first = run_once(plan(tmp_path), build)

    def fail(artifact: Path) -> Built:
        artifact.write_text("half")
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        run_once(replace(plan(tmp_path), version=2), fail)
    assert run_once(plan(tmp_path), refuse) == replace(first, reused=True)
    assert visible(first.path.parent) == ["table.parquet", "table.parquet" + SUFFIX]


def killed_while_building(folder: Path, name: str) -> None:
    """Build until a first half is written, then die as by kill -9."""

    def die(artifact: Path) -> Built:
        if "." in name:
            artifact.write_text("half")
            artifact.with_name(f".{artifact.name}.1.part").write_text("a writer's own temporary file")
        else:
            artifact.mkdir()
            (artifact / "half").write_text("half")
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError

    run_once(plan(folder, name), die)


@pytest.mark.parametrize("name", ["table.parquet", "folder"])
def test_a_killed_build_leaves_nothing_that_matters(tmp_path: Path, name: str) -> None:
    """After kill -9 in the middle there is no artifact, the next run makes it, and the remains are gone."""
    child = multiprocessing.get_context("spawn").Process(target=killed_while_building, args=(tmp_path, name))
    child.start()
    child.join(60)
    assert child.exitcode == -signal.SIGKILL
    made = tmp_path / "made"
    assert not (made / name).exists()
    assert visible(made)
    result = run_once(plan(tmp_path, name), build if "." in name else build_folder)
    assert not result.reused
    assert visible(made) == [name, name + SUFFIX]


def test_remains_of_others_stay(tmp_path: Path) -> None:
    """What another artifact is being built under is not swept away, however similar its name."""
    made = tmp_path / "made"
    made.mkdir()
    theirs = [".table.v2.1-0123abcd.part.parquet", ".tables.1-0123abcd.part.parquet", ".table.1-0123abcd.part"]
    ours = [".table.1-0123abcd.part.parquet", "..table.1-0123abcd.part.parquet.77.part"]
    for name in (*theirs, *ours):
        (made / name).write_text("")
    run_once(plan(tmp_path), build)
    assert visible(made) == sorted([*theirs, "table.parquet", "table.parquet" + SUFFIX])


def build_slowly(artifact: Path) -> Built:
    """Write in two parts with a pause, and leave a mark for each time it was asked."""
    (artifact.parents[1] / f"built by {os.getpid()}").touch()
    artifact.write_text("con")
    time.sleep(1.0)
    artifact.write_text("content")
    return Built(3, {"in": 5, "dropped": 2})


def run_slowly(folder: Path) -> None:
    """Run the plan in a process of its own."""
    run_once(plan(folder), build_slowly)


def test_two_processes_take_turns(tmp_path: Path) -> None:
    """Of two processes with the same plan one builds and the other finds it done."""
    start = multiprocessing.get_context("spawn").Process
    both = [start(target=run_slowly, args=(tmp_path,)) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join(60)
    assert [one.exitcode for one in both] == [0, 0]
    assert len(list(tmp_path.glob("built by *"))) == 1
    assert run_once(plan(tmp_path), refuse).digest == hashlib.sha256(b"content").hexdigest()


def test_what_is_known_of_a_stray_file(tmp_path: Path) -> None:
    """An artifact with its manifest is known with its counts; a file that merely lies there by its digest."""
    made = run_once(plan(tmp_path), build)
    assert known(made.path) == replace(made, reused=True)
    made.path.write_text("other")
    assert known(made.path) == StageResult(made.path, 0, {}, hashlib.sha256(b"other").hexdigest(), reused=True)


def test_digest_of_a_folder_depends_on_names_and_content(tmp_path: Path) -> None:
    """Moving a byte from one file to the next changes the digest."""
    for name, (one, two) in {"a": ("xy", "z"), "b": ("x", "yz"), "c": ("xy", "z")}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "1").write_text(one)
        (tmp_path / name / "2").write_text(two)
    assert digest(tmp_path / "a") == digest(tmp_path / "c") != digest(tmp_path / "b")


def test_atomic_text(tmp_path: Path) -> None:
    """A text file is replaced whole, and nothing else is left."""
    for text in ("long first text", "second"):
        write_atomically(tmp_path / "report.txt", text)
    assert (tmp_path / "report.txt").read_text() == "second"
    assert visible(tmp_path) == ["report.txt"]
