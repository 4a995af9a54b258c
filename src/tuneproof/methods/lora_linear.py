"""A linear layer with its low-rank update as one operation, in place of the six that peft makes of it.

In: a model that peft adapted. Out: the same model; its layers compute the same to rounding, in less time.
Knows nothing of: options, tasks, the loop.

peft scales the update and adds it to the layer's output, each in a pass over a tensor as wide as the
layer, forward and backward. Here the product accumulates onto the output, and the scale is applied to
the rank's few columns.
"""

from typing import Any

import torch
from peft.tuners.lora.layer import Linear as PeftLinear
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn.modules import module as module_hooks

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


class LoraLinear(PeftLinear):
    """peft's layer where one adapter without dropout is active in one precision; else peft's own forward."""

    def forward(self, x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        """[..., D] → [..., N]."""
        adapter = None if args or kwargs else self._only_adapter(x)
        if adapter is None:
            return super().forward(x, *args, **kwargs)
        down, up = self.lora_A[adapter].weight, self.lora_B[adapter].weight
        base: Any = self.get_base_layer()
        rows_MD = x.reshape(-1, x.shape[-1])
        output_MN: torch.Tensor = _Update.apply(
            rows_MD, base.weight, base.bias, down, up, self.scaling[adapter]
        )
        return output_MN.view(*x.shape[:-1], output_MN.shape[-1])

    def _only_adapter(self, x: torch.Tensor) -> str | None:
        """The adapter's name where the layer is a plain one; None: leave it to peft."""
        if self.disable_adapters or self.merged or len(self.active_adapters) != 1:
            return None
        adapter: str = self.active_adapters[0]
        if adapter not in self.lora_A or adapter in self.lora_variant or _is_watched(x):
            return None
        base, up = self.base_layer, self.lora_B[adapter]
        parts = (base, self.lora_A[adapter], up)
        plain = all(type(part) is nn.Linear and part.weight.dtype == x.dtype for part in parts)
        hooked = any(any(getattr(part, hooks) for hooks in HOOKS) for part in parts)
        frozen = not any(parameter.requires_grad for parameter in base.parameters())
        no_dropout = isinstance(self.lora_dropout[adapter], nn.Identity)
        return adapter if plain and frozen and no_dropout and up.bias is None and not hooked else None


def _is_watched(x: torch.Tensor) -> bool:
    """Whether products have another dtype than the weights, or the calls of all modules are counted."""
    autocast = not x.is_meta and torch.is_autocast_enabled(x.device.type)
    return autocast or bool(module_hooks._has_any_global_hook())


class _Update(torch.autograd.Function):
    """X Wᵀ + b + s (X Aᵀ) Bᵀ for M rows X [M, D]; W [N, D] and b [N] are frozen, A [R, D] and B [N, R] train.

    Source: Hu et al. 2021, arXiv:2106.09685, equation 3.
    """

    @staticmethod
    def forward(
        ctx: Any,
        rows_MD: torch.Tensor,
        weight_ND: torch.Tensor,
        bias_N: torch.Tensor | None,
        down_RD: torch.Tensor,
        up_NR: torch.Tensor,
        scale: float,
    ) -> torch.Tensor:
        inner_MR = rows_MD @ down_RD.T
        output_MN = nn.functional.linear(rows_MD, weight_ND, bias_N)
        output_MN.addmm_(inner_MR, up_NR.T, alpha=scale)
        ctx.save_for_backward(rows_MD, weight_ND, down_RD, up_NR, inner_MR)
        ctx.scale = scale
        return output_MN

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient_MN: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        rows_MD, weight_ND, down_RD, up_NR, inner_MR = ctx.saved_tensors
        inner_gradient_MR = (gradient_MN @ up_NR).mul_(ctx.scale)
        up_gradient_NR = (gradient_MN.T @ inner_MR).mul_(ctx.scale)
        down_gradient_RD = inner_gradient_MR.T @ rows_MD
        rows_gradient_MD = None
        if ctx.needs_input_grad[0]:
            rows_gradient_MD = (gradient_MN @ weight_ND).addmm_(inner_gradient_MR, down_RD)
        return rows_gradient_MD, None, None, down_gradient_RD, up_gradient_NR, None


def fuse_updates(adapted: Any) -> None:
    """Let peft's plain LoRA layers of the model compute as `LoraLinear`."""
    for module in adapted.modules():
        if type(module) is PeftLinear:
            module.__class__ = LoraLinear
