"""The bytes of all tensors alive, by what they are for, and their highest sum.

In: torch operations, real or fake, while the mode is on. Out: bytes. Knows nothing of: models, steps.
"""

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

PARTS = ("weights", "gradients", "optimizer", "activations", "logits", "cache", "temporary")
COMPOSITE = "CompositeImplicitAutograd"


class LiveMemory(TorchDispatchMode):
    """While it is on, every new storage counts until its last tensor dies; views count once.

    A new tensor belongs to the part that `part(...)` names; else to the logits, where its last
    dimension is `vocabulary`; else to the activations where a graph is built, which keeps them for the
    backward pass, and to the temporary rest where none is. What a kernel allocates inside itself is
    not seen. `widest_logits` is the largest number of elements that a tensor of that last dimension had.

    limit: bytes that the device pretends to have; one more raises torch.OutOfMemoryError.

    Source: torch.distributed._tools.mem_tracker, for counting storages by weak references.
    """

    def __init__(self, vocabulary: int | None = None, limit: int | None = None) -> None:
        super().__init__()
        self.vocabulary, self.limit = vocabulary, limit
        self.now = dict.fromkeys(PARTS, 0)
        self.total = self.peak_bytes = self.widest_logits = 0
        self.peak = dict(self.now)
        self.peak_operation = ""
        self._part: str | None = None
        self._whole: dict[Any, bool] = {}
        self._live: dict[int, tuple[int, str, Any]] = {}

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """New tensors belong to this part."""
        before, self._part = self._part, name
        try:
            yield
        finally:
            self._part = before

    def hold(self, tensor: torch.Tensor, part: str) -> None:
        """Count a tensor, which may be there already, as this part."""
        key = self._key(tensor)
        if key in self._live:
            size, old, reference = self._live[key]
            self._live[key] = (size, part, reference)
            self.now[old] -= size
            self.now[part] += size
        else:
            self._add(tensor, part, "hold")

    def forget_peak(self) -> None:
        """The peak begins anew from what is alive."""
        self.peak_bytes, self.peak = self.total, dict(self.now)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Carry the operation out and count what is new in its results."""
        kwargs = kwargs or {}
        if func is torch.ops.prim.device.default:
            return func(*args, **kwargs)
        if func not in self._whole:
            self._whole[func] = func.namespace == "aten" and torch._C._dispatch_has_kernel_for_dispatch_key(
                func.name(), COMPOSITE
            )
        if self._whole[func]:  # in inference mode such an operation comes in one piece; look inside
            with self:
                found = func.decompose(*args, **kwargs)
            if found is not NotImplemented:
                return found
        found = func(*args, **kwargs)
        for leaf in tree_leaves(found):
            if isinstance(leaf, torch.Tensor):
                self._add(leaf, None, str(func))
        return found

    @staticmethod
    def _key(tensor: torch.Tensor) -> int:
        return int(tensor.untyped_storage()._cdata)

    def _add(self, tensor: torch.Tensor, part: str | None, operation: str) -> None:
        if not isinstance(tensor, FakeTensor) and tensor.is_meta:
            return  # it has a shape and no bytes
        storage = tensor.untyped_storage()
        key, size = int(storage._cdata), storage.nbytes()
        if key in self._live or not size:
            return
        logits = tensor.ndim > 1 and tensor.shape[-1] == self.vocabulary
        if logits:
            self.widest_logits = max(self.widest_logits, tensor.numel())
        if part is None:
            held = "activations" if torch.is_grad_enabled() else "temporary"
            part = self._part or ("logits" if logits else held)
        reference = weakref.ref(storage, lambda _: self._drop(key))
        self._live[key] = (size, part, reference)
        self.now[part] += size
        self.total += size
        if self.total > self.peak_bytes:
            self.peak_bytes, self.peak, self.peak_operation = self.total, dict(self.now), operation
        if self.limit is not None and self.total > self.limit:
            raise torch.OutOfMemoryError(
                f"out of memory: {operation} asked for {size} bytes, and {self.limit} are all there is"
            )

    def _drop(self, key: int) -> None:
        size, part, _ = self._live.pop(key)
        self.now[part] -= size
        self.total -= size
