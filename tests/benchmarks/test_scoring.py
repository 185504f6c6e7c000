"""How many flows a second of CPU answers for, measured on a detector made by hand."""

import numpy as np
import pytest

from benchmarks.scoring import rates
from models.card import DetectorCard
from models.detector import Detector
from models.network import NetworkSettings, build_network
from models.normaliser import measure
from models.thresholds import Thresholds

NAMES, TAGS = ("first", "second"), ("scan",)


def test_flows_a_second_and_seconds_a_flow_are_one_figure() -> None:
    """Three flows repeated to a thousand; a million microseconds over those of one flow are the flows of a second."""
    features = np.array([[1, 2], [3, np.nan], [5, 6]], np.float32)
    settings = NetworkSettings(members=1, widths=(4,))
    views = build_network(measure(features, "log", 6.0), None, NAMES, np.zeros(1, np.float32), settings)
    thresholds = Thresholds((0.5,), ("tuned",), 0.0, 0.0)
    card = DetectorCard(TAGS, NAMES, 1, "0123456789abcdef", thresholds, (None, None), {}, {})
    found = rates(Detector(views.mean, card), features, flows=1_000)
    assert found["flows"] == 1_000
    assert found["cpu_us_a_flow"] > 0
    assert found["flows_per_cpu_s"] == pytest.approx(1e6 / found["cpu_us_a_flow"])
