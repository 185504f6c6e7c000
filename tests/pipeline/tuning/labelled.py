"""Labelled tables of made-up flows, on which a network trains in a second."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from features.labels.labeller import with_labels
from features.labels.vocabulary import read_vocabulary
from features.schema import labelled_schema
from features.table import write_table
from tests.features.labels.labelled_flows import flows

SECOND = 10**9


def write_labelled(path: Path, rows: Sequence[dict[str, Any]], attack: Sequence[bool]) -> Path:
    """Write flows as a labelled table; attack flows carry the tag impact."""
    labels = [((), ()), (("impact",), ("rule",))]
    batch = with_labels(flows(*rows), labels, pa.array([int(one) for one in attack]))
    schema = labelled_schema()
    write_table([batch], path, schema.with_metadata({**schema.metadata, **read_vocabulary().metadata()}))
    return path


def capture(folder: Path, name: str, seed: int, count: int = 200) -> Path:
    """Write a capture of a flow a second, every fifth an attack that sends more packets than most benign flows."""
    random = np.random.default_rng(seed)
    attack = np.arange(count) % 5 == 0
    packets = np.exp(random.normal(1 + 3 * attack, 1)).astype(int) + 1
    rows = [
        {
            "flow_id": at,
            "capture": name,
            "start": (1000 + at) * SECOND,
            "end": (1001 + at) * SECOND,
            "fwd_packets": int(packets[at]),
            "fwd_bytes": int(packets[at]) * 60,
        }
        for at in range(count)
    ]
    return write_labelled(folder / f"{name}.parquet", rows, attack.tolist())
