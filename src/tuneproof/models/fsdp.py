"""A model whose weights are shared out over the processes (FSDP2), and tensors made whole again.

In: a model, its team. Out: the same model, each process holding a shard; whole tensors for files.
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
    """Share out every block's weights, and what lies outside of the blocks, over the processes.

    Gradients are sums over the processes, as the loop's losses are.
    """
    warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view tensor")
    try:
        blocks = blocks_of(inner_model(model)).modules
    except ModelError:
        blocks = ()  # ALBERT's layers are one: it is shared out as a whole
    for block in blocks:
        fully_shard(block)
    fully_shard(model)
    for module in _sharded(model):
        module.set_gradient_divide_factor(1.0)
        module.set_force_sum_reduction_for_comms(True)


def is_sharded(model: nn.Module) -> bool:
    """Whether the model's weights are shared out."""
    return isinstance(model, FSDPModule)


@contextmanager
def whole_weights(model: nn.Module) -> Iterator[None]:
    """Every process holds all weights meanwhile, so that forwards need none of the others."""
    if not is_sharded(model):
        yield
        return
    for module in _sharded(model):
        module.set_reshard_after_forward(False, recurse=False)
        module.unshard()
    try:
        yield
    finally:
        for module in _sharded(model):
            module.set_reshard_after_forward(module is not model, recurse=False)
            module.reshard()


def own_part(tensor: torch.Tensor) -> torch.Tensor:
    """What this process holds of a tensor."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def part_of(whole: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """A whole tensor as `like` is held: shared out, or as it is."""
    if not isinstance(like, DTensor):
        return whole
    # every process has the whole: nothing is sent
    return distribute_tensor(whole.to(like.device), like.device_mesh, like.placements, src_data_rank=None)


def parts_of(model: nn.Module, whole: Mapping[str, torch.Tensor]) -> Tensors:
    """Named whole weights as what this process holds of them."""
    known = dict(model.named_parameters())
    return {
        name: own_part(part_of(tensor, known[name])) if name in known else tensor
        for name, tensor in whole.items()
    }


def made_whole(model: nn.Module, parts: Mapping[str, torch.Tensor]) -> Tensors:
    """Named parts, the same names in every process, as whole tensors on the CPU."""
    known = dict(model.named_parameters())
    return {name: whole_of(part, known[name]) for name, part in parts.items()}


def whole_of(part: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """One of them; `part` may be shared out itself."""
    if isinstance(like, DTensor) and not isinstance(part, DTensor) and part.ndim:
        part = DTensor.from_local(
            part.to(like.device), like.device_mesh, like.placements, shape=like.shape, stride=like.stride()
        )
    whole = part.full_tensor() if isinstance(part, DTensor) else part
    return whole.detach().to("cpu", copy=True).contiguous()


def _sharded(model: nn.Module) -> list[Any]:
    return [module for module in model.modules() if isinstance(module, FSDPModule)]
