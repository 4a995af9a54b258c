"""The arithmetic and the least traffic of training, counted on real rows: forward and backward.

In: a model as it trains, its loss, a few rows. Out: a Workload.
Knows nothing of: clocks, what a device attains.

Counted are matrix products as torch carries them out, 2 operations a multiply-add: of linear layers (the
gradient of a weight only where it trains, of activations only where something below trains), of attention,
and of logits only where they are computed. Look-ups, norms and activations are no products. What gradient
checkpointing computes again does not count, nor does what fused attention does, and causal attention counts
whole, so that the figure is the model's and not the program's.
Source: Kaplan et al. 2020, arXiv:2001.08361, section 2.1 (2 operations a parameter and token forward, twice
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

from tuneproof.models.device import on_device
from tuneproof.train.gradients import LossFn

FUSED = "_scaled_dot_product"  # begins the names of fused attention


@dataclass(frozen=True)
class Workload:
    """What training costs, and what a step must move at least.

    operations: of `tokens` real tokens, forward and backward. weights_bytes: read by one forward and
    one backward pass. trained_bytes: weights that train; read_whole_bytes: those of them that a pass
    reads whole, which embeddings' rows are not.
    """

    operations: int
    tokens: int
    weights_bytes: int
    trained_bytes: int
    read_whole_bytes: int

    @property
    def operations_per_token(self) -> float:
        """Operations of matrix products for a token, forward and backward."""
        return self.operations / self.tokens

    def step_bytes(self, micro_batches: int) -> int:
        """The least bytes that a step of so many micro-batches moves; activations come on top.

        Every pass reads the weights, forward and backward, and writes the gradients, from the second on
        it also reads them; AdamW reads them once more, and reads and writes the weights and its two
        states, in the weights' precision: with one micro-batch 8 values a trained weight. Where all of
        this fits a processor's cache, less reaches its memory.
        """
        passes = self.weights_bytes + 2 * self.read_whole_bytes
        looked_up = self.trained_bytes - self.read_whole_bytes
        return micro_batches * passes + 6 * self.trained_bytes + looked_up


def workload_of(
    model: nn.Module,
    loss: LossFn,
    parts: Sequence[Any],
    device: torch.device,
    autocast: Callable[[], AbstractContextManager[Any]],
    recompute: bool = False,
) -> Workload:
    """Count one forward and backward pass of every part; the model and all random states stay as they were.

    parts: collated on the host, an item each, so that no padding is counted. recompute: gradient
    checkpointing is on, and is to be on here too, for want of memory.
    """
    counted, tokens = _Counted(), 0
    with _put_back(model, device), counted.watching():
        model.train(recompute)  # checkpointing is off in a model that does not train
        for part in parts:
            with torch.enable_grad():
                counted.forward = True
                with counted, autocast():
                    found = loss(model, on_device(part, device))
                counted.forward = False
                tokens += found.tokens
                if found.sum.requires_grad:
                    with counted:
                        found.sum.backward()
            for parameter in model.parameters():
                parameter.grad = None
    trained = {id(p): p.numel() * p.element_size() for p in model.parameters() if p.requires_grad}
    return Workload(
        operations=counted.operations - counted.again,
        tokens=tokens,
        weights_bytes=sum(counted.read.values()),
        trained_bytes=sum(trained.values()),
        read_whole_bytes=sum(size for key, size in trained.items() if key in counted.read),
    )


class _Counted(TorchDispatchMode):
    """Adds up what passes through it: operations, `again` those of them that are a forward's second time.

    read: bytes of each weight that its module reads, forward and (where gradients pass through) backward.
    """

    def __init__(self) -> None:
        super().__init__()
        self.operations = self.again = 0
        self.forward = False
        self.read: dict[int, int] = {}
        self._depth = self._before = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        found = func(*args, **(kwargs or {}))
        self.operations += _operations(func._overloadpacket, args, kwargs or {}, found)
        return found

    @contextmanager
    def watching(self) -> Iterator[None]:
        """While modules are watched."""
        with ExitStack() as stack:
            for hook in (
                register_module_forward_pre_hook(self._begun),
                register_module_forward_hook(self._ended, always_call=True),
            ):
                stack.callback(hook.remove)
            yield

    def _begun(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        if not self.forward:  # the backward pass runs it again
            if not self._depth:
                self._before = self.operations
            self._depth += 1
            return
        if isinstance(module, nn.Embedding):
            return
        through = any(isinstance(one, torch.Tensor) and one.requires_grad for one in args)
        for weight in module.parameters(recurse=False):
            size = weight.numel() * weight.element_size()
            self.read[id(weight)] = max(self.read.get(id(weight), 0), size * (1 + through))

    def _ended(self, module: nn.Module, args: Any, output: Any) -> None:
        if self.forward:
            return
        self._depth -= 1
        if not self._depth:
            self.again += self.operations - self._before


def _operations(packet: Any, args: Sequence[Any], kwargs: dict[str, Any], found: Any) -> int:
    """Of one call of torch's: of a matrix product, or of attention in one kernel."""
    name = packet.__name__
    if name.startswith(FUSED):
        back = name.endswith("_backward")
        query, key, value = args[back : back + 3]
        keys = 2 * query.numel() * key.shape[-2]  # scores; below, what they weigh
        values = 2 * query.shape[:-1].numel() * value.shape[-2] * value.shape[-1]
        return int((keys + values) * (2 if back else 1))
    if name == "_grouped_mm":  # experts: a row meets one of the matrices
        left, right = args[:2]
        rows = left.numel() // (left.shape[0] if left.ndim > right.ndim else 1)
        return int(2 * rows * right.shape[-1])
    formula = flop_registry.get(packet)
    return int(formula(*args, **kwargs, out_val=found)) if formula is not None else 0


@contextmanager
def _put_back(model: nn.Module, device: torch.device) -> Iterator[None]:
    """Modes, gradients and random states are as before in the end."""
    modes = {module: module.training for module in model.modules()}
    cuda = [device] if device.type == "cuda" else []
    try:
        with torch.random.fork_rng(cuda):
            yield
    finally:
        for module, mode in modes.items():
            module.training = mode
        model.zero_grad(set_to_none=True)
