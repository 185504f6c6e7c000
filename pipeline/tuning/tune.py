"""Stage: labelled tables to the settings that are least silent within the budget, by cross-validation.

The folder of a study holds `study.json` (what it depends on), `study.db` (its trials, Optuna's), `folds.npy` (the fold
of each flow), and after each call `tuning.json`, `tuning.txt`, `frontier.png` and `best.toml`, settings for
`flowtag train --config`.
"""

import json
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from features.errors import InputError
from features.labels.vocabulary import read_vocabulary
from features.schema import FEATURE_NAMES, fingerprint
from features.table import open_table, replacing
from features.views import AUTO, view_of, views
from models.tracking import InputNote
from pipeline import manifest
from pipeline.manifest import StageResult, digest, locked, write_atomically
from pipeline.progress import say
from pipeline.register import store
from pipeline.settings import Settings
from pipeline.train import given_by
from pipeline.tuning import frontier
from pipeline.tuning.choice import TuneChoice
from pipeline.tuning.folds import DROPPED, Folds, fold
from pipeline.tuning.one_fold import Flows, try_fold
from pipeline.tuning.space import Space
from pipeline.tuning.study import Plan, Study
from pipeline.tuning.tracked import StudyRun, sections_of, study_run
from pipeline.tuning.trial import Trial, chosen, cost, without_penalty
from pipeline.tuning.workers import working

VERSION = 1
PLAN, FOLDS = "study.json", "folds.npy"
FOUND, TEXT, PICTURE, BEST = "tuning.json", "tuning.txt", "frontier.png", "best.toml"
KEY_DIGITS = 12

Plain = dict[str, Any]


def tune(
    tables: Sequence[Path], choice: TuneChoice, settings: Settings, background: Sequence[Path] = ()
) -> StageResult:
    """Search settings; the artifact is the folder of the study, with which the same call goes on another time.

    Tables of ordinary traffic of other networks join every training; what settings are worth is measured without them.

    Returns:
        Counts: trials complete, pruned and failed, folds, and flows dropped in gaps.

    Raises:
        InputError: The flows do not suffice for three folds, or the folder is another study's.
        ConfigError: A setting to search is unknown.
        ServiceError: MLflow does not answer, or a process that trained was killed.
    """
    asked = plan(tables, choice, settings, background)
    given = given_by((*tables, *background))
    tag_names = read_vocabulary(settings.labels.vocabulary).names
    space = Space(settings, choice.searched, _views(given, settings), len(tag_names))
    folds = fold(tables, choice.folds)
    with locked(asked.artifact / ".lock"):
        _require_same(asked)
        folds.save(asked.artifact / FOLDS)
        columns = tuple(name for name in FEATURE_NAMES if name in given)
        flows = Flows(tuple(tables), asked.artifact / FOLDS, columns, tag_names, tuple(background))
        say(f"tuning: {len(folds.of_flow):,} flows in {folds.count} folds by {folds.by}, each held out in turn")
        with study_run(
            store(settings), f"tune {tables[0].stem}", asked.key, _inputs((*tables, *background), asked)
        ) as run:
            how = Plan(asked.key, space, folds.count, _most_alarms(settings), partial(try_fold, flows))
            study = Study(asked.artifact, how)
            run.log(study.trials())
            with working(choice.workers) as pool:
                study.run(choice.trials, choice.workers, pool, run.trial)
            return _written(asked, folds, study.trials(), space, run)


def plan(
    tables: Sequence[Path], choice: TuneChoice, settings: Settings, background: Sequence[Path] = ()
) -> manifest.Plan:
    """Return what a study depends on; not how many trials it has nor how many processes train."""
    told = {
        **sections_of(settings),
        "folds": choice.folds.to_dict(),
        "searched": list(choice.searched),
        "most_alarms": _most_alarms(settings),
        "schema": fingerprint(),
        "vocabulary": read_vocabulary(settings.labels.vocabulary).fingerprint,
    }
    inputs = {f"table {number}": digest(table) for number, table in enumerate(tables)}
    if background:
        inputs |= {f"background {number}": digest(table) for number, table in enumerate(background)}
        told["background"] = settings.background.model_dump(mode="json", exclude={"sources"})
    key = manifest.Plan("tune", VERSION, Path(), inputs, told).key
    folder = choice.folder or settings.state.root / "tuning" / key[:KEY_DIGITS]
    return manifest.Plan("tune", VERSION, folder.absolute(), inputs, told)


def found_in(folder: Path) -> Plain:
    """Return the account of the study in a folder."""
    content: Plain = json.loads((folder / FOUND).read_text("utf-8"))
    return content


