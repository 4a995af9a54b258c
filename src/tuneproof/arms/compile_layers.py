"""Which layers of an arm are compiled while it trains, and what is said of it.

In: a model that its method was applied to, the recipe's compute. Out: events, the layers to compile.
Knows nothing of: steps, how a layer is compiled.
"""

from typing import Any

from tuneproof.context.monitor import Running, Said
from tuneproof.errors import ModelError
from tuneproof.families.blocks import blocks_of
from tuneproof.models.compile import CompiledLayers
from tuneproof.models.heads import inner_model
from tuneproof.process_group import launched
from tuneproof.recipe.recipe import Arm
from tuneproof.settings import ComputeSettings


def compiled_layers(model: Any, arm: Arm, settings: ComputeSettings) -> Running[CompiledLayers]:
    """The layers that train, to be compiled; none, and said so, where that is not asked for or cannot be."""
    if not settings.compile:
        return CompiledLayers()
    reason, blocks = "", tuple[Any, ...]()
    if launched():
        reason = "under a launcher, every process would compile, and wait for the others"
    elif arm.method.packs:
        reason = f"{arm.method_name} holds its weights packed"
    else:
        try:
            blocks = blocks_of(inner_model(model).base_model).modules
        except ModelError:
            reason = "this architecture has no list of layers, each with weights of its own"
    if reason:
        yield Said(f"compute.compile: true has no effect here: {reason}.", noted=True)
    return CompiledLayers(
        [block for block in blocks if any(weight.requires_grad for weight in block.parameters())]
    )


def warm_up_said(seconds: float, resumed: bool) -> Said:
    """What compiling cost, for the arm's record."""
    more = ", those after each beginning again among them" if resumed else ""
    return Said(
        f"The layers were compiled by torch.compile: {seconds:.1f} s of the first steps{more} went into "
        "it. Predictions are made without it.",
        noted=True,
    )
