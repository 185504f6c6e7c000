"""Detectors trained on our captures; what an earlier run made is used again."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from features.labels.vocabulary import read_vocabulary
from models.dataset import read_dataset
from models.scored_flows import read_blocks
from pipeline.background import read_background
from pipeline.config import load
from pipeline.contender_training import Choice, Sets, fit_network
from pipeline.fitting import background_settings, threshold_settings, training_settings
from pipeline.ingest import ingest
from pipeline.label import label
from pipeline.settings import Settings
from pipeline.sources import demo_captures, rules_beside
from pipeline.train import Tables, chosen_view

PLAIN = ("network.pace_jitter=0,0,0", "network.input_noise=0", "network.input_dropout=0")
"""Training without augmentation."""


@dataclass(frozen=True)
class Home:
    """Our own captures as labelled tables: to train on, to choose thresholds on, and one that nothing is made by."""

    train: Path
    valid: Path
    score: Path


def settings_in(state: Path, chosen: Sequence[str] = ()) -> Settings:
    """Return settings with a state folder."""
    return load(overrides=[f"state.folder={state}", *chosen], environment={}).settings


def labelled(source: Path, settings: Settings) -> Path:
    """Return the labelled table of traffic, by the rules beside it or the labels in it."""
    return label(ingest(source, settings).path, rules_beside(source), settings).path


def at_home(captures: Path, settings: Settings) -> Home:
    """Return the tables of the demo's captures."""
    found = demo_captures(captures, settings)
    return Home(*(labelled(one, settings) for one in (found.train, found.valid, found.score)))


def trained(home: Home, folder: Path, chosen: Sequence[str], background: Sequence[Path] = ()) -> Path:
    """Return the folder of a detector, trained with settings that differ from the defaults, unless it is there.

    Tables of ordinary traffic of others join as background.
    """
    if not folder.exists():
        settings = settings_in(folder.parent, chosen)
        view = chosen_view(Tables([home.train], [home.valid]), settings)
        names = read_vocabulary().names
        train, valid = (read_dataset([table], view.columns, names) for table in (home.train, home.valid))
        choice = Choice(training_settings(settings), threshold_settings(settings), read_blocks([home.valid]))
        learned = train
        if background:
            ordinary = read_background(background, train, background_settings(settings))[0]
            choice, learned = replace(choice, background=ordinary), ordinary.beside(train)
        fit_network(Sets(train, valid, learned), choice, folder)
    return folder
