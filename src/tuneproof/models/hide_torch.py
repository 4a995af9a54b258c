"""transformers without torch, in a process that reads configurations and tokenizers only.

In: nothing. Out: transformers as it is where torch is not installed. Knows nothing of: models.

With torch available, the configuration of one model imports torch with its compiler, exporter and
distributed tensors: three and a half seconds of processor time instead of three quarters of one.
"""

import importlib.util
import os
import sys
from importlib.machinery import ModuleSpec


def hide_torch() -> None:
    """Make transformers treat torch as not installed, for the rest of this process.

    Does nothing where either is already imported. transformers checks once; afterwards the finder is
    restored, so torch itself can still be imported.
    """
    if "torch" in sys.modules or "transformers" in sys.modules:
        return
    os.environ["TRANSFORMERS_NO_ADVISORY_WARNINGS"] = "1"  # it would warn that torch is missing
    find = importlib.util.find_spec

    def find_but_torch(name: str, package: str | None = None) -> ModuleSpec | None:
        return None if name == "torch" else find(name, package)

    importlib.util.find_spec = find_but_torch
    try:
        from transformers.utils.import_utils import is_torch_available

        is_torch_available()
    finally:
        importlib.util.find_spec = find
