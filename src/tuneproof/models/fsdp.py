"""A model whose weights are sharded over the processes (FSDP2), and full tensors gathered from shards.

In: a model. Out: the same model, each process holding a shard; full tensors for files.
Knows nothing of: losses, optimizers' rules, files.

Source: Zhao et al. 2023, arXiv:2304.11277; torch's `fully_shard`, one shard of every weight a process.
"""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from tuneproof.errors import ModelError
from tuneproof.families.blocks import blocks_of
from tuneproof.models.heads import inner_model

Tensors = dict[str, torch.Tensor]


def shard(model: nn.Module) -> None:
    """Shard every block's weights, and the weights outside of the blocks, over the processes.

    Gradients are sums over the processes, as the loop's losses are.
    """
    warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view tensor")
    try:
        blocks = blocks_of(inner_model(model)).modules
    except ModelError:
        blocks = ()  # ALBERT's layers share their weights: the model is one shard group
    for block in blocks:
        fully_shard(block)
    fully_shard(model)
    for module in _fsdp_modules(model):
        module.set_gradient_divide_factor(1.0)
        module.set_force_sum_reduction_for_comms(True)


def is_sharded(model: nn.Module) -> bool:
    """Whether the model's weights are sharded."""
    return isinstance(model, FSDPModule)


@contextmanager
def unsharded(model: nn.Module) -> Iterator[None]:
    """Within the context every process holds all weights, so that forwards need no other process."""
    if not is_sharded(model):
        yield
        return
    for module in _fsdp_modules(model):
        module.set_reshard_after_forward(False, recurse=False)
        module.unshard()
    try:
        yield
    finally:
        for module in _fsdp_modules(model):
            module.set_reshard_after_forward(module is not model, recurse=False)
            module.reshard()


def local_part(tensor: torch.Tensor) -> torch.Tensor:
    """This process's part of a tensor."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def shard_like(full: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """A full tensor, sharded as `like` is."""
    if not isinstance(like, DTensor):
        return full
    # src_data_rank=None: every process has the full tensor, nothing is sent
    return distribute_tensor(full.to(like.device), like.device_mesh, like.placements, src_data_rank=None)


def local_parts(model: nn.Module, weights: Mapping[str, torch.Tensor]) -> Tensors:
    """This process's parts of full weights, by name."""
    parameters = dict(model.named_parameters())
    return {
        name: local_part(shard_like(tensor, parameters[name])) if name in parameters else tensor
        for name, tensor in weights.items()
    }


def gather_full_weights(model: nn.Module, parts: Mapping[str, torch.Tensor]) -> Tensors:
    """Full tensors on the CPU, from parts under the same names in every process."""
    parameters = dict(model.named_parameters())
    return {name: gather_full_tensor(part, parameters[name]) for name, part in parts.items()}


def gather_full_tensor(part: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """The full tensor on the CPU; `part` is a local part of it or a sharded tensor."""
    if isinstance(like, DTensor) and not isinstance(part, DTensor) and part.ndim:
        local = (part.to(like.device), like.device_mesh, like.placements)
        part = DTensor.from_local(*local, shape=like.shape, stride=like.stride())
    full = part.full_tensor() if isinstance(part, DTensor) else part
    return full.detach().to("cpu", copy=True).contiguous()


def _fsdp_modules(model: nn.Module) -> list[Any]:
    return [module for module in model.modules() if isinstance(module, FSDPModule)]
