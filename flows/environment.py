"""The surroundings of a run: quiet, offline, and with every tool's files below the state folder.

Must be called before Prefect, MLflow, Keras or numba are imported: they read their variables once. What the user has
set stays as it is.
"""

import hashlib
import logging
import os
from pathlib import Path

import features
from pipeline.settings import Settings


def prepare(settings: Settings, verbose: bool = False) -> None:
    """Set what is not set yet."""
    quiet = {} if verbose else QUIET
    for name, value in {**OFFLINE, **quiet, **folders(settings)}.items():
        os.environ.setdefault(name, value)
    # MLflow asks its global address here and there, and would begin a database in the working directory
    os.environ["MLFLOW_TRACKING_URI"] = settings.tracking_uri
    if settings.prefect.api_url:
        os.environ["PREFECT_API_URL"] = settings.prefect.api_url
    if not verbose:
        logging.getLogger("tensorflow").setLevel(logging.ERROR)


def folders(settings: Settings) -> dict[str, str]:
    """Return the variables that keep each tool's files below the state folder."""
    root = settings.state.root
    return {
        "PREFECT_HOME": str(root / "prefect"),
        "KERAS_HOME": str(root / "cache" / "keras"),
        "MPLCONFIGDIR": str(root / "cache" / "matplotlib"),
        "NUMBA_CACHE_DIR": str(root / "cache" / "numba" / _kernels()),
    }


def _kernels() -> str:
    """Return a name for the kernels of this installation.

    Numba looks whether a kernel's own file has changed, not whether the types have that it takes, and ends with an
    AttributeError where one of them has another name by now.
    """
    known = hashlib.blake2b(digest_size=4)
    for file in sorted(Path(features.__path__[0]).rglob("*.py")):
        about = file.stat()
        known.update(f"{file} {about.st_size} {about.st_mtime_ns}\n".encode())
    return known.hexdigest()


OFFLINE = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_CLIENT_SERVER_VERSION_CHECK_ENABLED": "false",
    "PREFECT_SERVER_EPHEMERAL_ENABLED": "true",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    "PREFECT_LOGGING_EXTRA_LOGGERS": "flowtag",
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "KERAS_BACKEND": "tensorflow",
    "TF_ENABLE_ONEDNN_OPTS": "0",  # the same sums in the same order on every machine
}

QUIET = {
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
    "PREFECT_SERVER_LOGGING_LEVEL": "CRITICAL",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "TF_CPP_MIN_LOG_LEVEL": "3",
}
