"""The bytes of all live tensors, by purpose, and their peak.

In: torch operations, real or fake, while the mode is on. Out: bytes. Knows nothing of: models, steps.
"""

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch._guards import active_fake_mode
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tuneproof.models.fsdp import is_shard_type

PARTS = ("weights", "gradients", "optimizer", "activations", "logits", "cache", "temporary")
COMPOSITE = "CompositeImplicitAutograd"
DEVICE, META = torch.ops.prim.device.default, torch.device("meta")


class LiveMemory(TorchDispatchMode):
    """While it is on, every new storage counts until its last tensor dies; views count once.

    A new tensor belongs to the part that `part(...)` names. Otherwise it is part of the logits, if its
    last dimension is `vocabulary`; of the activations, if autograd records a graph, which keeps it for
    the backward pass, or if it is alive when the forward pass ends; else temporary. What a kernel
    allocates internally is not seen. `widest_logits`: the most elements of a tensor whose last dimension
    is `vocabulary`. Of a tensor that is sharded over processes this process's part counts.

    limit: bytes of a simulated device; exceeding it raises torch.OutOfMemoryError.

    Source: torch.distributed._tools.mem_tracker, for counting storages by weak references.
    """

    def __init__(self, vocabulary: int | None = None, limit: int | None = None) -> None:
        super().__init__()
        self.vocabulary, self.limit = vocabulary, limit
        self.current = dict.fromkeys(PARTS, 0)
        self.total = self.peak_bytes = self.widest_logits = 0
        self.peak = dict(self.current)
        self._part: str | None = None
        self._is_composite: dict[Any, bool] = {}
        self._live: dict[int, tuple[int, str, Any, int]] = {}  # bytes, part, reference, number
        self._count = self._count_at_peak = 0
        self._fake_mode: Any = None

    def __enter__(self) -> "LiveMemory":
        self._fake_mode = active_fake_mode()
        super().__enter__()
        return self

    def end_forward(self) -> None:
        """What is alive now and was temporary is kept for the backward pass: it belongs to the activations.

        An autograd.Function of ours computes without a graph.
        """
        for key in list(self._live):
            entry = self._live.get(key)  # storages may die meanwhile
            if entry is not None and entry[1] == "temporary":
                size, old, reference, number = entry
                self._live[key] = (size, "activations", reference, number)
                self._move(size, old, "activations", number)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """New tensors belong to this part."""
        before, self._part = self._part, name
        try:
            yield
        finally:
            self._part = before

    def hold(self, tensor: torch.Tensor, part: str) -> None:
        """Count a tensor, perhaps one that is counted already, as this part; also at the peak."""
        key = int(tensor.untyped_storage()._cdata)
        if key in self._live:
            size, old, reference, number = self._live[key]
            self._live[key] = (size, part, reference, number)
            self._move(size, old, part, number)
        else:
            self._add(tensor, part, "hold")

    def _move(self, size: int, old: str, part: str, number: int) -> None:
        for bytes_by_part in (self.current, *([self.peak] if number <= self._count_at_peak else [])):
            bytes_by_part[old] -= size
            bytes_by_part[part] += size

    def reset_peak(self) -> None:
        """Restart the peak from what is alive."""
        self.peak_bytes, self.peak, self._count_at_peak = self.total, dict(self.current), self._count

    def end_phase(self, phases: dict[str, dict[str, int]], name: str) -> None:
        """Note the peak since the last reset as this phase's, if it has none that is higher; restart it."""
        if name not in phases or self.peak_bytes > sum(phases[name].values()):
            phases[name] = self.peak
        self.reset_peak()

    @contextmanager
    def resizing(self) -> Iterator[None]:
        """Within the context storages that are resized count by their new size, as FSDP's gathered weights.

        Source: torch.distributed._tools.mem_tracker; no dispatched operation resizes a storage.
        """
        original = torch.UntypedStorage.resize_

        def resize(storage: Any, size: int) -> Any:
            result = original(storage, size)
            key = int(storage._cdata)
            if key in self._live:
                old, part, reference, number = self._live[key]
                self._live[key] = (storage.nbytes(), part, reference, number)
                self._grow(part, storage.nbytes() - old, "resize_")
            return result

        torch.UntypedStorage.resize_ = resize  # type: ignore[method-assign, assignment]
        try:
            yield
        finally:
            torch.UntypedStorage.resize_ = original  # type: ignore[method-assign]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Carry out the operation and count the new tensors among its results."""
        if func is DEVICE:  # the backward pass asks for it several times an operation
            tensor = args[0]
            if not isinstance(tensor, FakeTensor):
                return func(*args)
            return META if tensor.fake_mode.in_kernel_invocation else tensor.fake_device
        if any(map(is_shard_type, types)):
            return NotImplemented  # it comes back with this process's part
        kwargs = kwargs or {}
        if func not in self._is_composite:
            self._is_composite[func] = (
                func.namespace == "aten"
                and torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), COMPOSITE)
            )
        if self._is_composite[func]:  # inference mode passes these on undivided; look inside
            with self:
                results = func.decompose(*args, **kwargs)
            if results is not NotImplemented:
                return results
        results = func(*args, **kwargs)
        for leaf in tree_leaves(results):
            if isinstance(leaf, torch.Tensor):
                self._add(leaf, None, str(func))
        return results

    def _add(self, tensor: torch.Tensor, part: str | None, operation: str) -> None:
        if not isinstance(tensor, FakeTensor) and tensor.is_meta:
            return  # it has a shape and no bytes
        if isinstance(tensor, FakeTensor) and tensor.fake_mode is not self._fake_mode:
            return  # of DTensor, which computes a shape
        storage = tensor.untyped_storage()
        key, size = int(storage._cdata), storage.nbytes()
        if key in self._live or not size:
            return
        is_logits = tensor.ndim > 1 and tensor.shape[-1] == self.vocabulary
        if is_logits:
            self.widest_logits = max(self.widest_logits, tensor.numel())
        if part is None:
            default = "activations" if torch.is_grad_enabled() else "temporary"
            part = self._part or ("logits" if is_logits else default)
        reference = weakref.ref(storage, lambda _: self._drop(key))
        self._count += 1
        self._live[key] = (size, part, reference, self._count)
        self._grow(part, size, operation)

    def _grow(self, part: str, size: int, operation: str) -> None:
        self.current[part] += size
        self.total += size
        if self.total > self.peak_bytes:
            self.reset_peak()
        if self.limit is not None and self.total > self.limit:
            request = f"{operation} requested {size} bytes; the limit is {self.limit} bytes"
            raise torch.OutOfMemoryError(f"out of memory: {request}")

    def _drop(self, key: int) -> None:
        size, part, *_ = self._live.pop(key)
        self.current[part] -= size
        self.total -= size
