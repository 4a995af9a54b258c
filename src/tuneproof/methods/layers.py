"""Which layers of a model train: all of them, or the last N above frozen ones.

In: a method's options, a model. Out: a model with the lower layers frozen; layers for adapters.
Knows nothing of: how the frozen layers' states are cached.
"""

from typing import Any

from tuneproof.families.blocks import blocks_of, weights_below
from tuneproof.families.family import Family, TargetNames
from tuneproof.methods.options import MethodOptions, last_layers
from tuneproof.methods.unread_weights import unread_weights

DIFFERS = (
    "With layers: last N, the frozen layers process each item once, without dropout; a usual training loop "
    "runs them in every step, with dropout."
)


def why_not_last(options: MethodOptions, layers: int | None, name: str) -> str | None:
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
        if name in below:
            parameter.requires_grad_(False)


def freeze_unread(model: Any) -> None:
    """Freeze what is to train although no output depends on it; its names stay as `model.unread_weights`."""
    model.unread_weights = unread_weights(model)
    for name in model.unread_weights:
        model.get_parameter(name).requires_grad_(False)


def targets_in_last(model: Any, family: Family, targets: TargetNames, last: int) -> list[str]:
    """Whole names of the linear layers of the last `last` blocks that adapters stand beside.

    Raises: ModelError where there is none, or the model's blocks are not known.
    """
    ends = family.adapter_targets(model, targets)
    blocks = blocks_of(model)
    first = len(blocks.modules) - last
    return [
        name
        for name, module in model.named_modules()
        if hasattr(module, "weight")
        and blocks.holds(name, first)
        and any(name == end or name.endswith(f".{end}") for end in ends)
    ]
