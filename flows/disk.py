"""The disk below the state folder: looked at before a job begins, and named when a job fails for it."""

import errno
import shutil
import tempfile
from pathlib import Path

from features.errors import StorageError

LEAST_FREE_BYTES = 64 << 20
"""Prefect's and MLflow's databases and the compiled kernels take about half of it."""
FAULTS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO, errno.EACCES, errno.EPERM})
_MEBIBYTE = 1 << 20


def require_room(root: Path) -> None:
    """Make the state folder and write to it.

    Raises:
        StorageError: It cannot be made or written, or its disk has less than LEAST_FREE_BYTES left.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=root):
            free = shutil.disk_usage(root).free
    except OSError as error:
        raise StorageError(
            "the state folder cannot be written", str(root), "a folder to write in", str(error), "--state DIR"
        ) from error
    if free < LEAST_FREE_BYTES:
        raise StorageError(
            "too little room for the state folder",
            str(root),
            f"{LEAST_FREE_BYTES // _MEBIBYTE} MiB free",
            f"{free // _MEBIBYTE} MiB",
            "make room, or --state DIR on another disk",
        )


def storage_error(error: OSError, root: Path) -> StorageError | None:
    """Return what to tell the user of an error that a disk or folder is to blame for, else None."""
    if error.errno not in FAULTS:
        return None
    return StorageError(
        "what was to be written could not be",
        str(error.filename or root),
        "a disk with room, and folders to write in",
        error.strerror or str(error),
        "mend it and start the same command again: what was finished is kept",
    )
