"""Processes that try folds; importing this brings nothing heavy, so that one limits its threads before Keras counts."""

import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager

THREADS = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")


@contextmanager
def working(workers: int) -> Iterator[ProcessPoolExecutor]:
    """Yield so many processes of their own; they end with the block, and with whoever started them, killed or not."""
    threads = max(1, (os.cpu_count() or 1) // workers)
    # TensorFlow cannot be forked
    others = multiprocessing.active_children()
    pool = ProcessPoolExecutor(
        workers, multiprocessing.get_context("spawn"), _begin, (threads, logging.getLogger("tensorflow").level)
    )
    try:
        yield pool
    except BaseException:
        # what is being trained may take minutes and nobody waits for it any more
        for process in multiprocessing.active_children():
            if process not in others:
                process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _begin(threads: int, tensorflow_level: int) -> None:
    """Prepare a process: its share of the cores, as quiet as its parent, an end at Ctrl-C and with its parent."""
    logging.getLogger("tensorflow").setLevel(tensorflow_level)
    for name in THREADS:
        os.environ.setdefault(name, str(threads))
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent:
        parent.join()
        os._exit(1)
