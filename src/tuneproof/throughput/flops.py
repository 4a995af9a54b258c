"""The FLOPs and the least memory traffic of training, counted on real rows: forward and backward.

In: a model in training, its loss, a few rows. Out: a TrainingCost.
Knows nothing of: clocks, the peak of a device.

It counts matrix products as torch carries them out, 2 FLOPs per multiply-add: of linear layers (the
gradient of a weight only if it trains, of activations only if something below trains), of attention, and
of logits only where they are computed. Look-ups, norms and activation functions are no products. To give
the model's figure and not the program's, it leaves out what gradient checkpointing and fused attention
recompute, and counts causal attention in full.
Source: Kaplan et al. 2020, arXiv:2001.08361, section 2.1 (2 FLOPs per parameter and token forward, twice
that backward); Chowdhery et al. 2022, arXiv:2204.02311, appendix B (model FLOPs utilization).
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from tuneproof.models.device import to_device
from tuneproof.train.gradients import LossFn

FUSED_PREFIX = "_scaled_dot_product"  # of the names of fused attention


@dataclass(frozen=True)
class TrainingCost:
    """The FLOPs of training, and the least bytes that a step must move.

    flops: of `tokens` real tokens, forward and backward. weights_bytes: read by one forward and one
    backward pass. trained_bytes: of the weights that train; dense_trained_bytes: of those among them
    that a pass reads completely (it reads single rows of embeddings).
    """

    flops: int
    tokens: int
    weights_bytes: int
    trained_bytes: int
    dense_trained_bytes: int

    @property
    def flops_per_token(self) -> float:
        """FLOPs of matrix products for one token, forward and backward."""
        return self.flops / self.tokens

    def step_bytes(self, micro_batches: int) -> int:
        """The least bytes that a step of this many micro-batches moves, without activations.

        Every pass reads the weights, forward and backward, and writes the gradients; passes after the first
        also read them. AdamW reads the gradients once more, and reads and writes the weights and its two
        states. With one micro-batch, that makes 8 values per trained weight.
        """
        passes = self.weights_bytes + 2 * self.dense_trained_bytes
        sparse_bytes = self.trained_bytes - self.dense_trained_bytes
        return micro_batches * passes + 6 * self.trained_bytes + sparse_bytes


def measure_training_cost(
    model: nn.Module,
    loss: LossFn,
    parts: Sequence[Any],
    device: torch.device,
    autocast: Callable[[], AbstractContextManager[Any]],
    recompute: bool = False,
) -> TrainingCost:
    """Count one forward and backward pass of every part; leaves the model and all random states unchanged.

    parts: collated on the host, one item each, so that no padding counts. recompute: gradient
    checkpointing is on, and stays on here to save memory.
    """
    counter, tokens = _Counter(), 0
    with _restored(model, device), counter.hooked():
        model.train(recompute)  # checkpointing is off in a model that does not train
        for part in parts:
            with torch.enable_grad():
                counter.in_forward = True
                with counter, autocast():
                    total = loss(model, to_device(part, device))
                counter.in_forward = False
                tokens += total.tokens
                if total.sum.requires_grad:
                    with counter:
                        total.sum.backward()
            for parameter in model.parameters():
                parameter.grad = None
    trained = {id(p): p.numel() * p.element_size() for p in model.parameters() if p.requires_grad}
    return TrainingCost(
        flops=counter.flops - counter.recomputed_flops,
        tokens=tokens,
        weights_bytes=sum(counter.read_bytes.values()),
        trained_bytes=sum(trained.values()),
        dense_trained_bytes=sum(size for key, size in trained.items() if key in counter.read_bytes),
    )


class _Counter(TorchDispatchMode):
    """Adds up the FLOPs of all operations; `recomputed_flops` are those of a repeated forward pass.

    read_bytes: by weight, what its module reads forward and (if gradients pass through) backward.
    """

    def __init__(self) -> None:
        super().__init__()
        self.flops = self.recomputed_flops = 0
        self.in_forward = False
        self.read_bytes: dict[int, int] = {}
        self._depth = self._flops_before = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        self.flops += _flops_of_call(func._overloadpacket, args, kwargs or {}, output)
        return output

    @contextmanager
    def hooked(self) -> Iterator[None]:
        """Watch every module while the context lasts."""
        with ExitStack() as stack:
            stack.callback(register_module_forward_pre_hook(self._before_forward).remove)
            stack.callback(register_module_forward_hook(self._after_forward, always_call=True).remove)
            yield

    def _before_forward(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        if not self.in_forward:  # the backward pass recomputes it
            if not self._depth:
                self._flops_before = self.flops
            self._depth += 1
            return
        if isinstance(module, nn.Embedding):
            return
        passes_gradient = any(isinstance(arg, torch.Tensor) and arg.requires_grad for arg in args)
        for weight in module.parameters(recurse=False):
            size = weight.numel() * weight.element_size() * (1 + passes_gradient)
            self.read_bytes[id(weight)] = max(self.read_bytes.get(id(weight), 0), size)

    def _after_forward(self, module: nn.Module, args: Any, output: Any) -> None:
        if self.in_forward:
            return
        self._depth -= 1
        if not self._depth:
            self.recomputed_flops += self.flops - self._flops_before


def _flops_of_call(packet: Any, args: Sequence[Any], kwargs: dict[str, Any], output: Any) -> int:
    """FLOPs of one call of torch's: a matrix product, or attention in one kernel."""
    name = packet.__name__
    if name.startswith(FUSED_PREFIX):
        backward = name.endswith("_backward")
        query, key, value = args[backward : backward + 3]
        scores = 2 * query.numel() * key.shape[-2]
        weighted_sums = 2 * query.shape[:-1].numel() * value.shape[-2] * value.shape[-1]
        return int((scores + weighted_sums) * (2 if backward else 1))
    if name == "_grouped_mm":  # experts: each row passes through one of the matrices
        left, right = args[:2]
        rows = left.numel() // (left.shape[0] if left.ndim > right.ndim else 1)
        return int(2 * rows * right.shape[-1])
    formula = flop_registry.get(packet)
    return int(formula(*args, **kwargs, out_val=output)) if formula is not None else 0


@contextmanager
def _restored(model: nn.Module, device: torch.device) -> Iterator[None]:
    """Restore modes, gradients and random states at the end."""
    modes = {module: module.training for module in model.modules()}
    cuda_devices = [device] if device.type == "cuda" else []
    try:
        with torch.random.fork_rng(cuda_devices):
            yield
    finally:
        for module, mode in modes.items():
            module.training = mode
        model.zero_grad(set_to_none=True)
