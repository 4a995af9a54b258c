"""A device that is not there: tensors in the computer's memory that say they are on `mps` or `cuda`.

In: the device's type, code that computes. Out: the same results, and a list of synchronisations and copies.
Knows nothing of: the package under test.

Tensors of the device refuse to meet others and to be read by NumPy, as real ones do; `mps` refuses float64.
"""

import threading
import weakref
from collections.abc import Callable
from contextlib import ExitStack
from importlib import import_module
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._foreach_utils import _group_tensors_by_device_and_dtype
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_leaves

NO_FLOAT64 = (
    "Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support float64. "
    "Please use float32 instead."
)
TWO_DEVICES = (
    "Expected all tensors to be on the same device, but found at least two devices, {} and cpu! ({})"
)
NOT_NUMPY = (
    "can't convert {} device type tensor to numpy. Use Tensor.cpu() to copy the tensor to host memory first."
)
WIDE = (torch.float64, torch.complex128)
# the host waits for these, as their result is a number or has a shape that depends on values
WAITING = {
    *("_local_scalar_dense", "nonzero", "masked_select", "equal", "_unique2", "unique_dim"),
    *("unique_consecutive", "is_nonzero", "bincount", "nonzero_numpy"),
}
THEIRS = ("bitsandbytes", "peft", "accelerate", "transformers.trainer")  # they would look for CUDA's library
INDEXING = {"index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index"}
COPYING = {"copy_", "_to_copy"}


class PretendedDevice:
    """While it is entered, torch sees one device of this kind (mps or cuda) beside the CPU.

    synchronisations: what made the host wait, in order. copies: tensors sent to the device. cached_bytes:
    memory that the allocator holds and no tensor uses; `emptied` counts the calls that release it.
    allocated_bytes: the peak that the allocator tells.
    """

    def __init__(self, kind: str, bf16: bool = True, total_bytes: int = 15 * 10**9) -> None:
        self.kind, self.bf16, self.total_bytes = kind, bf16, total_bytes
        self.synchronisations: list[str] = []
        self.copies = 0
        self.emptied = self.cached_bytes = 0
        self.allocated_bytes = 12345
        self._storages: dict[int, Any] = {}
        self._stack = ExitStack()

    def __enter__(self) -> "PretendedDevice":
        for package in THEIRS:
            import_module(package)
        _forget_devices()
        self._stack.callback(_forget_devices)
        for target, value in self._replacements().items():
            self._stack.enter_context(mock.patch(target, value))
        self._stack.enter_context(mock.patch.object(threading.Thread, "run", self._thread_run()))
        self._stack.enter_context(mock.patch.object(torch.autocast, "__init__", self._autocast_init()))
        self._stack.enter_context(_Operations(self))
        self._stack.enter_context(_Calls(self))
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def holds(self, tensor: Tensor) -> bool:
        """Whether a tensor says that it is on the device."""
        return int(tensor.untyped_storage()._cdata) in self._storages

    def add(self, tensor: Tensor) -> Tensor:
        """The tensor, on the device from here on. Raises: TypeError where the device has no such numbers."""
        if self.kind == "mps" and tensor.dtype in WIDE:
            raise TypeError(NO_FLOAT64)
        storage = tensor.untyped_storage()
        key = int(storage._cdata)
        if key not in self._storages:
            self._storages[key] = weakref.ref(storage, lambda _: self._storages.pop(key, None))
        return tensor

    def remove(self, tensor: Tensor) -> None:
        """The tensor is not on the device."""
        self._storages.pop(int(tensor.untyped_storage()._cdata), None)

    def device_of(self, tensor: Tensor) -> torch.device:
        """Where a tensor says that it is."""
        return torch.device(self.kind, 0) if self.holds(tensor) else Tensor.device.__get__(tensor)

    def is_own(self, device: Any) -> bool:
        """Whether a device, as torch takes it, is the pretended one."""
        return device is not None and torch.device(device).type == self.kind

    def wait(self, what: str) -> None:
        """Record that the host waits for the device."""
        self.synchronisations.append(what)

    def _thread_run(self) -> Callable[[Any], None]:
        """Modes are of one thread: new ones enter them too."""
        run = threading.Thread.run

        def run_pretending(thread: threading.Thread) -> None:
            with _Operations(self), _Calls(self):
                run(thread)

        return run_pretending

    def _autocast_init(self) -> Callable[..., None]:
        """The tensors are the CPU's, and so is what autocast changes."""
        init = torch.autocast.__init__

        def begin(context: Any, device_type: str, *args: Any, **kwargs: Any) -> None:
            init(context, "cpu" if device_type == self.kind else device_type, *args, **kwargs)

        return begin

    def _replacements(self) -> dict[str, Any]:
        def empty_cache() -> None:
            self.emptied += 1
            self.cached_bytes = 0

        def group(lists: Any, with_indices: bool = False) -> Any:
            groups = _group_tensors_by_device_and_dtype(lists, with_indices)
            own = (self.device_of(next(t for t in value[0][0] if t is not None)) for value in groups.values())
            return {(device, key[1]): groups[key] for device, key in zip(own, groups, strict=True)}

        cuda = self.kind == "cuda"
        return {
            "torch.nn.utils.clip_grad._group_tensors_by_device_and_dtype": group,
            "torch.backends.mps.is_available": lambda: not cuda,
            "torch.backends.mps.is_built": lambda: not cuda,
            "torch.mps.empty_cache": empty_cache,
            "torch.mps.synchronize": lambda: self.wait("synchronize"),
            "torch.cuda.is_available": lambda: cuda,
            "torch.cuda.device_count": lambda: int(cuda),
            "torch.cuda.is_bf16_supported": lambda including_emulation=True: self.bf16 or including_emulation,
            "torch.cuda.get_device_capability": lambda *_: (8, 0) if self.bf16 else (7, 5),
            "torch.cuda.get_device_name": lambda *_: "NVIDIA A100" if self.bf16 else "Tesla T4",
            "torch.cuda.empty_cache": empty_cache,
            "torch.cuda.synchronize": lambda *_: self.wait("synchronize"),
            "torch.cuda.mem_get_info": lambda *_: (self.total_bytes - self.cached_bytes, self.total_bytes),
            "torch.cuda.reset_peak_memory_stats": lambda *_: None,
            "torch.cuda.max_memory_allocated": lambda *_: self.allocated_bytes,
            "torch.cuda.set_device": lambda *_: None,
            "torch.cuda.get_rng_state": lambda *_: torch.zeros(16, dtype=torch.uint8),
            "torch.cuda.set_rng_state": lambda *_: None,
            "torch.cuda.manual_seed_all": lambda *_: None,
            "torch.cuda.current_device": lambda: 0,
        }


