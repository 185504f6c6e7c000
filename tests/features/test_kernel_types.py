"""How numba is loaded: what it does not find meanwhile is there afterwards, and its objects are not collected."""

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


def test_imports_are_not_collected() -> None:
    """The collector passes over what imports left behind, at the end of the process as well."""
    frozen = "import features.kernel_types, gc; print(gc.get_freeze_count(), len(gc.get_objects()))"
    done = subprocess.run([sys.executable, "-c", frozen], check=True, capture_output=True, text=True)  # noqa: S603 (our own)
    kept, others = map(int, done.stdout.split())
    assert kept > 10_000 > 10 * others
