"""How many flows a detector answers for in a second of CPU: scores, probabilities, far flows, all that one pass finds.

python -m benchmarks.scoring DETECTOR TABLE

DETECTOR is a detector's folder, TABLE a feature table that it was made for, whose flows are repeated to FLOWS. CPU
seconds of all threads count, the least of TIMES passes: other work on a machine shows less in them than in a clock.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt

from features.table import open_table
from models.dataset import feature_matrix
from models.detector import Detector

FLOWS = 131_072
TIMES = 5


def main() -> int:
    """Measure and print; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scoring", description=__doc__)
    parser.add_argument("detector", type=Path)
    parser.add_argument("table", type=Path)
    options = parser.parse_args()
    detector = Detector.load(options.detector)
    with open_table(options.table) as source:
        features = [feature_matrix(batch, detector.card.feature_names) for batch in source.iter_batches()]
    print(json.dumps(rates(detector, np.concatenate(features))))
    return 0


def rates(detector: Detector, features: npt.NDArray[np.float32], flows: int = FLOWS) -> dict[str, float]:
    """Return flows per CPU second of answers, and the CPU microseconds of one flow; compiling is not counted."""
    many = np.resize(features, (flows, features.shape[1]))
    detector.answers(many)
    least = min(_cpu_seconds(detector, many) for _ in range(TIMES))
    return {"flows": flows, "flows_per_cpu_s": flows / least, "cpu_us_a_flow": least / flows * 1e6}


def _cpu_seconds(detector: Detector, features: npt.NDArray[np.float32]) -> float:
    begun = time.process_time()
    detector.answers(features)
    return time.process_time() - begun


if __name__ == "__main__":
    sys.exit(main())
