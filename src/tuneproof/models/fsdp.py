"""A model whose weights are sharded over the processes (FSDP2), and full tensors gathered from shards.

In: a model. Out: the same model, each process holding a shard; full tensors for files.
Knows nothing of: losses, optimizers' rules, files.

Source: Zhao et al. 2023, arXiv:2304.11277; torch's `fully_shard`, one shard of every matrix a process.
"""

import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import accumulate
from typing import TYPE_CHECKING, Any, TypeGuard

import torch
from torch import nn

from tuneproof.errors import ModelError
from tuneproof.families.blocks import blocks_of
from tuneproof.models.heads import AS_FORWARD, as_forward, inner_model

if TYPE_CHECKING:  # imported where weights are sharded: they take a second
    from torch.distributed.tensor import DTensor

Tensors = dict[str, torch.Tensor]


def shard(model: nn.Module, dtype: torch.dtype | None = None, mesh: Any = None) -> None:
    """Shard every block's matrices, and those outside of the blocks, over the processes.

    dtype: what forward passes compute in where that is half precision. The blocks' matrices are gathered in
    it, and their gradients summed in float32. What is outside of the blocks is gathered as it is held, since
    embeddings decide the precision of the states between blocks. Vectors (norms, biases) stay whole in every
    process: they take little room, and norms in half precision would not compute what one process does.
    mesh: torch's DeviceMesh of the processes; None: all of them, on the accelerator where there is one.

    Gradients of shards are sums over the processes, as the loop's losses are; those of vectors are each
    process's own until they are summed.
    """
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method

    warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view tensor")
    try:
        blocks = blocks_of(inner_model(model)).modules
    except ModelError:
        blocks = ()  # ALBERT's layers share their weights: the model is one shard group
    vectors = {parameter for parameter in model.parameters() if parameter.ndim < 2}
    policy = MixedPrecisionPolicy(dtype, torch.float32 if dtype else None, cast_forward_inputs=False)
    for block in blocks:
        fully_shard(block, mesh=mesh, mp_policy=policy, ignored_params=vectors)
    fully_shard(model, mesh=mesh, ignored_params=vectors)
    for module in _fsdp_modules(model):
        module.set_gradient_divide_factor(1.0)
        module.set_force_sum_reduction_for_comms(True)
    _prefetch_in_backward(model, blocks)
    setattr(model, AS_FORWARD, lambda compute: compute())
    register_fsdp_forward_method(model, AS_FORWARD)
    as_forward(model, lambda: None)  # FSDP takes the first module that is called for the whole model
    model.reshard()  # type: ignore[operator]


def _prefetch_in_backward(model: Any, blocks: Sequence[Any]) -> None:
    """Let the backward pass gather each block's weights while it computes the block above.

    By default FSDP takes the order from the latest forward passes. Evaluations are among them, and processes
    predict different numbers of batches: one process would gather weights that the others do not send.
    """
    above = model
    trained = [any(p.requires_grad for p in block.parameters()) for block in blocks]
    for block, any_below in reversed(list(zip(blocks, accumulate(trained), strict=True))):
        if any_below:
            above.set_modules_to_backward_prefetch([block])
            above = block
        else:
            block.set_modules_to_backward_prefetch([model])
    above.set_modules_to_backward_prefetch([model])  # gathered already: nothing is left to prefetch


def is_sharded(model: nn.Module) -> bool:
    """Whether the model's weights are sharded."""
    fsdp = sys.modules.get("torch.distributed.fsdp")
    return fsdp is not None and isinstance(model, fsdp.FSDPModule)


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


def is_shard(tensor: torch.Tensor) -> "TypeGuard[DTensor]":
    """Whether this process holds only a part of the tensor."""
    return is_shard_type(type(tensor))


def is_shard_type(kind: type) -> bool:
    """Whether tensors of a class are parts."""
    tensors = sys.modules.get("torch.distributed.tensor")
    return tensors is not None and issubclass(kind, tensors.DTensor)


def trained_whole(model: nn.Module) -> list[torch.Tensor]:
    """The trained weights that this process holds whole; FSDP sums the gradients of the others."""
    return [p for p in model.parameters() if p.requires_grad and not is_shard(p)]


def clip_gradients(parameters: Sequence[torch.Tensor], max_norm: float) -> torch.Tensor:
    """Scale the gradients to a global L2 norm of at most `max_norm`; returns the norm before."""
    parts = [[p for p in parameters if is_shard(p) == sharded] for sharded in (True, False)]
    norms = [_gradient_norm(part) for part in parts if part]
    total = norms[0] if len(norms) == 1 else torch.linalg.vector_norm(torch.stack(norms))
    for part in parts:  # no kernel takes shards and whole gradients at once
        nn.utils.clip_grads_with_norm_(part, max_norm, total)
    return total


def _gradient_norm(parameters: Sequence[torch.Tensor]) -> torch.Tensor:
    norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
    return norm.full_tensor() if is_shard(norm) else norm


def local_part(tensor: torch.Tensor) -> torch.Tensor:
    """This process's part of a tensor."""
    return tensor.to_local() if is_shard(tensor) else tensor


def shard_like(full: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """A full tensor, sharded as `like` is."""
    if not is_shard(like):
        return full
    from torch.distributed.tensor import distribute_tensor

    # src_data_rank=None: every process has the full tensor, nothing is sent
    return distribute_tensor(full.to(like.device), like.device_mesh, like.placements, src_data_rank=None)


def local_parts(model: nn.Module, weights: Mapping[str, torch.Tensor]) -> Tensors:
    """This process's parts of full weights, by name."""
    parameters = dict(model.named_parameters())
    return {
        name: local_part(shard_like(tensor, parameters[name])) if name in parameters else tensor
        for name, tensor in weights.items()
    }


def gather_full_weights(model: nn.Module, parts: Mapping[str, torch.Tensor], keep: bool = True) -> Tensors:
    """Full tensors on the CPU, from parts under the same names in every process; `keep` as below."""
    parameters = dict(model.named_parameters())
    return {name: gather_full_tensor(part, parameters[name], keep) for name, part in parts.items()}


def gather_full_tensor(part: torch.Tensor, like: torch.Tensor, keep: bool = True) -> torch.Tensor:
    """The full tensor on the CPU; `part` is a local part of it or a sharded tensor.

    keep: False in a process that exchanges its part and needs no full tensor: it gets an empty one.
    """
    if is_shard(like) and not is_shard(part) and part.ndim:
        from torch.distributed.tensor import DTensor

        local = (part.to(like.device), like.device_mesh, like.placements)
        part = DTensor.from_local(*local, shape=like.shape, stride=like.stride())
    full = part.full_tensor() if is_shard(part) else part
    return full.detach().to("cpu", copy=True).contiguous() if keep else torch.empty(0)


def _fsdp_modules(model: nn.Module) -> list[Any]:
    return [module for module in model.modules() if is_sharded(module)]
