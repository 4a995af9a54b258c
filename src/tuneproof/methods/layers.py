"""Which layers of a model train: all of them, or the last N above a frozen trunk.

In: a method's options, a model. Out: how many layers train; a model with the rest frozen.
Knows nothing of: how the trunk's states are kept.
"""

import re
from typing import Any

from tuneproof.families.blocks import blocks_of, weights_below
from tuneproof.families.family import Family

LAST = re.compile(r"last ([1-9][0-9]{0,5})")
DIFFERS = (
    "With layers: last N the frozen layers are read without dropout, once an item; a trainer that runs "
    "them in every step keeps dropout on in them."
)


def checked_layers(value: Any) -> str:
    """The setting as it is.

    Raises: ValueError where it is neither all nor last N.
    """
    if isinstance(value, str) and (value == "all" or LAST.fullmatch(value)):
        return value
    raise ValueError("it should be all, or last N with N from 1, such as last 4")


def last_layers(options: Any) -> int | None:
    """How many of the last layers train; None: all do, or the method has no such setting."""
    found = LAST.fullmatch(getattr(options, "layers", "all"))
    return int(found[1]) if found else None


def why_not_last(options: Any, layers: int | None, name: str) -> str | None:
    """The reason why a model of so many layers cannot train its last N alone; None where it can."""
    last = last_layers(options)
    if last is None or layers is None or last < layers:
        return None
    fewer = f"last 1 to last {layers - 1}, or all" if layers > 1 else "all"
    return f"{name} has {layers} layers: nothing is below its last {last}. Use layers: {fewer}."


def freeze_below(model: Any, last: int) -> None:
    """Freeze every weight that the input of the last `last` blocks depends on.

    Raises: ModelError where the model's blocks are not known.
    """
    below = weights_below(model, last)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name not in below)


def targets_in_last(model: Any, family: Family, which: Any, last: int) -> list[str]:
    """Whole names of the linear layers of the last `last` blocks that low-rank updates stand beside.

    Raises: ModelError where there is none, or the model's blocks are not known.
    """
    ends = family.lora_targets(model, which)
    blocks = blocks_of(model)
    first = len(blocks.modules) - last
    return [
        name
        for name, module in model.named_modules()
        if hasattr(module, "weight")
        and blocks.holds(name, first)
        and any(name == end or name.endswith(f".{end}") for end in ends)
    ]
