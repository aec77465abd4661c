"""Processes that other processes have made."""

import multiprocessing
import os
import threading
import time


def end_with_parent() -> None:
    """Have a process that multiprocessing or joblib made end within a second of its parent, which a SIGKILL gives no
    time to end it; others go on.

    A program that the user has started must outlive the shell that it was started from.
    """
    if parent := multiprocessing.parent_process():
        threading.Thread(target=_watch, args=(parent.pid,), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)
