"""Which weights of adapted blocks have no adapter: experts in one tensor, routers, convolutions.

In: a model with adapters. Out: names of weights. Knows nothing of: options, how weights are counted.
"""

from typing import Any

from tuneproof.families.blocks import is_embedding


def weights_without_adapter(adapted: Any) -> tuple[str, ...]:
    """Names of the matrices in blocks with adapters that none stands beside, except embeddings and norms.

    peft's adapters stand beside linear layers; transformers holds the experts of a mixture as one tensor.
    """
    modules = dict(adapted.named_modules())
    layers = [name for name, module in modules.items() if "base_layer" in module._modules]
    blocks = {_block(name) for name in layers} - {""}
    covered = tuple(f"{name}." for name in layers)
    return tuple(
        name
        for name, weight in adapted.named_parameters()
        if weight.ndim > 1
        and _block(name) in blocks
        and not name.startswith(covered)
        and not _is_apart(modules[name.rpartition(".")[0]])
    )


def _block(name: str) -> str:
    """The name up to its first number; empty where it has none."""
    parts = name.split(".")
    ends = [index for index, part in enumerate(parts) if part.isdigit()]
    return ".".join(parts[: ends[0] + 1]) if ends else ""


def _is_apart(module: Any) -> bool:
    return is_embedding(module) or "norm" in type(module).__name__.lower()
