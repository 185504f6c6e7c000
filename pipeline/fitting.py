"""From the settings and tables of a training stage to trained contenders; imported only where there is work to do."""

from pathlib import Path

from features.labels.vocabulary import read_vocabulary
from models.dataset import TagDataset, read_dataset
from models.losses import LossSettings
from models.network import NetworkSettings
from models.scored_flows import read_blocks
from models.thresholds import ThresholdSettings
from models.training import TrainingSettings
from pipeline.contenders import Choice, fit_contenders
from pipeline.manifest import Built
from pipeline.progress import say
from pipeline.settings import Settings
from pipeline.train import Tables, chosen_view


def fit(tables: Tables, settings: Settings, artifact: Path, kept: Path) -> Built:
    """Read the tables, train all contenders into a new folder, and count what they learned from.

    Trainings in progress are kept in a folder: after a kill the next call goes on with them.
    """
    vocabulary = read_vocabulary(settings.labels.vocabulary)
    view = chosen_view(tables, settings)
    train, valid = (read_dataset(paths, view.columns, vocabulary.names) for paths in (tables.train, tables.valid))
    say(
        f"training on {len(train):,} flows, {int(train.attack.sum()):,} of them attacks, "
        f"by the {len(view.columns)} columns of the view {view.name}"
    )
    cuts, blocks = threshold_settings(settings), read_blocks(tables.valid)
    choice = Choice(training_settings(settings), cuts, blocks, kept, vocabulary.fingerprint)
    fit_contenders(train, valid, choice, artifact)
    return Built(len(train), {**_counts("train", train), **_counts("valid", valid)})


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
