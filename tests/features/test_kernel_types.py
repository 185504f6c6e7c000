"""What numba does not find while it loads is there afterwards."""

import subprocess
import sys

AFTERWARDS = """
import features.kernel_types
import sys
assert "scipy.linalg.cython_blas" not in sys.modules and "cffi" not in sys.modules
import cffi, numba, numpy, scipy.linalg.cython_blas
twice = numba.njit(lambda one: numpy.linalg.inv(one) @ one)
print(twice(2 * numpy.eye(2)).tolist())
"""


def test_linear_algebra_afterwards() -> None:
    """Other code of the same process imports what was hidden, and numba's linear algebra works for it."""
    done = subprocess.run([sys.executable, "-c", AFTERWARDS], check=True, capture_output=True, text=True)  # noqa: S603 (our own)
    assert done.stdout.split() == ["[[1.0,", "0.0],", "[0.0,", "1.0]]"]
