"""tuneproof: transfer learning with proof. The public names, loaded when first used."""

import os
import sys
from importlib import import_module
from typing import Any

# Threads that spin while they wait make two of them slower than one beside a busy neighbour (measured:
# 6.9 s against 3.7 with waiting threads, 3.2 with one). OpenMP reads this when torch is loaded.
if "torch" not in sys.modules:
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__version__ = "0.1.0"

_HOME = {
    "Recipe": "recipe.recipe",
    "read_recipe": "recipe.recipe",
    "check": "study.run",
    "count": "parameters.count",
    "fit": "memory.table",
    "run": "study.study",
    "predict": "apply.labels",
    "answer": "apply.answers",
    "Study": "study.study",
    "TuneproofError": "errors",
}
__all__ = ["__version__", *_HOME]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'tuneproof' has no attribute {name!r}")
    return getattr(import_module(f"tuneproof.{_HOME[name]}"), name)
