"""The routed experts of a mixture, which transformers holds as one tensor of three dimensions.

In: a model. Out: names of such tensors. Knows nothing of: options, adapters.
"""

from typing import Any

from tuneproof.families.blocks import blocks_of


def expert_weights(model: Any, last: int | None = None) -> list[str]:
    """Names of the tensors [experts, in, out] or [experts, out, in]; with `last`, of so many upper blocks.

    `is_transposed`, by which transformers marks such a module, tells which: other weights of three dimensions
    (convolutions, XLNet's heads) are no experts.

    Raises: ModelError where `last` is given and the model's blocks are not known.
    """
    names = [
        f"{name}.{weight_name}"
        for name, module in model.named_modules()
        if hasattr(module, "is_transposed")
        for weight_name, weight in module.named_parameters(recurse=False)
        if weight.ndim == 3
    ]
    if last is None or not names:
        return names
    blocks = blocks_of(model)
    return [name for name in names if blocks.holds(name, len(blocks.modules) - last)]
