"""The tables that networks and trees are compared on, each parted into training, validation and test flows.

A table is there or it is not: what is missing is left out, and the report says so.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from features.labels.vocabulary import read_vocabulary
from features.schema import FEATURE_NAMES
from models.dataset import TagDataset, read_dataset
from pipeline.ingest import ingest
from pipeline.label import label
from pipeline.settings import Settings, StateSection

UNSW = Path("tables/unsw_nb15/UNSW_NB15_training-set.dev75.csv.gz")
CICIDS = Path("tables/cicids2017_improved/cicids2017_improved.dev70.csv.gz")
TRAIN, VALID = 0.6, 0.8
"""Where training flows end and validation flows end, as shares of all; the rest is for the test."""
RARE = 0.04
CATEGORIES, LEAST_ROWS = ("proto", "service", "state"), 50
IDENTITY = ("id", "Flow ID", "Src IP", "Src Port", "Dst IP", "Dst Port", "Timestamp", "Label", "Attempted Category")
TRUTH = ("id", "attack_cat", "label")


@dataclass(frozen=True)
class Task:
    """One comparison: what is learned from, what thresholds and settings are chosen on, and what is judged.

    Attributes:
        name: What the report calls it.
        train: Flows to learn from.
        valid: Flows that everything is chosen on.
        tests: Flows nobody chose by, by name.
    """

    name: str
    train: TagDataset
    valid: TagDataset
    tests: Mapping[str, TagDataset]


def tasks(data: Path, captures: Path, work: Path) -> dict[str, Callable[[], Task]]:
    """Return how to load each task whose files are there, by name.

    Args:
        data: Folder with the tables of others.
        captures: Folder with recorded captures and their rules.
        work: Where captures' flows are kept.
    """
    state = Settings(state=StateSection(folder=work / "flowtag"))
    found: dict[str, Callable[[], Task]] = {}
    if (data / UNSW).exists():
        found["unsw-nb15"] = partial(unsw, data / UNSW)
        found["unsw-nb15-rare"] = lambda: rare_attacks(unsw(data / UNSW))
    if (data / CICIDS).exists():
        found["cicids2017"] = partial(cicids, data / CICIDS)
    for name, parts in {
        "demo": ("demo-train", "demo-valid", "demo-score", "test-1"),
        "train-1": ("train-1", "demo-valid", "demo-score", "test-1"),
    }.items():
        files = [captures / f"{part}.pcap.zst" for part in parts]
        there = [file for file in files[2:] if file.exists()]
        if there and all(file.exists() for file in files[:2]):
            found[name] = partial(of_captures, name, files[:2] + there, state)
    return found


def unsw(path: Path) -> Task:
    """Return UNSW-NB15 in nine tags; rows with equal columns lie on one side, by a digest of them."""
    table = pd.read_csv(path)
    columns = table.drop(columns=list(TRUTH))
    part = np.array([_draw(row) for row in columns.itertuples(index=False)])
    truth = table["attack_cat"].where(table["attack_cat"] != "Normal")
    return _parted("unsw-nb15", _numbers(columns), truth, part)


def rare_attacks(task: Task) -> Task:
    """Return a task whose attack flows are thinned, by their order alone, until they are a share of RARE."""

    def thinned(flows: TagDataset) -> TagDataset:
        attacks = np.flatnonzero(flows.attack)
        kept = int((len(flows) - len(attacks)) * RARE / (1 - RARE))
        some = np.random.default_rng(0).permutation(attacks)[:kept]
        return flows.rows(np.sort(np.concatenate([np.flatnonzero(~flows.attack), some])))

    tests = {name: thinned(test) for name, test in task.tests.items()}
    return Task(f"{task.name}-rare", thinned(task.train), thinned(task.valid), tests)


def cicids(path: Path) -> Task:
    """Return corrected CICIDS2017; of each label the first flows in time are learned from and the last ones judged."""
    table = pd.read_csv(path).sort_values("Timestamp", kind="stable")
    rank = table.groupby("Label").cumcount() / table.groupby("Label")["Label"].transform("size")
    truth = table["Label"].where(table["Label"] != "BENIGN")
    return _parted("cicids2017", table.drop(columns=list(IDENTITY)), truth, rank.to_numpy())


def of_captures(name: str, files: Sequence[Path], settings: Settings) -> Task:
    """Return captures metered and labelled: one to learn from, one to choose on, the others to be judged."""
    tags = read_vocabulary(settings.labels.vocabulary).names
    train, valid, *tests = (read_dataset([_labelled(file, settings)], FEATURE_NAMES, tags) for file in files)
    return Task(name, train, valid, {_stem(file): test for file, test in zip(files[2:], tests, strict=True)})


def _labelled(capture: Path, settings: Settings) -> Path:
    rules = capture.with_name(f"{_stem(capture)}.rules.csv")
    return label(ingest(capture, settings).path, rules, settings).path


def _stem(capture: Path) -> str:
    return capture.name.partition(".")[0]


def _draw(row: Sequence[object]) -> float:
    """Return a number in [0, 1) that equal rows share."""
    digest = hashlib.blake2b(repr(tuple(row)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def _numbers(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with one 0/1 column for each frequent word of its columns of words."""
    words = [name for name in CATEGORIES if name in table]
    shown = pd.get_dummies(table[words])
    return pd.concat([table.drop(columns=words), shown.loc[:, shown.sum() >= LEAST_ROWS]], axis=1)


def _parted(name: str, columns: pd.DataFrame, truth: pd.Series, part: npt.NDArray[np.float64]) -> Task:
    """Part a table of one label a row, null for benign; a label that training never shows is no tag."""
    tag_names = tuple(sorted(truth.dropna().unique()))
    tags = np.stack([(truth == tag).to_numpy(np.uint8) for tag in tag_names], axis=1)
    numbers = columns.apply(pd.to_numeric, errors="coerce").replace([np.inf, -np.inf], np.nan)
    whole = TagDataset(numbers.to_numpy(np.float32), tags, tuple(columns.columns), tag_names)
    train, valid, test = (part < TRAIN), (part >= TRAIN) & (part < VALID), part >= VALID
    return Task(name, whole.rows(train), whole.rows(valid), {"test": whole.rows(test)})
