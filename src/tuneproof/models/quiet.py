"""Other packages kept quiet while they are asked: what they would say is checked and recorded here.

In: nothing. Out: contexts. Knows nothing of: what is done inside.
"""

import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet() -> Iterator[None]:
    """No progress bar, no table of missing weights, no warning of a package to its own callers."""
    from transformers.utils import logging as told

    level, bar = told.get_verbosity(), told.is_progress_bar_enabled()
    told.set_verbosity_error()
    told.disable_progress_bar()
    try:
        with warnings.catch_warnings(), quiet_bitsandbytes():
            warnings.simplefilter("ignore", FutureWarning)  # of transformers to its own callers
            warnings.filterwarnings("ignore", "fan_in_fan_out is set")  # PEFT mends it itself
            yield
    finally:
        told.set_verbosity(level)
        if bar:
            told.enable_progress_bar()


@contextmanager
def quiet_bitsandbytes() -> Iterator[None]:
    """Import bitsandbytes without what it would fetch and say: kernels from the hub, by name."""
    logger = logging.getLogger("bitsandbytes")
    level, absent = logger.level, "kernels" not in sys.modules
    logger.setLevel(logging.ERROR)
    if absent:
        sys.modules["kernels"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        logger.setLevel(level)
        if absent:
            del sys.modules["kernels"]