def _forget_devices() -> None:
    """Let Accelerate and transformers, which remember the devices, look again."""
    for name in ("accelerate.utils.imports", "transformers.utils.import_utils"):
        for function in vars(import_module(name)).values():
            if callable(getattr(function, "cache_clear", None)):
                function.cache_clear()
    import_module("accelerate.state").AcceleratorState._reset_state(True)


class _Operations(TorchDispatchMode):
    """Every operation: its tensors share a device, and its results are where they are."""

    def __init__(self, device: PretendedDevice) -> None:
        super().__init__()
        self.device = device

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        device, name = self.device, func.name().partition("::")[2].partition(".")[0]
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        own = [device.holds(tensor) for tensor in tensors]
        if any(own):
            self._check(name, func, tensors, own)
        results = func(*args, **kwargs)
        if any(own) and name != "copy_":
            for leaf in tree_leaves(results):
                if isinstance(leaf, Tensor):
                    device.add(leaf)
        return results

    def _check(self, name: str, func: Any, tensors: list[Tensor], own: list[bool]) -> None:
        device = self.device
        if name in WAITING:
            device.wait(name)
        if name == "copy_" and own[0] != own[1]:
            if own[0]:
                device.copies += 1
            else:
                device.wait("copy_ to cpu")
            return
        if name in INDEXING and any(t.dtype in (torch.bool, torch.uint8) for t in tensors[1:]):
            device.wait(f"{name} by a mask")
        allowed = [
            held or tensor.dim() == 0 or (name in INDEXING and own[0])
            for tensor, held in zip(tensors, own, strict=True)
        ]
        if not all(allowed):
            shapes = ", ".join(f"{tuple(t.shape)} {h}" for t, h in zip(tensors, own, strict=True))
            raise RuntimeError(TWO_DEVICES.format(f"{device.kind}:0", f"{func.name()}: {shapes}"))


class _Calls(TorchFunctionMode):
    """What names devices: factories, `to`, `device`, and what NumPy reads."""

    def __init__(self, device: PretendedDevice) -> None:
        super().__init__()
        self.device = device

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        own = self.device
        special = _SPECIAL.get(func)
        if special is not None:
            return special(own, func, *args, **kwargs)
        named = kwargs.get("device")
        if named is None or isinstance(named, int):
            return func(*args, **kwargs)
        is_own = own.is_own(named)
        results = func(*args, **{**kwargs, "device": torch.device("cpu") if is_own else named})
        for leaf in tree_leaves(results):
            if isinstance(leaf, Tensor):
                (own.add if is_own else own.remove)(leaf)
        return results


