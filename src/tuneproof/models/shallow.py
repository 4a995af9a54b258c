"""A model of the right shape without its weights: the lowest layers alone, filled with arbitrary numbers.

In: a configuration, a head, a number of layers. Out: a model that computes as fast as a real one.
Knows nothing of: weights on disk, data, clocks.
"""

from typing import Any

import torch

from tuneproof.families.blocks import with_layers
from tuneproof.families.models import ModelSource
from tuneproof.models.load import Head, model_on_meta

FULL_DEPTH_WEIGHTS = 120_000_000  # of layers: as many as are built
SCALE = 0.02  # standard deviation, as most models start
TILE = 1 << 16  # numbers that are drawn, then repeated
_base_weights: dict[tuple[ModelSource, str], int] = {}


def depths_to_build(layers: int, weights_per_layer: int) -> tuple[int, ...]:
    """The numbers of layers from which costs are extended to all: all of a small model, else two numbers."""
    affordable = max(2, FULL_DEPTH_WEIGHTS // max(1, weights_per_layer))
    return (layers,) if affordable >= layers else (1, affordable)


def base_weights(source: ModelSource, config: Any) -> int:
    """The weights of a model without a head, counted once in a process."""
    key = (source, config.to_json_string())
    if key not in _base_weights:
        model = model_on_meta(source, config, head="base")
        _base_weights[key] = sum(parameter.numel() for parameter in model.parameters())
    return _base_weights[key]


def layer_weights(source: ModelSource, config: Any) -> int:
    """The weights of one layer: the difference that a second layer makes."""
    one, two = (base_weights(source, with_layers(config, layers)) for layers in (1, 2))
    return two - one


def shallow_model(
    source: ModelSource, config: Any, head: Head, labels: tuple[str, ...], layers: int, dtype: torch.dtype
) -> Any:
    """The lowest layers under a head, on the CPU, with arbitrary numbers as weights.

    Raises: ModelError where the architecture has no such head.
    """
    model = model_on_meta(source, with_layers(config, layers), head=head, labels=labels)
    model = model.to(dtype).to_empty(device="cpu")
    model.tie_weights()
    tile = torch.randn(TILE, generator=torch.Generator().manual_seed(0)) * SCALE
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            flat = tensor.view(-1)
            if not tensor.is_floating_point():
                flat.zero_()
                continue
            whole = flat.numel() // TILE * TILE
            flat[:whole].view(-1, TILE).copy_(tile)
            flat[whole:].copy_(tile[: flat.numel() - whole])
    return model.eval()
