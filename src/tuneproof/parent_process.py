"""A process that ends when the one that started it dies, even by SIGKILL.

In: the parent's process number. Out: nothing. Knows nothing of: tuneproof, what the process does.

Processes without the package run this file by its path.
"""

import os
import threading
import time

INTERVAL_S = 0.2


def end_with_parent(parent: int) -> None:
    """End this process at once when `parent` no longer is its parent."""
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def end_with_launcher() -> None:
    """End this process when torchrun or `accelerate launch`, which started it, dies."""
    if "TORCHELASTIC_RUN_ID" in os.environ:
        end_with_parent(os.getppid())


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(INTERVAL_S)
    os._exit(1)
