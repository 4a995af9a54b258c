"""Gradients of large embeddings on a CPU: the rows that were read, not the whole vocabulary.

In: a model with marked trainable weights. Out: the same gradients, written and wiped row by row.
Knows nothing of: losses, optimizers' rules, data.

A dense gradient of an embedding is V·D zeros anew at every step, 94 MB for 30,522 x 768, of which a batch
writes a few hundred rows: 43 ms of CPU time a step, measured, against 0.7 here. What optimizers and the
gradient's norm see is the same dense tensor.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

LEAST_WEIGHTS = 2**20  # below, zeros cost nothing


class RowGradients:
    """One buffer a large embedding, which stays its gradient from step to step."""

    def __init__(self, model: nn.Module) -> None:
        self._buffers: list[tuple[nn.Embedding, torch.Tensor]] = [
            (module, torch.zeros_like(module.weight)) for module in _large(model)
        ]
        self._read: list[list[torch.Tensor]] = [[] for _ in self._buffers]

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Backward passes add to the buffers; afterwards the modules are as they were."""
        hooks = []
        for (module, buffer), read in zip(self._buffers, self._read, strict=True):
            module.sparse = True
            module.weight.grad = buffer
            hooks.append(
                module.weight.register_hook(lambda found, read=read: read.append(found._indices()[0]))
            )
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()
            for module, _ in self._buffers:
                module.sparse = False
                module.weight.grad = None

    def wipe(self, whole: bool = False) -> None:
        """Zeros where the last passes wrote, or everywhere: a gradient that is not finite spreads."""
        for (module, buffer), read in zip(self._buffers, self._read, strict=True):
            if whole:
                buffer.zero_()
            elif read:
                buffer.index_fill_(0, torch.cat(read), 0)
            read.clear()
            module.weight.grad = buffer


def _large(model: nn.Module) -> list[nn.Embedding]:
    """Trainable embeddings on the CPU whose weight no other module reads (a tied head would)."""
    seen: dict[int, int] = {}
    for module in model.modules():
        for weight in module.parameters(recurse=False):
            seen[id(weight)] = seen.get(id(weight), 0) + 1
    return [
        module
        for module in model.modules()
        if type(module) is nn.Embedding
        and module.weight.requires_grad
        and type(module.weight.data) is torch.Tensor  # not a fake one
        and module.weight.device.type == "cpu"
        and module.weight.numel() >= LEAST_WEIGHTS
        and seen[id(module.weight)] == 1
        and not (module.sparse or module.scale_grad_by_freq or module.max_norm)
    ]
