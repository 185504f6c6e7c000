"""How a detector trained on our captures does on networks of others, before and after it is adapted.

python -m benchmarks.travel WORK --data DATA [--captures captures] [--json OUT]

DATA is the folder of others' captures with its listing `meaning.csv`, and of labelled Zeek logs in `tables/iot23`.
Nothing that is scored was trained or adapted on: of a collection of ordinary captures one half is adapted by, or joins
the training as background, and the other is scored; of a log the first 70 % by time are adapted by, the rest is scored.
Every step leaves its figures in WORK, and a run that was broken off goes on behind the last one.
"""

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.travel.captures import listed, table_of
from benchmarks.travel.detectors import PLAIN, Home, at_home, labelled, settings_in, trained
from benchmarks.travel.measure import (
    BUDGET,
    LOG_BUDGET,
    Around,
    MadeBy,
    Seen,
    adapted,
    judge,
    on_captures,
    on_log,
    over_folds,
    read_log,
    together,
)
from benchmarks.travel.report import as_text
from models.dataset import read_dataset
from models.detector import Detector

Plain = dict[str, Any]
DEFAULT, BACKGROUND = "augmented", "background"
TRAININGS: dict[str, tuple[str, ...]] = {"plain": PLAIN, DEFAULT: ()}
LOGS = Path("tables/iot23")
BIFLOW = ("detector.view=biflow",)


@dataclass(frozen=True)
class Place:
    """Where everything lies, and what every training changes of the defaults."""

    work: Path
    data: Path
    chosen: tuple[str, ...] = ()

    def step(self, name: str, compute: Callable[[], Plain]) -> Plain:
        """Return a step's figures, computed unless an earlier run left them."""
        path = self.work / "figures" / f"{name}.json"
        if not path.exists():
            figures = compute()
            path.parent.mkdir(parents=True, exist_ok=True)
            path.with_suffix(".part").write_text(json.dumps(figures, indent=1) + "\n", "utf-8")
            path.with_suffix(".part").rename(path)
        print(f"{name}: done", file=sys.stderr, flush=True)
        found: Plain = json.loads(path.read_text("utf-8"))
        return found


def main() -> int:
    """Measure and print; returns the exit status."""
    options = _options()
    if not (options.data / "meaning.csv").is_file():
        print(f"no captures of others in {options.data}: meaning.csv is missing", file=sys.stderr)
        return 2
    place = Place(options.work, options.data, tuple(options.set or ()))
    home = at_home(options.captures, settings_in(options.work))
    figures = {"captures": on_others(place, home), "logs": on_logs(place, home)}
    print(as_text(figures))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n", "utf-8")
    return 0


def on_others(place: Place, home: Home) -> Plain:
    """Return the figures on captures of others of each way."""
    found = [(one, table_of(place.data / one.name, place.work / "tables")) for one in listed(place.data)]
    seen = [Seen(one, table) for one, table in found if table]
    trainings = {
        name: trained(home, place.work / "trained" / name, (*place.chosen, *chosen))
        for name, chosen in TRAININGS.items()
    }
    figures = {
        name: place.step(f"captures-{name}", lambda folder=folder: _as_it_is(Detector.load(folder), seen))
        for name, folder in trainings.items()
    }
    for way, made_by in by_halves(place, home, trainings[DEFAULT]).items():
        figures[way] = place.step(f"captures-{way}", lambda made_by=made_by: over_folds(seen, made_by))
    return figures


def by_halves(place: Place, home: Home, parent: Path) -> dict[str, MadeBy]:
    """Return each way to make a detector by one half of the ordinary captures: adapting, and training with them."""

    def adapting(replayed: tuple[Path, ...]) -> MadeBy:
        return lambda half, tables: adapted(
            Detector.load(parent), together(tables, place.work / f"fold-{half}.parquet"), replayed, BUDGET
        )

    def background(half: int, tables: list[Path]) -> Detector:
        folder = place.work / "trained" / f"{BACKGROUND}-{half}"
        return Detector.load(trained(home, folder, place.chosen, tables))

    return {**{way: adapting(replayed) for way, replayed in ways(home).items()}, BACKGROUND: background}


def ways(home: Home) -> dict[str, tuple[Path, ...]]:
    """Return by what is replayed the ways to adapt."""
    return {"lifted": (), "replayed": (home.train,)}


def _as_it_is(detector: Detector, seen: list[Seen]) -> Plain:
    return on_captures(judge(detector, seen))


def on_logs(place: Place, home: Home) -> Plain:
    """Return the figures on each log, as detectors are and after each way of adapting; others test the guard.

    The captures of others are the background of one of the two detectors, none of the logs is.
    """
    chosen = (*place.chosen, *BIFLOW)
    tables = [table_of(place.data / one.name, place.work / "tables") for one in listed(place.data) if not one.kind]
    ordinary = [table for table in tables if table]
    detector, wider = (
        Detector.load(trained(home, place.work / "trained" / name, chosen, background))
        for name, background in (("biflow", []), (f"biflow-{BACKGROUND}", ordinary))
    )
    own = read_dataset([home.score], detector.card.feature_names, detector.card.tag_names)
    labels = [labelled(path, settings_in(place.work)) for path in sorted((place.data / LOGS).glob("*.gz"))]
    logs = [read_log(table, detector, place.work) for table in labels]
    figures: Plain = {}
    for log in logs:
        around = Around(own, [one for one in logs if one is not log])
        made = {"as it is": lambda: detector, BACKGROUND: lambda: wider}
        for way, replayed in ways(home).items():
            made[way] = lambda log=log, replayed=replayed: adapted(detector, log.used, replayed, LOG_BUDGET)
        made[f"{BACKGROUND}, lifted"] = lambda log=log: adapted(wider, log.used, (), LOG_BUDGET)
        figures[log.name] = {
            way: place.step(
                f"log-{log.name}-{way}", lambda make=make, log=log, around=around: on_log(make(), log, around)
            )
            for way, make in made.items()
        }
    return figures


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.travel", description=__doc__)
    parser.add_argument("work", type=Path, help="folder for tables, detectors and figures")
    parser.add_argument("--data", type=Path, required=True, help="folder of others' captures")
    parser.add_argument("--captures", type=Path, default=Path("captures"), help="folder of the demo's captures")
    parser.add_argument("--set", action="append", metavar="SECTION.KEY=VALUE", help="a setting of every training")
    parser.add_argument("--json", type=Path, help="write the figures as JSON")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
