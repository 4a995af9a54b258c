"""Which layers of an arm are compiled while it trains, and what the user is told about it.

In: the arm's context, a model with its method applied. Out: the layers to compile.
Knows nothing of: steps, how a layer is compiled.
"""

from typing import Any

from tuneproof.context.arm_context import ArmContext
from tuneproof.errors import ModelError
from tuneproof.families.blocks import blocks_of
from tuneproof.models.compile import CompiledLayers
from tuneproof.models.heads import inner_model
from tuneproof.process_group import launched


def compile_layers(context: ArmContext, model: Any) -> CompiledLayers:
    """The layers that train, to be compiled; none where that is not requested or not possible."""
    if not context.recipe.compute.compile:
        return CompiledLayers()
    reason, blocks = "", tuple[Any, ...]()
    if launched():
        reason = "under a launcher, every process would compile and wait for the others"
    elif context.arm.method.quantizes:
        reason = f"{context.arm.method_name} quantises its weights"
    else:
        try:
            blocks = blocks_of(inner_model(model).base_model).modules
        except ModelError:
            reason = "this architecture has no list of layers with weights of their own"
    if reason:
        context.monitor.message(f"compute.compile: true has no effect here: {reason}.", recorded=True)
    return CompiledLayers(
        [block for block in blocks if any(weight.requires_grad for weight in block.parameters())]
    )


def compile_message(seconds: float, resumed: bool) -> str:
    """What compiling cost, for the arm's record."""
    again = ", compiling again after each resume included" if resumed else ""
    return (
        f"torch.compile compiled the layers: {seconds:.1f} s of the first steps{again}. "
        "Predictions use the layers without it."
    )
