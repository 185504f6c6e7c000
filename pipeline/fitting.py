"""From the settings and tables of a training stage to trained contenders; imported only where there is work to do."""

from pathlib import Path

from features.errors import LabelError
from features.labels.vocabulary import read_vocabulary
from models.background import Background, BackgroundSettings
from models.card import DetectorCard, read_card
from models.dataset import TagDataset, read_dataset
from models.losses import LossSettings
from models.network import NetworkSettings
from models.scored_flows import read_blocks
from models.thresholds import ThresholdSettings
from models.training import TrainingSettings
from models.unknown import UnknownSettings
from pipeline.background import read_background
from pipeline.contender_training import Choice, fit_contenders
from pipeline.manifest import Built
from pipeline.progress import say
from pipeline.settings import Settings
from pipeline.train import DETECTOR, TRAINING_FILE, Tables, chosen_view

SENDERS_NAMED = 5


def fit(tables: Tables, settings: Settings, artifact: Path, kept: Path) -> Built:
    """Read the tables, train all contenders into a new folder, and count what they learned from.

    Trainings in progress are kept in a folder: after a kill the next call goes on with them.

    Raises:
        LabelError: The flows to learn from, or those to choose thresholds on, are all attacks or all benign.
        ModelError: As `fit_contenders` says.
    """
    vocabulary = read_vocabulary(settings.labels.vocabulary)
    view = chosen_view(tables, settings)
    train, valid = (
        read_dataset(paths, view.columns, vocabulary.names, artifact.parent) for paths in (tables.train, tables.valid)
    )
    say(
        f"training on {len(train):,} flows, {int(train.attack.sum()):,} of them attacks, "
        f"by the {len(view.columns)} columns of the view {view.name}"
    )
    _require_both_kinds(train, "flowtag train --train", background=bool(tables.background))
    _require_both_kinds(valid, "flowtag train --valid")
    background, others = _background(tables, train, settings, artifact.parent)
    cuts, blocks = threshold_settings(settings), read_blocks(tables.valid)
    unknown = UnknownSettings(**settings.unknown.model_dump())
    choice = Choice(training_settings(settings), cuts, blocks, kept, vocabulary.fingerprint, background, unknown)
    fit_contenders(train, valid, choice, artifact)
    if background:
        _say_what_fires(read_card(artifact / DETECTOR))
    return Built(len(train), {**_counts("train", train), **_counts("valid", valid), **others})


def _require_both_kinds(flows: TagDataset, where: str, *, background: bool = False) -> None:
    """Refuse flows that show attacks alone or none, before hours go into them; background shows benign ones too."""
    attack = int(flows.attack.sum())
    if not attack or (attack == len(flows) and not background):
        raise LabelError(
            "flows from which attacks cannot be told",
            where,
            "flows with a tag and flows without",
            f"{attack:,} attack flows, {len(flows) - attack:,} benign flows",
            "name traffic with both; its rules say when and between whom attacks ran (docs/labels.md)",
        )


def background_settings(settings: Settings) -> BackgroundSettings:
    """Return the settings of background traffic that the configuration asks for."""
    return BackgroundSettings(**settings.background.model_dump(exclude={"sources"}))


def _background(
    tables: Tables, train: TagDataset, settings: Settings, scratch: Path
) -> tuple[Background | None, dict[str, int]]:
    """Return the background, if there is any, and its counts."""
    if not tables.background:
        return None, {}
    found, counts = read_background(tables.background, train, background_settings(settings), scratch)
    say(
        f"background: {counts['learned']:,} ordinary flows of other networks join them and {counts['held_out']:,} are "
        f"held out, of {counts['sources']:,} sources; left out {counts['tagged']:,} that carry a tag and "
        f"{counts['over_share']:,} beyond a share of {settings.background.share:g}"
    )
    return found, {f"background.{name}": count for name, count in counts.items()}


def _say_what_fires(card: DetectorCard) -> None:
    """Say what the detector does on the background, and which senders look like attackers in it."""
    said, firing = card.background, card.background["firing"]
    say(
        f"false alarms: {said['false_alarm_rate']:.3%} of the held-out flows of other networks, "
        f"{card.thresholds.false_alarm_rate:.3%} of the benign validation flows"
    )
    for one in firing[:SENDERS_NAMED]:
        say(
            f"background: {one['fired']:,} of {one['flows']:,} flows of {one['sender']} fire unless learned as benign: "
            "an attack among ordinary traffic? Leave it out, or label it"
        )
    if len(firing) > SENDERS_NAMED:
        say(f"background: so do most flows of {len(firing) - SENDERS_NAMED} more senders, named in {TRAINING_FILE}")


def training_settings(settings: Settings) -> TrainingSettings:
    """Return the training settings that the configuration asks for."""
    return TrainingSettings(
        **settings.training.model_dump(),
        false_alarm_budget=settings.thresholds.false_alarm_budget,
        loss=LossSettings(**settings.loss.model_dump()),
        network=NetworkSettings(**settings.network.model_dump()),
    )


def threshold_settings(settings: Settings) -> ThresholdSettings:
    """Return the threshold settings that the configuration asks for."""
    return ThresholdSettings(**settings.thresholds.model_dump())


def _counts(role: str, flows: TagDataset) -> dict[str, int]:
    attack = int(flows.attack.sum())
    return {f"{role}.attack": attack, f"{role}.benign": len(flows) - attack}
