"""Weights held in 4 bits: how many they are, and how many bytes they take.

In: a model whose layers are packed, or will be. Out: true counts and bytes.
Knows nothing of: how they are packed, adapters, training.

bitsandbytes keeps two weights in a byte, so a packed tensor's own number of elements is half of what
it holds; the shape in its quantisation state is the true one.
"""

import math
from dataclasses import dataclass
from typing import Any

BLOCK = 64  # weights that share a scale
SCALES = 256  # scales that share a scale of their own


@dataclass(frozen=True)
class Packed:
    """`weights` are held in `size_bytes`, their scales included."""

    weights: int
    size_bytes: int


def true_size(parameter: Any) -> int:
    """Weights in a tensor, by the shape that it had before it was packed."""
    state = getattr(parameter, "quant_state", None)
    return int(parameter.numel()) if state is None else math.prod(state.shape)


def packed_now(model: Any) -> Packed | None:
    """What a loaded model holds packed, measured; None where nothing is."""
    found = [p for p in model.parameters() if getattr(p, "quant_state", None) is not None]
    if not found:
        return None
    size_bytes = 0
    for parameter in found:
        state = parameter.quant_state
        tensors = [parameter.data, state.absmax]
        tensors += [state.state2.absmax, state.offset] if state.nested else []
        size_bytes += sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    return Packed(sum(true_size(parameter) for parameter in found), size_bytes)


def packed_ahead(sizes: list[int]) -> Packed:
    """What layers of these sizes will take: half a byte a weight, a byte a block of 64 for its scale,
    a float32 for 256 of these and another one for their mean.

    Source: Dettmers et al. 2023, arXiv:2305.14314, section 3 (double quantisation).
    """
    size_bytes = 0
    for size in sizes:
        scales = math.ceil(size / BLOCK)
        size_bytes += math.ceil(size / 2) + scales + 4 * math.ceil(scales / SCALES) + 4
    return Packed(sum(sizes), size_bytes)
