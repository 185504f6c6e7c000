"""What the numba kernels share: how they are compiled, the types of their values, the mark for what was never seen."""

import gc
import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import numpy as np
from numba import njit

Record: TypeAlias = Any
"""A row of a structured array inside a kernel: numba gives it its fields as attributes, mypy knows no such type."""
Int: TypeAlias = int | np.int64 | np.uint64
"""A number inside a kernel."""
NEVER = -1
"""Marks a time, window or code that was never seen."""


@contextmanager
def _hidden(*names: str) -> Iterator[None]:
    """Let modules that are not imported yet seem not to be installed."""
    missing = [name for name in names if name not in sys.modules]
    marks: Any = dict.fromkeys(missing)  # to None, which an import takes for a module that is not there
    sys.modules.update(marks)
    try:
        yield
    finally:
        for name in missing:
            del sys.modules[name]


# Before its first kernel runs, numba looks whether these are there, for functions that no kernel here calls. Each
# brings a tree of modules with it, an eighth of a second together.
with _hidden("scipy.linalg.cython_blas", "cffi"):
    for _asking in ("numba.np.arraymath", "numba.core.typing.cffi_utils"):
        importlib.import_module(_asking)

# What imports leave behind stays as long as the process. The collector need not look through it time and again, and at
# the end: a quarter of a second of CPU time.
gc.freeze()

_UNCOUNTED: dict[str, Any] = {"nogil": True, "_nrt": False, "no_cfunc_wrapper": True}
"""Without reference counts: numba would count every array of a tuple up and down at each call that passes it, in locked
additions that took three quarters of the meter's time. Who calls a kernel holds the arrays meanwhile. And without an
entry for C, which nobody calls."""
_INSIDE: dict[str, Any] = {**_UNCOUNTED, "no_cpython_wrapper": True}

part = njit(**_INSIDE)
"""Compiles a function that kernels call, and nothing else does: the entries for others would be a third of the
compiling. It allocates nothing."""
kernel = njit(cache=True, **_UNCOUNTED)
"""Compiles what Python calls, likewise, and keeps it on disk."""