def _device_of(own: PretendedDevice, func: Any, tensor: Tensor) -> torch.device:
    return own.device_of(tensor)


def _to(own: PretendedDevice, func: Any, tensor: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """`Tensor.to`: the values in a new storage if the device differs."""
    target, named = _target_of(own, args, kwargs)
    is_here = own.holds(tensor)
    if target is None or target.type == "meta" or own.is_own(target) == is_here:
        meta = {"device": target} if target is not None and target.type == "meta" else {}
        return func(tensor, **meta, **named)
    blocks = not named.pop("non_blocking", False)
    named.pop("copy", None)
    if not is_here:
        own.copies += 1
        return _Moved.apply(func(tensor, **named) if named else tensor, own, True)
    if blocks:
        own.wait("to cpu")
    moved = _Moved.apply(tensor, own, False)
    return func(moved, **named) if named else moved


def _target_of(
    own: PretendedDevice, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[torch.device | None, dict[str, Any]]:
    """The device that `to` was called with, and its other arguments by name."""
    named = {name: value for name, value in kwargs.items() if value is not None}
    flags = iter(("non_blocking", "copy"))
    target = named.pop("device", None)
    for value in (named.pop("other", None), *args):
        if isinstance(value, Tensor):
            target, named["dtype"] = own.device_of(value), value.dtype
        elif isinstance(value, torch.dtype):
            named["dtype"] = value
        elif isinstance(value, bool):
            named[next(flags)] = value
        elif value is not None:
            target = value
    if isinstance(target, int):
        target = torch.device(own.kind, target)
    return (None if target is None else torch.device(target)), named


class _Moved(torch.autograd.Function):
    """The same values on the other side; the gradient goes the way back."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor, own: PretendedDevice, to_device: bool) -> Tensor:
        ctx.own, ctx.to_device = own, to_device
        return _copied(tensor, own, to_device)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return _copied(gradient, ctx.own, not ctx.to_device), None, None


def _copied(tensor: Tensor, own: PretendedDevice, to_device: bool) -> Tensor:
    with _disable_current_modes():
        copy = torch.empty_like(tensor).copy_(tensor)
    return own.add(copy) if to_device else copy


def _cpu(own: PretendedDevice, func: Any, tensor: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    return _to(own, Tensor.to, tensor, "cpu")


def _own_device(own: PretendedDevice, func: Any, tensor: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    return _to(own, Tensor.to, tensor, own.kind, non_blocking=bool(kwargs.get("non_blocking")))


def _numpy(own: PretendedDevice, func: Any, tensor: Tensor, *args: Any, **kwargs: Any) -> Any:
    if own.holds(tensor):
        raise TypeError(NOT_NUMPY.format(f"{own.kind}:0"))
    return func(tensor, *args, **kwargs)


def _tolist(own: PretendedDevice, func: Any, tensor: Tensor) -> Any:
    if own.holds(tensor):
        own.wait("tolist")
    return func(tensor)


def _pinned(own: PretendedDevice, func: Any, tensor: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    if own.holds(tensor):
        raise RuntimeError("cannot pin a tensor of the device")
    return tensor


def _deep_copy(own: PretendedDevice, func: Any, tensor: Tensor, memo: Any) -> Tensor:
    copy = func(tensor, memo)
    return own.add(copy) if own.holds(tensor) else copy


def _is_on(kind: str) -> Callable[..., bool]:
    def is_on(own: PretendedDevice, func: Any, tensor: Tensor) -> bool:
        return own.device_of(tensor).type == kind

    return is_on


_SPECIAL: dict[Any, Callable[..., Any]] = {
    Tensor.device.__get__: _device_of,
    Tensor.is_cuda.__get__: _is_on("cuda"),
    Tensor.is_mps.__get__: _is_on("mps"),
    Tensor.is_cpu.__get__: _is_on("cpu"),
    Tensor.to: _to,
    Tensor.cpu: _cpu,
    Tensor.cuda: _own_device,
    Tensor.numpy: _numpy,
    Tensor.__array__: _numpy,
    Tensor.tolist: _tolist,
    Tensor.pin_memory: _pinned,
    Tensor.__deepcopy__: _deep_copy,
}
