"""Adapters among the models of a recipe: each is evaluated as it is, by an arm of its own.

In: a model's folder. Out: the options of the arm. Knows nothing of: weights, what an arm does.
"""

import os
from collections.abc import Collection
from pathlib import Path

from tuneproof.families.models import holds_adapter, safe_name
from tuneproof.methods.tuned_model import TunedModelOptions


def is_adapter(folder: str) -> bool:
    """Whether a folder holds an adapter alone."""
    path = Path(folder).expanduser()
    return os.path.isdir(path) and holds_adapter(path)  # isdir is False for what is not a path


def adapter_options(
    folder: str, name: str | None, revision: str | None, arms: Collection[str]
) -> TunedModelOptions:
    """The options of the arm that evaluates an adapter; its name is none of `arms`."""
    own = name or safe_name(Path(folder).expanduser().resolve().name)
    unique = f"{own}-adapter" if own in arms else own
    return TunedModelOptions.model_validate({"name": unique, "model": folder, "revision": revision})
