"""The pages of Prefect and MLflow over the state folder, each its own tool's server in place of this process."""

import os
import sys

from features.errors import InputError
from pipeline.settings import Settings

ADDRESSES = {
    "prefect": "http://127.0.0.1:4200  the runs, their tasks and reports",
    "mlflow": "http://127.0.0.1:5000  the trainings and the registered detectors",
}


def serve(which: str, settings: Settings) -> None:
    """Become the server of that page, with the environment as it was prepared.

    Raises:
        InputError: There is no such page.
    """
    commands = {
        "prefect": ["prefect", "server", "start"],
        "mlflow": ["mlflow", "server", "--host", "127.0.0.1", "--backend-store-uri", settings.tracking_uri],
    }
    if which not in commands:
        raise InputError("no such page", "flowtag ui", " or ".join(commands), which)
    sys.stderr.write(f"{ADDRESSES[which]}\n")
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, "-m", *commands[which]])  # noqa: S606 (our own interpreter)
