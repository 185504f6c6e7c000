"""Arrays that a detector keeps beside its network, read back without pickles."""

import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from features.errors import ModelError


@contextmanager
def saved_arrays(path: Path, what: str) -> Iterator[Mapping[str, npt.NDArray[Any]]]:
    """Yield the arrays of a file of NumPy's npz by name, read when asked for; no pickle is ever read.

    Args:
        path: The file.
        what: What it holds, as the error calls it.

    Raises:
        ModelError: The file is damaged, or what the block makes of it fails because it holds other arrays.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as saved:
            yield saved
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise ModelError(
            f"{what} cannot be read", str(path), "arrays of flowtag", str(error), "flowtag train"
        ) from error
