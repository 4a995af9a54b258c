"""Gradients of large embeddings on a CPU: only the rows that were read, not the whole vocabulary.

In: a model with marked trainable weights. Out: the same gradients, written and cleared row by row.
Knows nothing of: losses, optimizers' rules, data.

A dense gradient of an embedding is V·D new zeros at every step, 94 MB for 30,522 x 768, of which a batch
writes a few hundred rows: 43 ms of CPU time a step, measured, against 0.7 here. Optimizers and the
gradient's norm see the same dense tensor.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeGuard

import torch
from torch import nn

MIN_WEIGHTS = 2**20  # below, zeros are cheap


class RowGradients:
    """One buffer per large embedding, which stays its gradient from step to step."""

    def __init__(self, model: nn.Module) -> None:
        self._buffers: list[tuple[nn.Embedding, torch.Tensor]] = [
            (module, torch.zeros_like(module.weight)) for module in _large(model)
        ]
        self._rows_read: list[list[torch.Tensor]] = [[] for _ in self._buffers]

    @contextmanager
    def active(self) -> Iterator[None]:
        """Within the context backward passes add to the buffers; afterwards the modules are as before."""
        hooks = []
        for (module, buffer), rows in zip(self._buffers, self._rows_read, strict=True):
            module.sparse = True
            module.weight.grad = buffer
            hook = module.weight.register_hook(lambda grad, rows=rows: rows.append(grad._indices()[0]))
            hooks.append(hook)
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()
            for module, _ in self._buffers:
                module.sparse = False
                module.weight.grad = None

    def clear(self, all_rows: bool = False) -> None:
        """Zero the rows that the last passes wrote, or all rows after a gradient that is not finite."""
        for (module, buffer), rows in zip(self._buffers, self._rows_read, strict=True):
            if all_rows:
                buffer.zero_()
            elif rows:
                buffer.index_fill_(0, torch.cat(rows), 0)
            rows.clear()
            module.weight.grad = buffer


def _large(model: nn.Module) -> list[nn.Embedding]:
    """Trainable embeddings on the CPU whose weight no other module shares (a tied head does)."""
    uses = Counter(id(weight) for module in model.modules() for weight in module.parameters(recurse=False))
    return [module for module in model.modules() if _is_large(module) and uses[id(module.weight)] == 1]


def _is_large(module: nn.Module) -> TypeGuard[nn.Embedding]:
    if type(module) is not nn.Embedding or module.sparse or module.scale_grad_by_freq or module.max_norm:
        return False
    weight = module.weight
    is_real = type(weight.data) is torch.Tensor  # not a fake one
    return is_real and weight.requires_grad and weight.device.type == "cpu" and weight.numel() >= MIN_WEIGHTS
