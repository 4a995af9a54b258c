"""tuneproof: transfer learning with proof. Public names are loaded on first use."""

import os
import sys
from importlib import import_module
from typing import Any

from tuneproof.models.lazy_modules import put_off_imports

# Waiting threads that spin are slow on a busy machine: with two threads beside one busy process we measured
# 6.9 s, against 3.7 s without spinning and 3.2 s with one thread. OpenMP reads this when torch is loaded.
if "torch" not in sys.modules:
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

put_off_imports()

__version__ = "0.1.0"

_MODULES = {
    "Recipe": "recipe.recipe",
    "read_recipe": "recipe.recipe",
    "check": "study.plan",
    "count": "parameters.count",
    "estimate_memory": "memory.table",
    "run": "study.study",
    "load": "apply.loaded_arm",
    "predict": "apply.labels",
    "answer": "apply.answers",
    "publish_arm": "publish.publish_arm",
    "Study": "study.study",
    "TuneproofError": "errors",
}
__all__ = ["__version__", *_MODULES]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'tuneproof' has no attribute {name!r}")
    return getattr(import_module(f"tuneproof.{_MODULES[name]}"), name)
