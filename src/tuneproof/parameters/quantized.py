"""Weights quantised to 4 bits: how many they are, and how many bytes they take.

In: a model with quantised layers, or the sizes of layers to be quantised. Out: true counts and bytes.
Knows nothing of: the quantisation itself, adapters, training.

bitsandbytes keeps two weights per byte, so the number of elements of a quantised tensor is half of its
number of weights. The shape in its quantisation state is the true one.
"""

import math
from dataclasses import dataclass
from typing import Any

BLOCK = 64  # weights that share a scale
SCALES = 256  # scales that share a second scale


@dataclass(frozen=True)
class QuantizedSize:
    """`weights` take `size_bytes`, their scales included."""

    weights: int
    size_bytes: int


def count_weights(parameter: Any) -> int:
    """Number of weights in a tensor, by its shape before quantisation."""
    state = getattr(parameter, "quant_state", None)
    return int(parameter.numel()) if state is None else math.prod(state.shape)


def measure_quantized(model: Any) -> QuantizedSize | None:
    """The quantised weights of a loaded model; None if it has none."""
    quantized = [p for p in model.parameters() if getattr(p, "quant_state", None) is not None]
    if not quantized:
        return None
    size_bytes = 0
    for parameter in quantized:
        state = parameter.quant_state
        tensors = [parameter.data, state.absmax]
        tensors += [state.state2.absmax, state.offset] if state.nested else []
        size_bytes += sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    return QuantizedSize(sum(count_weights(parameter) for parameter in quantized), size_bytes)


def estimate_quantized(sizes: list[int]) -> QuantizedSize:
    """The size of layers with these numbers of weights after quantisation.

    Each weight takes half a byte, each block of 64 weights one byte for its scale, each 256 scales a
    float32, each layer a float32 for their mean.

    Source: Dettmers et al. 2023, arXiv:2305.14314, section 3 (double quantisation).
    """
    size_bytes = 0
    for size in sizes:
        scales = math.ceil(size / BLOCK)
        size_bytes += math.ceil(size / 2) + scales + 4 * math.ceil(scales / SCALES) + 4
    return QuantizedSize(sum(sizes), size_bytes)
