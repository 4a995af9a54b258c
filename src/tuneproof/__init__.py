"""tuneproof: transfer learning with proof. The public names, loaded when first used."""

import os
import sys
from importlib import import_module
from types import ModuleType
from typing import Any

# Threads that spin while they wait make two of them slower than one beside a busy neighbour (measured:
# 6.9 s against 3.7 with waiting threads, 3.2 with one). OpenMP reads this when torch is loaded.
if "torch" not in sys.modules:
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__version__ = "0.1.0"

_HOME = {
    "Recipe": "recipe",
    "read_recipe": "recipe",
    "check": "pipeline",
    "count": "ledger.count",
    "fit": "ledger.fit",
    "run": "study",
    "predict": "arms.label",
    "answer": "arms.label_questions",
    "Study": "study",
    "TuneproofError": "errors",
}
__all__ = ["__version__", *_HOME]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'tuneproof' has no attribute {name!r}")
    return getattr(import_module(f"tuneproof.{_HOME[name]}"), name)


class _Root(ModuleType):
    """`tuneproof.predict` is the function, though the room of that name is a package beneath."""

    @property
    def predict(self) -> Any:
        """See `tuneproof.arms.label.predict`."""
        return import_module("tuneproof.arms.label").predict

    @predict.setter
    def predict(self, value: Any) -> None:
        """Python's import puts the package here when it is first loaded."""


sys.modules[__name__].__class__ = _Root
