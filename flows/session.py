"""What surrounds the jobs of a command: progress, Prefect's API, an answer to Ctrl-C."""

import importlib
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from flows import display, local_api
from flows.disk import require_room, storage_error
from pipeline.progress import say
from pipeline.settings import Settings


@contextmanager
def recorded(settings: Settings, needed_soon: Sequence[str] = ()) -> Iterator[None]:
    """Run jobs under Prefect; they, and other modules that are slow to import, are imported while its API starts."""
    with watched(settings):
        require_room(settings.state.root)
        say("starting Prefect's API, and loading what the job needs")
        api = local_api.start(settings)
        for module in ("flows.jobs", *needed_soon):
            importlib.import_module(module)
        with api.recording():
            yield


@contextmanager
def watched(settings: Settings) -> Iterator[None]:
    """Show progress until the block ends, and say what to do when it is interrupted or the disk fails.

    Raises:
        StorageError: Something could not be written.
    """
    try:
        with display.shown():
            yield
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted. Start the same command again to go on.\n")
        raise
    except OSError as error:
        if told := storage_error(error, settings.state.root):
            raise told from error
        raise