def _views(given: frozenset[str], settings: Settings) -> tuple[str, ...]:
    """Return the views to search, that of the settings first; only that one where they name one."""
    own = view_of(given, settings.detector.view).name
    fitting = [view.name for view in views() if not view.lacking(given)] if settings.detector.view == AUTO else []
    return tuple(dict.fromkeys((own, *fitting)))


def _most_alarms(settings: Settings) -> float:
    """Return the share of benign flows up to which the verdict would accept false alarms."""
    return settings.budget_share * settings.verdict.budget_factor


def _inputs(tables: Sequence[Path], asked: manifest.Plan) -> list[InputNote]:
    notes = []
    for path, content in zip(tables, asked.inputs.values(), strict=True):
        with open_table(path) as table:
            notes.append(InputNote(path.stem, content, str(path), table.metadata.num_rows, "training"))
    return notes


def _require_same(asked: manifest.Plan) -> None:
    """Note what the study depends on; refuse a folder in which another one lies, or something else.

    Raises:
        InputError: It does.
    """
    note = asked.artifact / PLAN
    told = {"key": asked.key, "inputs": dict(asked.inputs), "settings": dict(asked.settings)}
    others = [path.name for path in asked.artifact.iterdir() if not path.name.startswith(".")]
    if not note.exists() and others:
        raise _foreign(asked, "an empty folder, or that of this study", ", ".join(sorted(others)[:5]))
    if note.exists():
        try:
            known = json.loads(note.read_text("utf-8"))
            differing = _differing(known, told)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise _foreign(asked, f"{PLAN} as flowtag tune writes it", str(error)) from error
        if differing:
            raise _foreign(asked, "the same tables and settings", f"other {', '.join(differing[:5])}")
        return
    write_atomically(note, json.dumps(told, indent=1) + "\n")


def _foreign(asked: manifest.Plan, expected: str, received: str) -> InputError:
    return InputError(
        "the folder is that of another study", str(asked.artifact), expected, received, "another --study folder"
    )


def _differing(known: Plain, told: Plain) -> list[str]:
    """Return in what two studies differ: inputs and settings by name."""
    if known["key"] == told["key"]:
        return []
    pairs = [(known[part], told[part]) for part in ("inputs", "settings")]
    names = [name for old, new in pairs for name in {**old, **new} if old.get(name) != new.get(name)]
    return names or ["version of flowtag tune"]


def _written(asked: manifest.Plan, folds: Folds, trials: Sequence[Trial], space: Space, run: StudyRun) -> StageResult:
    """Write the account of a study, its picture and the best settings, log them, and return what was made."""
    found = _found(folds, trials, space)
    folder, best = asked.artifact, chosen(trials, found["most_alarms"])
    write_atomically(folder / FOUND, json.dumps(found, indent=1) + "\n")
    write_atomically(folder / TEXT, "\n".join(frontier.text(found)) + "\n")
    if best:
        write_atomically(folder / BEST, as_toml(best.settings))
        with replacing(folder / PICTURE) as temporary:
            frontier.draw(found, temporary)
    run.finish(found, [folder / name for name in (FOUND, TEXT, BEST, PICTURE) if (folder / name).exists()])
    counts = {f"trials.{state}": number for state, number in found["counts"].items()}
    counts |= {"folds": folds.count, "dropped.gap": found["dropped"]}
    return StageResult(folder, len(folds.of_flow), counts, digest(folder / FOUND), reused=False)


def _found(folds: Folds, trials: Sequence[Trial], space: Space) -> Plain:
    most = _most_alarms(space.base)
    best, plain = chosen(trials, most), without_penalty(trials)
    told = {one["trial"]: one for one in frontier.rows(trials, space.n_tags)}
    states = Counter(one.state for one in trials)
    return {
        "flows": len(folds.of_flow),
        "dropped": int((folds.of_flow == DROPPED).sum()),
        "folds": {"count": folds.count, "by": folds.by, "parts": [list(part) for part in folds.parts]},
        "budget": space.base.budget_share,
        "most_alarms": most,
        "counts": {state: states[state] for state in ("complete", "pruned", "failed")},
        "within_budget": bool(best and cost(best.outcomes, most) <= 1),
        "chosen": told[best.number] if best else None,
        "baseline": told[plain.number] if plain else None,
        "trials": list(told.values()),
    }


def as_toml(settings: Settings) -> str:
    """Return what a trial decided about as a file of settings; plain values are written alike in JSON and TOML.

    TOML has no word for none: such a setting is left out, as its default is.
    """
    lines = ["# written by flowtag tune: flowtag train --config THIS --train SOURCE --valid SOURCE"]
    for section, values in sections_of(settings).items():
        given = {name: value for name, value in values.items() if value is not None}
        lines += ["", f"[{section}]", *(f"{name} = {json.dumps(value)}" for name, value in given.items())]
    return "\n".join(lines) + "\n"
