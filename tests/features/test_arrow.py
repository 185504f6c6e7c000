"""Arrow arrays by their buffers are those that pyarrow makes itself."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from features.arrow import numbers, texts

CAPTURE = Path(__file__).parents[2] / "captures/demo-valid.pcap.zst"
EXTRACT = """
import sys
from pathlib import Path
from features.extract import extract
from features.metering.meter import MeterSettings
assert sum(batch.num_rows for batch in extract([Path(sys.argv[1])], MeterSettings()))
assert not {"pandas", "scipy.linalg", "cffi"} & set(sys.modules)
"""


@pytest.mark.parametrize("kind", ["i4", "u2", "i8", "f4"])
def test_numbers_are_those_of_pyarrow(kind: str) -> None:
    """Values, type and nulls are pyarrow's, of strided arrays too."""
    values = np.arange(40).astype(kind)[::2]
    known = np.arange(20) % 3 > 0
    for mask in (known, np.ones(20, bool), np.zeros(20, bool)):
        assert numbers(values, mask).equals(pa.array(values, mask=~mask))
    assert numbers(values).equals(pa.array(values))
    assert numbers(values[:0]).equals(pa.array(values[:0]))


def test_texts_are_those_of_pyarrow() -> None:
    """Texts of any length and script, and none at all."""
    for values in (["", "a", "häßlich", "日本"], []):
        made = texts(values)
        made.validate(full=True)
        assert made.equals(pa.array(values, pa.string()))


def test_feature_rows_are_made_without_large_imports() -> None:
    """A process that meters a capture does not pay for imports it has no use for, pyarrow's and numba's among them."""
    command = [sys.executable, "-c", EXTRACT, str(CAPTURE)]
    subprocess.run(command, check=True)  # noqa: S603 (our own command)
