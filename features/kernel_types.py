"""What the numba kernels share: the types of their values as mypy sees them, and the mark for what was never seen."""

from typing import Any, TypeAlias

import numpy as np

Record: TypeAlias = Any
"""A row of a structured array inside a kernel: numba gives it its fields as attributes, mypy knows no such type."""
Int: TypeAlias = int | np.int64 | np.uint64
"""A number inside a kernel."""
NEVER = -1
"""Marks a time, window or code that was never seen."""
