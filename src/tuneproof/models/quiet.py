"""Contexts that silence other packages: tuneproof checks and records what they would warn of.

In: nothing. Out: contexts. Knows nothing of: the code that runs inside.
"""

import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet() -> Iterator[None]:
    """No progress bars, no table of missing weights, no warnings among packages."""
    from transformers.utils import logging as transformers_logging

    level = transformers_logging.get_verbosity()
    had_bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        with warnings.catch_warnings(), quiet_bitsandbytes():
            warnings.simplefilter("ignore", FutureWarning)  # within transformers
            warnings.filterwarnings("ignore", "fan_in_fan_out is set")  # PEFT corrects it
            yield
    finally:
        transformers_logging.set_verbosity(level)
        if had_bars:
            transformers_logging.enable_progress_bar()


@contextmanager
def quiet_bitsandbytes() -> Iterator[None]:
    """Import bitsandbytes without warnings and without kernels from the hub."""
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
