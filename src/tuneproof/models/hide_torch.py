"""transformers for configurations and tokenizers alone, in a process that loads no weights.

In: nothing. Out: transformers as it is where torch is not installed.
Knows nothing of: models.

With torch in sight, the configuration of one model imports torch with its compiler, exporter and
distributed tensors: three and a half seconds of processor time instead of three quarters of one.
"""

import importlib.util
import os
import sys
from importlib.machinery import ModuleSpec


def hide_torch() -> None:
    """Let transformers answer that torch is not there, for the rest of this process.

    Nothing is done where either was imported already. transformers asks once and remembers; the
    finder is as before when this returns, so torch itself can still be imported.
    """
    if "torch" in sys.modules or "transformers" in sys.modules:
        return
    os.environ["TRANSFORMERS_NO_ADVISORY_WARNINGS"] = "1"  # it would say that torch is missing
    find = importlib.util.find_spec

    def find_but_torch(name: str, package: str | None = None) -> ModuleSpec | None:
        return None if name == "torch" else find(name, package)

    importlib.util.find_spec = find_but_torch
    try:
        from transformers.utils.import_utils import is_torch_available

        is_torch_available()
    finally:
        importlib.util.find_spec = find
